"""The archive through the reader: everything is taken as it was meant."""

from collections import Counter

import numpy as np
import pydicom
import pytest

from pipeline.settings import Settings
from pipeline.sources.ingest import ingest
from pipeline.volumes.store import VolumeStore

TO_RAS = {"lps_mm": (-1, -1, 1), "ras_mm": (1, 1, 1)}


@pytest.fixture(scope="module")
def ingested(archive, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home, archive.root, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)
    summary = ingest(archive.root, settings)
    store = VolumeStore(settings.volumes)
    return summary, {volume_id: store.get(volume_id) for volume_id in summary.volume_ids}


@pytest.fixture(scope="module")
def boxed_volumes(archive, ingested):
    """(entry of boxes.json, volume) for every image that is annotated with boxes."""
    summary, volumes = ingested
    by_file = {file.path: file.volume_ids[0] for file in summary.files if file.kind == "image" and file.volume_ids}
    by_series = {
        str(pydicom.dcmread(archive.root / path, stop_before_pixels=True).SeriesInstanceUID): volume_id
        for path, volume_id in by_file.items()
        if path.endswith("IM0001.dcm") or (path.startswith("cells/he") and path.endswith(".dcm"))
    }
    return [
        (scan, volumes[by_file[scan["file"]] if "file" in scan else by_series[scan["series_instance_uid"]]])
        for scan in archive.boxes
    ]


def test_only_what_is_faulty_is_quarantined(archive, ingested):
    summary, volumes = ingested
    refused = {file.path for file in summary.files if file.outcome == "quarantined"}
    gap, *single = archive.summary.faulty
    assert {path for path in refused if not path.startswith(gap + "/")} == set(single)
    assert len(refused) == 2 + 11
    assert {file.path for file in summary.files if file.outcome == "ignored"} == {"README.txt", "sample.json"}
    assert len(volumes) == 76


def test_every_volume_is_annotated_and_has_its_subset(archive, ingested):
    _, volumes = ingested
    annotated = [volume.annotations for volume in volumes.values()]
    assert None not in annotated
    labels = Counter(name for item in annotated for name in item.labels)
    assert labels["lesion"] == archive.summary.lesions
    assert labels["tumour"] + labels["other"] + labels["unlabelled"] == archive.summary.cells
    assert sum(len(item) == 0 for item in annotated) == archive.summary.without_finding
    assert sum(item.from_points for item in annotated) == 4
    assert {volume.subset for volume in volumes.values()} == {"train", "validation", "test"}


def test_boxes_arrive_at_the_same_world_millimetres(boxed_volumes):
    checked = Counter()
    for scan, volume in boxed_volumes:
        if scan["frame"] == "px" or not scan["objects"]:
            continue
        boxes = volume.annotations.boxes
        centres = np.array([item["centre"] for item in scan["objects"]]) * TO_RAS[scan["frame"]]
        sizes = np.array([item["size"] for item in scan["objects"]])
        assert boxes.centres_world == pytest.approx(centres, abs=1e-3)
        assert boxes.sizes_world == pytest.approx(sizes, abs=1e-3)
        checked[scan["frame"]] += len(boxes)
    assert checked["lps_mm"] > 50
    assert checked["ras_mm"] > 2


def test_boxes_of_fields_arrive_in_pixels_also_with_a_physical_spacing(boxed_volumes):
    units = Counter()
    for scan, volume in boxed_volumes:
        if scan["frame"] == "px" and scan["objects"]:
            assert volume.annotations.boxes.centres == pytest.approx(
                np.array([item["centre"] for item in scan["objects"]]), abs=1e-3
            )
            units[volume.grid.unit] += 1
    assert units == {"px": 22, "mm": 6}


def test_lesions_lie_in_their_boxes_in_the_ingested_voxels(boxed_volumes):
    for scan, volume in boxed_volumes:
        if scan["frame"] == "lps_mm" and scan["objects"]:
            middle = np.round(volume.annotations.boxes.centres).astype(int)
            assert (volume.array[0][tuple(middle.T)] > -760).all()
