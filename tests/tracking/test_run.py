import math
from dataclasses import replace

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.config import ExperimentConfig
from pipeline.errors import TrackingError
from pipeline.evaluation.records import Comparison, Curve, Estimate, Evaluation, StratumDifference
from pipeline.tracking import registry
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.figures import comparison_figures
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
        strata={"size": {"small": {"f1": Estimate(0.3, 0.2, 0.4)}}},
        strata_counts={"size": {"small": {"patients": 1, "objects": 4}}},
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
    over_all = {"threshold": 0.4, "f1": 0.5, "f1_lower": 0.4, "f1_upper": 0.6, "loss": 2.0}
    small = {"strata.size.small.f1": 0.3, "strata.size.small.f1_lower": 0.2, "strata.size.small.f1_upper": 0.4}
    assert kept.data.metrics == over_all | small
    assert (kept.data.tags["cellscan.test_set"], kept.data.tags["cellscan.primary"]) == ("abc", "f1")
    assert kept.data.tags["cellscan.run_key"] == "key"
    assert kept.data.tags["cellscan.config_digest"] == config.digest()
    assert {"cellscan.git_commit", "cellscan.version", "cellscan.host"} <= set(kept.data.tags)
    (dataset,) = kept.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("cells-training", "d" * 36)
    assert dataset.tags[0].value == "training"
    files = {file.path for file in client.list_artifacts(run.run_id)}
    assert files == {"experiment.yaml", "datasets", "evaluation", "figures", "tables"}
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


def test_figures_belong_to_the_model_version_and_its_test_set(settings, evaluation, bundle_folder):
    with tracked_run(settings, "cells", "key", {}) as run:
        number = registry.register(settings, run.run_id, bundle_folder, "cells", "key", {})
        model_id = registry.resolve(settings, f"cells/{number}").model_id
        run.log_epoch(0, {"loss": 2.0})
        run.link_figures(model_id, CaseTable("cells", evaluation.test_set, "test", evaluation.cases))
        run.log_evaluation(evaluation)
    model = connect(settings).get_logged_model(model_id)
    linked = {metric.key: (metric.value, metric.dataset_name, metric.dataset_digest) for metric in model.metrics}
    assert linked["f1"] == (0.5, "cells-test", "abc")
    assert linked["strata.size.small.f1"] == (0.3, "cells-test", "abc")
    assert set(linked) == set(connect(settings).get_run(run.run_id).data.metrics) - {"loss"}


def test_later_evaluation_elsewhere_is_shown_with_the_version_too(settings, evaluation, bundle_folder):
    with tracked_run(settings, "cells", "key", {}) as run:
        registry.register(settings, run.run_id, bundle_folder, "cells", "key", {})
    model_id = registry.resolve(settings, "cells/1").model_id
    with tracked_run(settings, "cells", "elsewhere", {}) as later:
        later.link_figures(model_id, CaseTable("cells", "other", "test", evaluation.cases))
        later.log_evaluation(replace(evaluation, test_set="other", metrics={"f1": Estimate(0.9, 0.8, 1.0)}))
    client = connect(settings)
    (used,) = client.get_run(later.run_id).inputs.model_inputs
    assert used.model_id == model_id
    experiment = client.get_run(run.run_id).info.experiment_id
    on_other = [{"dataset_name": "cells-test", "dataset_digest": "other"}]
    assert [m.model_id for m in client.search_logged_models([experiment], "metrics.f1 > 0.8", on_other)] == [model_id]
    on_own = [{"dataset_name": "cells-test", "dataset_digest": "abc"}]
    assert client.search_logged_models([experiment], "metrics.f1 > 0.8", on_own) == []


def test_cases_are_a_table_that_mlflow_reads_and_a_retry_does_not_double(settings, evaluation, monkeypatch):
    with tracked_run(settings, "cells", "key", {}) as run:
        run.log_evaluation(evaluation)
        run.log_evaluation(evaluation)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)  # load_table asks the global store for runs
    table = connect(settings).load_table(run.experiment_id, "tables/cases.json", [run.run_id])
    assert table.to_dict("list") == {"case_id": ["a"]}


def test_comparison_has_the_same_names_with_difference_and_p_before(settings):
    figures = comparison_figures(
        Comparison(
            version_a="cells/1",
            version_b="cells/2",
            test_set="abc",
            primary="f1",
            differences={"f1": Estimate(0.1, 0.0, 0.2)},
            p_values={"f1": 0.04},
            values_a={"f1": 0.5},
            values_b={"f1": 0.6},
            patients=9,
            detectable={"f1": 0.08},
            strata={
                "size": {"<= 6 mm/px": StratumDifference("f1", 0.5, 0.4, Estimate(-0.1, -0.2, 0.0), 0.02, 0.06, 9, 30)}
            },
        )
    )
    assert figures == {
        "difference_f1": 0.1,
        "difference_f1_lower": 0.0,
        "difference_f1_upper": 0.2,
        "p_f1": 0.04,
        "detectable_f1": 0.08,
        "difference_strata.size.__ 6 mm_px.f1": -0.1,
        "difference_strata.size.__ 6 mm_px.f1_lower": -0.2,
        "difference_strata.size.__ 6 mm_px.f1_upper": 0.0,
        "p_strata.size.__ 6 mm_px.f1": 0.02,
        "p_adjusted_strata.size.__ 6 mm_px.f1": 0.06,
    }


def test_folds_are_below_their_parent_also_those_that_were_done_alone(settings):
    with tracked_run(settings, "cells", "fold 0", {}) as alone:
        pass
    with tracked_run(settings, "cells", "folds", {"cellscan.kind": "folds"}) as parent:
        for fold in range(3):
            with tracked_run(settings, "cells", f"fold {fold}", {}, parent=parent.run_id) as run:
                assert run.finished == (fold == 0)
    client = connect(settings)
    below = client.search_runs([parent.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.run_id}'")
    assert len(below) == 3
    assert alone.run_id in {run.info.run_id for run in below}
    assert {run.info.status for run in below} == {client.get_run(parent.run_id).info.status} == {"FINISHED"}


def test_description_is_where_mlflow_shows_it(settings):
    with tracked_run(settings, "lesions", "described", {"cellscan.kind": "compare"}) as run:
        run.describe("what came out")
    assert connect(settings).get_run(run.run_id).data.tags["mlflow.note.content"] == "what came out"
