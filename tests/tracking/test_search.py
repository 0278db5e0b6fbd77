"""Which runs of the last month beat the champion on small lesions?"""

import math
import sqlite3
import time

import mlflow
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.evaluation.records import Estimate, Evaluation
from pipeline.tracking.champions import champions, change_champion
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.history import Change
from pipeline.tracking.run import tracked_run
from pipeline.tracking.search import better_than_champion
from pipeline.tracking.session import connect, prepare

SMALL = "strata.size.small.f1"
CHAMPIONS = 2 / 3  # has no short decimal


def _evaluation(version, f1, small, test_set):
    return Evaluation(
        version=version,
        test_set=test_set,
        primary="f1",
        threshold=0.5,
        counts={},
        metrics={"f1": Estimate(f1, 0.0, 1.0)},
        curves={},
        cases=pd.DataFrame({"case_id": ["a"]}),
        objects=pd.DataFrame({"case_id": ["a"]}),
        match_rule={},
        confidence=0.95,
        strata={"size": {"small": {"f1": Estimate(small, 0.0, 1.0)}}} if small is not None else {},
    )


@pytest.fixture(scope="module")
def settings(shared_settings):
    """The champion lesions/1, and versions that are better, worse, old, or judged on something else."""
    settings = shared_settings
    prepare(settings)
    client = connect(settings)
    client.create_registered_model("lesions")
    made = [
        ("champion", 0.8, CHAMPIONS, "t"),
        ("equal", 0.9, CHAMPIONS, "t"),
        ("better", 0.7, 0.70, "t"),
        ("best", 0.6, 0.75, "t"),
        ("worse", 0.9, 0.60, "t"),
        ("better on other cases", 0.9, 0.9, "u"),
        ("without small ones", 0.9, math.nan, "t"),
        ("before there were strata", 0.9, None, "t"),
        ("better, long ago", 0.9, 0.9, "t"),
    ]
    for key, f1, small, test_set in made:
        with tracked_run(settings, "lesions", key, {"cellscan.kind": "train"}) as run:
            model_id = client.create_logged_model(run.experiment_id, source_run_id=run.run_id).model_id
            spec = f"lesions/{client.create_model_version('lesions', 'file:///nowhere', run.run_id).version}"
            evaluation = _evaluation(spec, f1, small, test_set)
            cases = CaseTable("lesions", test_set, "test", evaluation.cases)
            run.link_figures(model_id, cases)
            client.set_logged_model_tags(model_id, {"cellscan.model": spec})
            run.log_evaluation(evaluation)
            run.set_tags({"cellscan.model": spec})
    _back_date(settings, run.run_id, days=31)
    change_champion(settings, champions(settings, "lesions"), Change.now("promoted", "1", None, "the first"))
    return settings


def _back_date(settings, run_id, days):
    then = int((time.time() - days * 86400) * 1000)
    with sqlite3.connect(settings.home / "mlflow.db") as database:
        database.execute("update runs set start_time = ? where run_uuid = ?", (then, run_id))
    database.close()


def test_the_search_of_the_readme(settings):
    mlflow.set_tracking_uri(settings.tracking_uri)
    try:
        client = mlflow.MlflowClient()
        best = client.get_run(client.get_model_version_by_alias("lesions", "champion").run_id)
        better = mlflow.search_runs(
            experiment_names=["lesions"],
            filter_string=f"metrics.`strata.size.small.f1` > {best.data.metrics['strata.size.small.f1']!r}"
            f" and tags.`cellscan.test_set` = '{best.data.tags['cellscan.test_set']}'"
            f" and attributes.start_time > {(time.time() - 30 * 86400) * 1000:.0f}",
            order_by=["metrics.`strata.size.small.f1` DESC"],
        )
    finally:
        mlflow.set_tracking_uri(None)
    assert better["tags.cellscan.model"].tolist() == ["lesions/4", "lesions/3"]
    assert better["metrics.strata.size.small.f1"].tolist() == [0.75, 0.70]


def test_the_same_as_a_function(settings):
    found = better_than_champion(settings, "lesions", SMALL)
    assert (found.champion, found.value, found.lower, found.test_set) == ("lesions/1", CHAMPIONS, 0.0, "t")
    assert [(one.version, one.value, one.upper, one.champion) for one in found.runs] == [
        ("lesions/4", 0.75, 1.0, CHAMPIONS),
        ("lesions/3", 0.70, 1.0, CHAMPIONS),
    ]
    assert better_than_champion(settings, "lesions", SMALL, days=32).runs[0].version == "lesions/9"


def test_figure_without_interval_has_none(settings):
    assert math.isnan(better_than_champion(settings, "lesions", "threshold").upper)


def test_the_same_of_model_versions(settings):
    client = connect(settings)
    experiment = client.get_experiment_by_name("lesions").experiment_id
    found = client.search_logged_models(
        [experiment],
        f"metrics.`{SMALL}` > {CHAMPIONS!r}",
        datasets=[{"dataset_name": "lesions-test", "dataset_digest": "t"}],
        order_by=[{"field_name": f"metrics.{SMALL}", "ascending": False}],
    )
    assert [model.tags["cellscan.model"] for model in found] == ["lesions/9", "lesions/4", "lesions/3"]


def test_figure_that_the_champion_lacks_is_named_with_those_it_has(settings):
    with pytest.raises(ModelError, match=r"has no 'strata.size.tiny.f1'; it has f1, strata.size.small.f1, threshold"):
        better_than_champion(settings, "lesions", "strata.size.tiny.f1")


def test_name_without_champion_is_told(settings):
    with pytest.raises(ModelError, match="'nobody' has no champion to beat"):
        better_than_champion(settings, "nobody", SMALL)
