import math

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.config import ExperimentConfig
from pipeline.errors import TrackingError
from pipeline.evaluation.records import Curve, Estimate, Evaluation
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import connect


@pytest.fixture
def config():
    return ExperimentConfig.model_validate(
        {
            "name": "cells",
            "data": {"source": "cells", "dims": 2, "classes": ["tumour", "other"]},
            "preprocessing": {"intensity": {"kind": "window", "lower": 0, "upper": 255}, "channels": 3},
            "sampling": {"patch": [64, 64], "samples_per_epoch": 8},
            "training": {"max_epochs": 2},
            "inference": {"window": [128, 128]},
            "evaluation": {"match": {"kind": "centre_distance", "distance": 6}},
        }
    )


@pytest.fixture
def evaluation():
    return Evaluation(
        version="cells/1",
        test_set="abc",
        primary="f1",
        threshold=0.4,
        counts={"cases": 1},
        metrics={"f1": Estimate(0.5, 0.4, 0.6), "cpm": Estimate(math.nan, math.nan, math.nan)},
        curves={"froc": Curve("fp", "sensitivity", (0.0, 1.0), (0.0, 0.5))},
        cases=pd.DataFrame({"case_id": ["a"]}),
        objects=pd.DataFrame({"case_id": ["a"], "score": [0.5]}),
        match_rule={"kind": "centre_distance"},
        confidence=0.95,
    )


def test_what_a_run_holds(settings, config, evaluation, tmp_path):
    figure = tmp_path / "froc.png"
    figure.write_bytes(b"png")
    rows = pd.DataFrame({"case_id": ["a", "b"], "objects": [3, 0]})
    with tracked_run(settings, "cells", "key", {"cellscan.config_digest": config.digest()}, name="one") as run:
        run.log_config(config)
        run.log_cases(CaseTable("cells", "d" * 40, "training", rows))
        run.log_epoch(0, {"loss": 2.0})
        run.log_evaluation(evaluation)
        run.log_figures([figure])
    client = connect(settings)
    kept = client.get_run(run.run_id)
    assert kept.data.params["training.max_epochs"] == "2"
    assert kept.data.params["data.classes"] == '["tumour", "other"]'
    assert kept.data.metrics == {"threshold": 0.4, "f1": 0.5, "f1_lower": 0.4, "f1_upper": 0.6, "loss": 2.0}
    assert kept.data.tags["cellscan.run_key"] == "key"
    assert kept.data.tags["cellscan.config_digest"] == config.digest()
    assert {"cellscan.git_commit", "cellscan.version", "cellscan.host"} <= set(kept.data.tags)
    (dataset,) = kept.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("cells-training", "d" * 36)
    assert dataset.tags[0].value == "training"
    files = {file.path for file in client.list_artifacts(run.run_id)}
    assert files == {"experiment.yaml", "datasets", "evaluation", "figures"}
    loaded = client.download_artifacts(run.run_id, "evaluation", str(tmp_path))
    assert Evaluation.load(tmp_path / "evaluation").metrics["f1"] == evaluation.metrics["f1"], loaded


def test_interrupted_run_goes_on_without_doubling_epochs(settings):
    def interrupted():
        with tracked_run(settings, "cells", "key", {}) as run:
            run.log_epoch(0, {"loss": 2.0})
            run.log_epoch(1, {"loss": 1.0})
            begun.append(run)
            raise RuntimeError("power cut")

    begun = []
    with pytest.raises(RuntimeError, match="power cut"):
        interrupted()
    (run,) = begun
    client = connect(settings)
    assert client.get_run(run.run_id).info.status == "FAILED"
    with tracked_run(settings, "cells", "key", {}) as again:
        assert again.continued
        again.log_epoch(1, {"loss": 1.0})
        again.log_epoch(2, {"loss": 0.5})
    assert again.run_id == run.run_id
    history = client.get_metric_history(run.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 2.0), (1, 1.0), (2, 0.5)]


def test_interrupt_makes_the_run_killed(settings):
    with pytest.raises(KeyboardInterrupt), tracked_run(settings, "cells", "key", {}) as run:
        raise KeyboardInterrupt
    assert connect(settings).get_run(run.run_id).info.status == "KILLED"


def test_finished_run_is_given_back_and_takes_nothing_more(settings):
    with tracked_run(settings, "cells", "key", {}) as run:
        assert not run.finished
    with tracked_run(settings, "cells", "key", {}) as again:
        assert (again.run_id, again.finished) == (run.run_id, True)
        with pytest.raises(TrackingError, match="is finished"):
            again.log_epoch(0, {"loss": 1.0})


def test_other_key_is_another_run(settings):
    with tracked_run(settings, "cells", "one", {}) as one:
        pass
    with tracked_run(settings, "cells", "two", {}) as two:
        pass
    assert one.run_id != two.run_id


def test_the_same_work_is_not_done_twice_at_once(settings):
    with (
        tracked_run(settings, "cells", "key", {}),
        pytest.raises(TrackingError, match="another cellscan process"),
        tracked_run(settings, "cells", "key", {}),
    ):
        pass


def test_class_names_that_mlflow_refuses_are_rewritten(settings):
    with tracked_run(settings, "cells", "key", {}) as run:
        run.log_epoch(0, {"class_f1_CD8+ (T)": 0.5})
    assert connect(settings).get_run(run.run_id).data.metrics == {"class_f1_CD8_ _T_": 0.5}


@pytest.mark.parametrize("failing", ["search_runs", "create_run", "set_terminated"])
def test_an_outage_around_a_run_is_told(settings, monkeypatch, failing):
    def fail(*arguments, **options):
        raise MlflowException("API request to http://mlflow/api failed")

    monkeypatch.setattr(MlflowClient, failing, fail)
    with pytest.raises(TrackingError, match="API request"), tracked_run(settings, "cells", "key", {}):
        pass
