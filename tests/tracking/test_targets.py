"""Ids of runs in the place of model versions."""

import pytest

from pipeline.errors import ModelError
from pipeline.tracking.session import connect, prepare
from pipeline.tracking.targets import RunTarget, run_id_of, target_of_run, version_of


@pytest.fixture
def client(settings):
    prepare(settings)
    client = connect(settings)
    client.create_experiment("cells")
    client.create_registered_model("cells")
    return client


def run(client, **tags):
    experiment = client.get_experiment_by_name("cells").experiment_id
    named = {f"cellscan.{name}": value for name, value in tags.items()}
    return client.create_run(experiment, tags=named).info.run_id


def test_only_32_hex_digits_name_a_run():
    assert run_id_of("0123456789abcdef" * 2) == "0123456789abcdef" * 2
    assert run_id_of("runs:/" + "0123456789abcdef" * 2) == "0123456789abcdef" * 2
    assert [run_id_of(text) for text in ("cells/1", "cells@champion", "cells/1..cells/2", "0123", "g" * 32)] == [
        None
    ] * 5


def test_a_training_stands_for_the_version_that_it_registered(client, settings):
    first, second = run(client, kind="train"), run(client, kind="train")
    client.create_model_version("cells", "file:///nowhere", run_id=first)
    client.create_model_version("cells", "file:///nowhere", run_id=second)
    assert target_of_run(settings, first) == RunTarget("cells/1")
    assert target_of_run(settings, second) == RunTarget("cells/2")


def test_comparisons_evaluations_and_explanations_stand_for_their_versions(client, settings):
    compared = run(client, kind="compare", model_a="cells/1", model_b="cells/2")
    evaluated, told = run(client, kind="evaluate", model="cells/1"), run(client, kind="explain", model="cells/1")
    assert target_of_run(settings, compared) == RunTarget("cells/2", other="cells/1")
    assert target_of_run(settings, evaluated) == RunTarget("cells/1", evaluation=evaluated)
    assert target_of_run(settings, told) == RunTarget("cells/1")


def test_a_version_may_be_written_as_a_run(client, settings):
    compared = run(client, kind="compare", model_a="cells/1", model_b="cells/2")
    asked = ("cells/3", "cells@champion", compared, f"runs:/{compared}")
    assert [version_of(settings, text) for text in asked] == ["cells/3", "cells@champion", "cells/2", "cells/2"]


def test_runs_without_a_version_and_runs_that_are_not_there_are_refused(client, settings):
    group, failed = run(client, kind="group"), run(client, kind="train")
    with pytest.raises(ModelError, match="holds several versions"):
        target_of_run(settings, group)
    with pytest.raises(ModelError, match=r"\(train, running\) registered no model version"):
        target_of_run(settings, failed)
    with pytest.raises(ModelError, match="there is no run 'ffff"):
        target_of_run(settings, "f" * 32)
