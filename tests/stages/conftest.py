from dataclasses import replace

import pytest

from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.evaluation import evaluate
from pipeline.tracking import registry
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import prepare
from tests.made_versions import PATIENTS, cells_case, cells_config
from tests.stages import watching
from tests.stores import copy_store


@pytest.fixture
def tracked(tmp_path, empty_store):
    """Settings whose MLflow store is there and empty."""
    settings = copy_store(empty_store, tmp_path / "tracked")
    prepare(settings)
    return settings


@pytest.fixture(scope="session")
def versions(tmp_path_factory, empty_store):
    """A store with ``cells/1``, ``cells/2`` and ``volumes/1``, none of them a champion."""
    settings = copy_store(empty_store, tmp_path_factory.mktemp("versions"))
    prepare(settings)
    for name, dims in (("cells", 2), ("cells", 2), ("volumes", 3)):
        watching.register(settings, name, dims)
    return settings


@pytest.fixture
def crowned(versions, tmp_path):
    """Settings in which ``cells/1`` is the champion of two versions."""
    settings = copy_store(versions.home / "mlflow.db", tmp_path / "home")
    watching.crown(settings, 1)
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
