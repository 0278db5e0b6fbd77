"""One archive, one Prefect server and one run of the whole way for all tests of flows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from flows.session import prefect_session
from pipeline.settings import Settings
from tests.stores import copy_store

SECRET = "MUSTERMANN"
FIELDS = 15  # each of its own patient: five in each fold, the fewest that a champion may be judged by

_EXPERIMENT = {
    "name": "fields",
    "data": {"source": "archive", "dims": 2, "classes": ["object"], "split": {"kind": "folds", "folds": 3}},
    "preprocessing": {"intensity": {"kind": "window", "lower": 0, "upper": 255}},
    "sampling": {"patch": [32, 32], "samples_per_epoch": 4},
    "detector": {"backbone": {"kind": "residual_unet", "widths": [4, 8], "strides": [2]}, "decoder_width": 4},
    "training": {"max_epochs": 1, "batch_size": 2, "workers": 1},
    "inference": {"window": [48, 48], "score_floor": 0.01},
    "evaluation": {"match": {"kind": "centre_distance", "distance": 4}, "bootstrap_rounds": 100},
}


@dataclass(frozen=True)
class Place:
    """``archive`` has `FIELDS` annotated fields, whose file names tell a patient's name, and a broken one."""

    settings: Settings
    archive: Path
    experiment: Path


@pytest.fixture(scope="session")
def place(tmp_path_factory, empty_store):
    root = tmp_path_factory.mktemp("flows")
    copy_store(empty_store, root / "home")
    archive = root / "data" / "archive"
    (archive / "images").mkdir(parents=True)
    (archive / "labels").mkdir()
    for number in range(FIELDS):
        _write_field(archive, f"{SECRET}_{number}.png", np.random.default_rng(number))
    (archive / "images" / f"{SECRET}_broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    experiment = root / "fields.yaml"
    experiment.write_text(yaml.safe_dump(_EXPERIMENT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLSCAN_HOME", str(root / "home"))
        patch.setenv("CELLSCAN_DATA", str(root / "data"))
        patch.setenv("CELLSCAN_DEVICE", "cpu")
        for name in ("CELLSCAN_CATALOG_URL", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            patch.delenv(name, raising=False)
        yield Place(Settings.from_environment(), archive, experiment)


@pytest.fixture(scope="session")
def server(place):
    with prefect_session(place.settings) as address:
        yield address


@pytest.fixture(scope="session")
def outcome(place, server):
    from flows.scan_to_report import scan_to_report

    faster = {"path": place.experiment, "overrides": ["training.learning_rate=0.01"]}
    # What experiments name is below the data folder, also where the working folder has one of that name.
    (place.archive.parents[1] / "elsewhere" / place.archive.name).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.archive.parents[1] / "elsewhere")
        return scan_to_report([place.experiment, faster])


def _write_field(archive: Path, name: str, rng: np.random.Generator) -> None:
    rows, columns = np.mgrid[:48, :48]
    picture, labels = rng.normal(60, 10, (48, 48)), np.zeros((48, 48), dtype=np.uint8)
    for label in (1, 2, 3):
        row, column = rng.integers(8, 40, 2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 <= 16
        picture[disc], labels[disc] = 180, label
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(archive / "images" / name)
    Image.fromarray(labels).save(archive / "labels" / name)
