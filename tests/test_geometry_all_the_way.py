"""A box drawn on an oblique, flipped, anisotropic DICOM series keeps its world millimetres all the way.

The series is that of `tests.sources.written`: rows along LPS (0.8, 0.6, 0), columns along (0, 0, -1), so that the
slices follow (-0.6, 0.8, 0); 0.5 x 2 x 4 mm; first voxel at LPS (10, -20, 30). The centre of voxel (9, 6, 5) is then
LPS (10, -20, 30) + 4.5 (0.8, 0.6, 0) + 12 (0, 0, -1) + 20 (-0.6, 0.8, 0) = (1.6, -1.3, 18), in RAS (-1.6, 1.3, 18).
"""

import json

import numpy as np
import pytest

from pipeline.config import ExperimentConfig
from pipeline.datasets.prepared import PreparedStore
from pipeline.datasets.sampling import PatchDataset
from pipeline.datasets.split import all_cases
from pipeline.detections.table import to_frame
from pipeline.detectors.bundle import Bundle
from pipeline.inference.detect import VolumeDetector
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from tests.experiments import tiny_3d
from tests.inference.test_detect import FindsMarks
from tests.sources.written import write_oblique_series

LESION_RAS = np.array([-1.6, 1.3, 18.0])
SIZE_MM = np.array([2.0, 8.0, 12.0])  # along the array's own axes


@pytest.fixture
def volume(tmp_path):
    voxels = np.zeros((20, 14, 12), dtype=np.int16)
    voxels[9, 6, 5] = 1000
    write_oblique_series(tmp_path / "scans" / "ct", voxels)
    lesion = {"label": "lesion", "centre": [1.6, -1.3, 18.0], "size": SIZE_MM.tolist(), "axes": "array"}
    scan = {"series_instance_uid": "1.2.3.4", "frame": "lps_mm", "objects": [lesion]}
    (tmp_path / "scans" / "annotations").mkdir()
    boxes = {"format": "cellscan-boxes-1", "scans": [scan]}
    (tmp_path / "scans" / "annotations" / "boxes.json").write_text(json.dumps(boxes))
    settings = Settings(tmp_path, tmp_path, "cpu", f"sqlite:///{tmp_path / 'catalog.db'}", "", None)
    ingest(tmp_path / "scans", settings)
    catalog = Catalog.of(settings)
    (found,) = catalog.volumes(tmp_path / "scans")
    catalog.close()
    return found


def experiment(**preprocessing) -> ExperimentConfig:
    raw = tiny_3d().model_dump()
    raw["preprocessing"] |= {"intensity": {"kind": "window", "lower": 0, "upper": 1000}, **preprocessing}
    raw["augmentation"] = {"flip": [0, 1, 2], "rotate90": True, "scale": 0.2}
    return ExperimentConfig.model_validate(raw)


def test_after_ingest(volume):
    np.testing.assert_allclose(volume.annotations.boxes.centres_world, [LESION_RAS], atol=1e-9)
    np.testing.assert_allclose(volume.annotations.boxes.sizes_world, [SIZE_MM], atol=1e-9)


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 2.0)])
def test_in_every_training_patch(volume, tmp_path, spacing):
    config = experiment(spacing=spacing)
    store = PreparedStore(tmp_path / "cache", config.preprocessing, config.data.classes)
    (case,) = all_cases(config.data, [volume], seed=0)
    dataset = PatchDataset([store.get(case)], config)
    seen = 0
    for number in range(30):
        patch = dataset.draw(number)
        boxes, labels = patch.boxes, patch.labels
        seen += len(boxes)
        for centre, size in zip(boxes.centres_world, boxes.sizes_world, strict=True):
            np.testing.assert_allclose(centre, LESION_RAS, atol=1e-4)
            assert sorted(size) == pytest.approx(sorted(SIZE_MM), abs=1e-4)
        assert set(labels) <= {0}
    assert seen > 10


def test_after_detection_and_export(volume):
    """The stub answers for the voxel that lights up; its 2 x 2 x 1 voxel locations are the only inexactness."""
    config = experiment(spacing=None)
    found = VolumeDetector(Bundle(config, FindsMarks(config), 0.5), "cpu").detect(volume.array, volume.grid, "v")
    (row,) = to_frame(found).to_dict("records")
    world = np.array([row[f"centre_{axis}_world"] for axis in "xyz"])
    off_voxels = volume.grid.to_voxel(world[None])[0] - [9, 6, 5]
    assert np.abs(off_voxels).max() <= 0.5
    # In DICOM's words, recomputed by hand from the voxel: no code of ours between header and place.
    i, j, k = (row[f"lower_{a}_voxel"] / 2 + row[f"upper_{a}_voxel"] / 2 for a in "ijk")
    lps = np.array([10, -20, 30]) + i * 0.5 * np.array([0.8, 0.6, 0]) + j * 2 * np.array([0, 0, -1.0])
    lps = lps + k * 4 * np.array([-0.6, 0.8, 0])
    np.testing.assert_allclose(world, lps * [-1, -1, 1], atol=1e-9)
