"""Every experiment that is shipped holds together."""

from pathlib import Path

import pytest

from pipeline.config import load_experiment

FOLDER = Path(__file__).parents[2] / "configs" / "experiments"
EXPERIMENTS = sorted(FOLDER.glob("*.yaml"))


def test_the_experiments_of_the_readme_are_shipped():
    shipped = {path.stem for path in EXPERIMENTS}
    assert {"demo_cells_2d", "demo_lesions_3d", "crc_cells_2d", "dsb_nuclei_2d", "lidc_nodules_3d"} <= shipped


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_shipped_experiment_loads_and_is_named_after_its_file(path):
    assert load_experiment(path).name == path.stem
