import dataclasses

import pytest

from pipeline.settings import Settings
from tests.phantoms import field_of_cells


@pytest.fixture
def settings(tmp_path):
    return dataclasses.replace(Settings.from_environment(), home=tmp_path / "home", device="cpu", devices=1)


@pytest.fixture
def volumes(tmp_path):
    return [field_of_cells(tmp_path, seed) for seed in range(6)]
