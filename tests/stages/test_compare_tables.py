"""What a comparison leaves in its run."""

import io
import json

import pandas as pd
import pytest

from pipeline.evaluation import Comparison, Estimate, Evaluation, StratumDifference
from pipeline.stages.compare import _asked, _log_tables, _told


class RecordingRun:
    """Stands for a tracked run: keeps what is logged by name."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}

    def log_table(self, name, rows):
        self.kept[name] = rows

    def log_text(self, name, text):
        self.kept[name] = text

    def log_json(self, name, content):
        self.kept[name] = json.loads(json.dumps(content))


@pytest.fixture
def comparison():
    difference = Estimate(0.1, 0.02, 0.18)
    small = StratumDifference("f1", 0.5, 0.6, difference, 0.01, 0.02, 9, 40, 0.15)
    return Comparison(
        version_a="cells/1",
        version_b="cells/2",
        test_set="t",
        primary="f1",
        differences={"f1": difference},
        p_values={"f1": 0.03},
        values_a={"f1": 0.7},
        values_b={"f1": 0.8},
        patients=12,
        detectable={"f1": 0.09},
        strata={"size": {"small": small}},
    )


def evaluation(version: str, hits: int) -> Evaluation:
    cases = pd.DataFrame({"case_id": ["a"], "patient_key": ["p"], "objects": [3], "hits": [hits]})
    strata = {"size": {"small": {"f1": Estimate(hits / 3, 0.1, 0.9)}}}
    cases = cases.assign(false_positives=0, misses=3 - hits)
    return Evaluation(version, "t", "f1", 0.5, {}, {}, {}, cases, pd.DataFrame(), {}, 0.95, strata)


def test_tables_of_figures_strata_and_cases_are_logged_as_csv_and_as_tables(comparison):
    run = RecordingRun()
    _log_tables(run, comparison, evaluation("cells/1", 1), evaluation("cells/2", 2))
    assert set(run.kept) == {"strata.json"} | {
        f"tables/{name}.{kind}" for name in ("figures", "strata", "cases") for kind in ("csv", "json")
    }
    strata = pd.read_csv(io.StringIO(run.kept["tables/strata.csv"]))
    assert strata.loc[0, ["variable", "level", "metric"]].tolist() == ["size", "small", "f1"]
    assert strata.loc[0, ["difference", "lower", "p_adjusted", "objects"]].tolist() == [0.1, 0.02, 0.02, 40]
    cases = pd.read_csv(io.StringIO(run.kept["tables/cases.csv"]))
    assert cases.loc[0, ["hits_a", "hits_b", "misses_a", "misses_b"]].tolist() == [1, 2, 2, 1]
    assert run.kept["strata.json"]["cells/2"]["size"]["small"]["f1"]["value"] == 2 / 3


def test_description_says_what_was_compared_and_what_came_out(comparison):
    told = _told(comparison)
    assert told.startswith("cells/2 less cells/1, paired over 12 patients of test set t: f1 0.100 [0.020, 0.180]")
    assert "(p = 0.030)" in told


def test_comparison_by_other_strata_is_another_piece_of_work(comparison):
    assert _asked(comparison) == ["size: small"]
