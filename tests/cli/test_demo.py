import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import pipeline
from pipeline.cli.demo import EXPERIMENTS, experiment_folder, plan
from pipeline.cli.outcome import WholeOutcome, runnable
from pipeline.errors import ConfigError
from pipeline.evaluation.records import Comparison, Estimate, Evaluation
from pipeline.sources.catalog import FileOutcome
from pipeline.sources.ingest import IngestSummary


def test_two_versions_of_each_experiment_of_which_the_second_starts_from_the_first():
    configs = [experiment.load() for experiment in plan(experiment_folder())]
    assert [config.name for config in configs] == [name for name in EXPERIMENTS for _ in range(2)]
    for first, second in zip(configs[::2], configs[1::2], strict=True):
        assert first.training.initial_weights is None
        assert second.training.initial_weights == f"models:/{second.name}/1"
        assert first.training.max_epochs < second.training.max_epochs


def test_a_demo_in_2d_and_in_3d():
    assert {experiment.load().data.dims for experiment in plan(experiment_folder())} == {2, 3}


def test_without_a_checkout_the_demo_says_where_to_run_it(cellscan, monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline, "__file__", str(tmp_path / "pipeline" / "__init__.py"))
    with pytest.raises(ConfigError, match="run it from a checkout"):
        experiment_folder()
    assert cellscan("demo").code == 1


def test_a_program_that_the_shell_does_not_find_gets_its_path(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    folder = Path(sys.executable).parent
    assert runnable("mlflow ui --backend-store-uri sqlite:////h/mlflow.db") == (
        f"{folder}/mlflow ui --backend-store-uri sqlite:////h/mlflow.db"
    )
    assert runnable("PREFECT_HOME=/h/prefect prefect server start") == (
        f"PREFECT_HOME=/h/prefect {folder}/prefect server start"
    )


def test_an_address_stays_as_it_is(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert runnable("http://mlflow:5000") == "http://mlflow:5000"


def evaluation(version: str, f1: float) -> Evaluation:
    return Evaluation(
        version=version,
        test_set="0123",
        primary="f1",
        threshold=0.4,
        counts={"cases": 6, "objects": 40},
        metrics={"f1": Estimate(f1, f1 - 0.1, f1 + 0.1)},
        curves={},
        cases=pd.DataFrame(),
        objects=pd.DataFrame(),
        match_rule={},
        confidence=0.95,
    )


def whole() -> WholeOutcome:
    files = (
        FileOutcome("a.png", "ingested", "", "v1", "image"),
        FileOutcome("b.dcm", "quarantined", "the file is cut", None, "image"),
    )
    comparison = Comparison(
        version_a="cells/1",
        version_b="cells/2",
        test_set="0123",
        primary="f1",
        differences={"f1": Estimate(0.1, 0.02, 0.18)},
        p_values={"f1": 0.01},
        values_a={"f1": 0.5},
        values_b={"f1": 0.6},
        patients=5,
    )
    detected = {
        "model": "cells/2",
        "out": "/h/results/cells",
        "counts": {"detections": 12, "scans": 1, "detected_now": 1, "done_before": 0},
        "scans": [{"path": "a.png", "detections": 12}],
        "unsuited": {"OT v2 8x8": "the version reads 3D scans, this is 2D"},
        "unfinished": {},
    }
    return WholeOutcome(
        ingested=(IngestSummary(Path("/scans"), files, ("v1",), 0),),
        evaluations=(evaluation("cells/1", 0.5), evaluation("cells/2", 0.6)),
        comparisons=(comparison,),
        champions=("cells/2",),
        detections=(detected,),
        report=Path("/h/reports/r.html"),
        pages={"MLflow": "mlflow ui", "Prefect": "prefect server start"},
    )


def test_the_user_is_told_the_whole_outcome():
    assert whole().lines() == [
        "",
        "INGESTED",
        "/scans: 2 files: 1 ingested, 0 ignored, 1 quarantined; 1 scans",
        "  quarantined: b.dcm: the file is cut",
        "",
        "DETECTED ON",
        "cells/2: 12 detections in 1 scans (1 now, 0 before): /h/results/cells",
        "  a.png (12)",
        "  not for this version: OT v2 8x8: the version reads 3D scans, this is 2D",
        "",
        "SCORES",
        "6 test cases with 40 objects; 5 patients; 95% intervals",
        "      cells/1               cells/2               difference               p",
        "  f1  0.500 [0.400, 0.600]  0.600 [0.500, 0.700]  +0.100 [+0.020, +0.180]  0.010",
        "",
        "@champion: cells/2",
        "report:    /h/reports/r.html",
        "MLflow:    mlflow ui   then open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning",
        "Prefect:   prefect server start   then open http://127.0.0.1:4200",
    ]


def test_a_version_that_was_compared_with_none_has_its_own_figures():
    alone = replace(whole(), comparisons=())
    assert "cells/1 on 6 cases, 40 objects; figures with 95% intervals:" in alone.lines()


def test_json_has_the_same():
    told = whole().to_json()
    assert told["champions"] == ["cells/2"]
    assert [version["version"] for version in told["versions"]] == ["cells/1", "cells/2"]
    assert told["ingested"][0]["counts"]["quarantined"] == 1
