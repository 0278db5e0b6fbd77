import sqlite3
from dataclasses import replace

import pytest

from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.evaluation import evaluate
from pipeline.settings import Settings
from pipeline.tracking import registry
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import prepare
from tests.made_versions import PATIENTS, cells_case, cells_config


def _settings_in(home):
    return Settings(home, home, "cpu", f"sqlite:///{home / 'catalog.db'}", f"sqlite:///{home / 'mlflow.db'}", None)


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A prepared MLflow database to copy: its migrations take seconds."""
    home = tmp_path_factory.mktemp("store")
    prepare(_settings_in(home))
    return home / "mlflow.db"


@pytest.fixture
def tracked(tmp_path, tables):
    """Settings whose MLflow store is there and empty."""
    home = tmp_path / "tracked"
    home.mkdir()
    source, copy = sqlite3.connect(tables), sqlite3.connect(home / "mlflow.db")
    source.backup(copy)
    source.close()
    copy.close()
    settings = _settings_in(home)
    prepare(settings)
    return settings


@pytest.fixture
def register(tracked, tmp_path):
    """``register(found)`` makes a version that finds ``found`` of the ten cells of each patient, in the mean."""

    def make(found, seen=(), patients=range(PATIENTS), **changes):
        config = cells_config(**changes)
        key = f"version {len(list(tmp_path.glob('bundle*')))}"
        folder = tmp_path / f"bundle {key}"
        shaped_by = Seen(frozenset(f"patient {number}" for number in seen), frozenset())
        Bundle(config, seeded_network(config), 0.5, shaped_by).save(folder)
        cases = [cells_case(number, found) for number in patients]
        evaluation = evaluate(cases, config.evaluation, ("cell",), "cells", 0.5)
        with tracked_run(tracked, "cells", key, {}) as run:
            tags = {"cellscan.test_set": evaluation.test_set}
            number = registry.register(tracked, run.run_id, folder, "cells", key, tags)
            run.log_evaluation(replace(evaluation, version=f"cells/{number}"))
        return number

    return make
