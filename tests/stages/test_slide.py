"""A whole slide from its DICOM file to the results: no planted mark is lost or doubled where windows or parts meet."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from scipy.spatial import cKDTree

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.maps import Maps
from pipeline.inference.archive import detect_volumes
from pipeline.inference.detect import VolumeDetector
from pipeline.settings import Settings
from pipeline.sources.ingest import ingest
from pipeline.stages.experiment import volumes_below
from pipeline.stages.export import export
from pipeline.stages.levels import nearest_levels
from tests.experiments import tiny_2d
from tests.inference.test_detect import FindsMarks
from tests.sources.dicom.written_frames import items, save, slide, tiles_of

PIXELS, LATTICE, WINDOW = 3100, 40, 256


class SeesSquares(FindsMarks):
    """Sees dark squares of five pixels, or what resampling leaves of them; best at their middles."""

    half = 5.0

    def forward(self, image):
        square = torch.nn.functional.avg_pool2d(-image.mean(dim=1, keepdim=True), 3, 1, 1)
        found = torch.nn.functional.max_pool2d(square, self.stride, self.stride)[:, 0]
        distances = torch.full((len(image), 4, *found.shape[1:]), self.half)
        return Maps(torch.where(found > 0.4, 1 + 4 * found, -9.0), torch.zeros_like(found)[:, None], distances)


def planted(rng):
    """2,000 middles ``(n, 2)``, of which 500 lie where the cores of windows meet, along one axis or both: half of them
    where the network sees half a micron per pixel, half where it sees 0.8."""
    at = np.stack(np.meshgrid(*[np.arange(LATTICE, PIXELS - LATTICE, LATTICE)] * 2, indexing="ij"), axis=-1)
    at = rng.permutation(at[at[..., 0] < PIXELS - 500])[:2000].astype(float)
    step, first = WINDOW * 3 / 4, WINDOW * 7 / 8
    for some, ratio in ((at[:250], 1.0), (at[250:500], 1.6)):
        seam = (np.round(((some + 0.5) / ratio - 0.5 - first) / step) * step + first + 0.5) * ratio - 0.5
        some[:] = np.where(np.abs(seam - some) < LATTICE / 2 - 8, seam, some)
    return np.clip(np.round(at) + rng.integers(-1, 2, at.shape), 10, PIXELS - 10).astype(int)


def picture_with(places, rng):
    """``(row, column, 3)``: tissue, and glass to the right."""
    picture = np.empty((PIXELS, PIXELS, 3), np.uint8)
    picture[:] = rng.integers(150, 200, (1, PIXELS, 3))
    picture[:, -450:] = (238, 236, 240)
    for i, j in places:
        picture[j - 2 : j + 3, i - 2 : i + 3] = (30, 0, 40)
    return picture


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """The marks' places, the settings, and two levels of a slide."""
    folder, rng = tmp_path_factory.mktemp("slide"), np.random.default_rng(0)
    places = planted(rng)
    assert cKDTree(places).query(places, 2)[0][:, 1].min() > 12
    picture = picture_with(places, rng)
    save(slide(tiles_of(picture, (512, 512)), (PIXELS, PIXELS)), folder / "archive" / "0.dcm")
    coarse = np.ascontiguousarray(picture[::4, ::4])
    measures = items(PixelMeasuresSequence={"PixelSpacing": [0.002, 0.002], "SliceThickness": 0.001})
    level = slide(tiles_of(coarse, (512, 512)), coarse.shape[1::-1], SharedFunctionalGroupsSequence=measures)
    save(level, folder / "archive" / "1.dcm")
    url = f"sqlite:///{folder / 'catalog.db'}"
    settings = dataclasses.replace(Settings.from_environment(), home=folder / "home", device="cpu", catalog_url=url)
    ingest(folder / "archive", settings)
    return places, settings, volumes_below(folder / "archive", settings)


@pytest.mark.parametrize("um", [0.5, 0.8])
def test_every_mark_of_a_slide_is_found_once_on_the_level_that_is_nearest(ingested, tmp_path, um):
    places, settings, levels = ingested
    raw = tiny_2d().model_dump()
    intensity = {"kind": "window", "lower": 0, "upper": 255}
    raw["preprocessing"] |= {"channels": 3, "spacing": [um / 1000] * 2, "intensity": intensity}
    raw["inference"] |= {"window": [WINDOW, WINDOW], "overlap": 0.25}
    config = ExperimentConfig.model_validate(raw)
    detector = VolumeDetector(Bundle(config, SeesSquares(config), 0.5), "cpu", whole_bytes=1, part_bytes=40_000_000)
    volumes, left = nearest_levels(config, levels)
    (reason,) = left.values()
    assert reason == f"level 0, 0.5 um per pixel, is nearest to the version's {um} um per pixel"
    assert len(detector.divide(volumes[0]).parts) > 5
    done = detect_volumes(detector, f"stub/{um}", volumes, settings)
    assert 0.05 * done.windows < done.background < 0.2 * done.windows

    bundle = SimpleNamespace(classes=config.data.classes, threshold=0.5, config=config)
    export(volumes, done.results, bundle, "stub/1", tmp_path)
    table = pd.read_parquet(tmp_path / "detections.parquet")
    assert len(table) == len(places)
    edges = [table[[f"{side}_i_voxel", f"{side}_j_voxel"]].to_numpy() for side in ("lower", "upper")]
    apart, nearest = cKDTree(places).query((edges[0] + edges[1]) / 2)
    assert sorted(nearest) == list(range(len(places)))
    assert apart.max() < 3
    with Pillow.open(tmp_path / "overlays" / f"{volumes[0].volume_id}.png") as overlay:
        assert overlay.size == (1550, 1550)
