"""``cellscan explain`` from a file to pictures and JSON."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.errors import DatasetError
from pipeline.settings import Settings
from pipeline.stages import explain
from pipeline.tracking.registry import VersionRecord
from tests.experiments import tiny_2d

SECRET = "MUSTERMANN"


@pytest.fixture
def version(tmp_path, monkeypatch):
    """An untrained version whose candidates are kept, however low they score; ``version(floor)`` names it."""

    def registered(score_floor: float) -> str:
        raw = tiny_2d().model_dump()
        raw["inference"]["score_floor"] = score_floor
        config = type(tiny_2d()).model_validate(raw)
        Bundle(config, seeded_network(config), 0.01).save(tmp_path / "bundle")
        record = VersionRecord("tiny_2d", "1", "run", tmp_path / "bundle", {})
        monkeypatch.setattr(explain, "resolve", lambda settings, spec: record)
        return "tiny_2d/1"

    return registered


@pytest.fixture
def settings(tmp_path):
    return dataclasses.replace(Settings.from_environment(), home=tmp_path / "home", device="cpu")


@pytest.fixture
def field(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60, (64, 64)).astype(np.uint8)
    pixels[28:36, 30:38] = 150
    path = tmp_path / f"{SECRET}.png"
    Pillow.fromarray(pixels).save(path)
    return path


def test_pictures_and_numbers_are_written(version, settings, field, tmp_path):
    explained = explain.explain_version(version(0.001), field, tmp_path / "out", settings, number=2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(explained.files)
    names = ("saliency.png", "sanity.png", "feature_maps.png", "translation.png", "explanation.json")
    assert set(explained.files) == set(names)
    text = (tmp_path / "out" / "explanation.json").read_text()
    assert SECRET not in text
    told = json.loads(text)
    assert told["detection"]["number"] == 2
    assert told["detection"]["sanity"]["identical"] is True
    assert len(told["translation"]["curve"]) == 8
    # Three panels of 480 pixels side by side.
    picture = Pillow.open(io.BytesIO((tmp_path / "out" / "saliency.png").read_bytes()))
    assert picture.size[0] == 3 * 480 + 2 * 4


def test_a_scan_without_a_detection_still_shows_what_the_network_sees(version, settings, field, tmp_path):
    explained = explain.explain_version(version(0.9), field, tmp_path / "out", settings)
    assert explained.detection is None
    assert set(explained.files) == {"feature_maps.png", "translation.png", "explanation.json"}
    assert json.loads((tmp_path / "out" / "explanation.json").read_text())["detection"] is None


def test_a_detection_that_is_not_there_is_refused(version, settings, field, tmp_path):
    with pytest.raises(DatasetError, match=r"the scan has \d+ detections: choose one of 1 … \d+, got 9999"):
        explain.explain_version(version(0.001), field, tmp_path / "out", settings, number=9999)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_several_scans_is_refused(version, settings, field, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(field.read_bytes() if name == "a.png" else _darker(field))
    with pytest.raises(DatasetError, match="one scan is explained at a time, there are 2"):
        explain.explain_version(version(0.001), folder, tmp_path / "out", settings)


def _darker(field) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(np.asarray(Pillow.open(field)) // 2).save(buffer, format="PNG")
    return buffer.getvalue()
