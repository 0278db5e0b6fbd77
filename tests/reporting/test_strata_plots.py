from dataclasses import replace

from pipeline.evaluation import Comparison, Estimate, StratumDifference
from pipeline.reporting.curve_charts import charts
from pipeline.reporting.records import TaskReport
from pipeline.reporting.scores import difference_table
from pipeline.reporting.strata_plots import strata_tables
from tests.reporting.examples import evaluation_of, lesion_experiment, scored_cases

HALF = Estimate(0.5, 0.4, 0.6)


def evaluation(version: str, strata: dict, **more):
    config = lesion_experiment()
    made = evaluation_of(config, scored_cases(config, 0.7, cases=4), version)
    return replace(made, strata=strata, strata_counts={}, **more)


def test_each_level_has_a_row_a_version_and_sizes_state_their_borders():
    strata = {"size": {"small": {"average_precision": HALF}, "large": {"average_precision": HALF}}}
    one, other = (evaluation(f"lesions/{n}", strata, size_limits=(6.25,), size_unit="mm") for n in (1, 2))
    (table,) = strata_tables("lesions", [one, other], {id(one): 0, id(other): 1})
    assert table.metric == "Average precision"
    assert [(row.variable, row.level, row.version, row.opens) for row in table.rows] == [
        ("size", "small, to 6.25 mm", "version 1", True),
        ("", "small, to 6.25 mm", "version 2", False),
        ("", "large, above 6.25 mm", "version 1", True),
        ("", "large, above 6.25 mm", "version 2", False),
    ]
    assert all(row.interval == "[0.400, 0.600]" for row in table.rows)


def test_parts_without_the_primary_metric_are_shown_by_f1_or_sensitivity():
    one = evaluation("lesions/1", {"stain": {"a": {"recall": HALF, "f1": HALF}}})
    assert strata_tables("lesions", [one], {id(one): 0})[0].metric == "F1"
    one = evaluation("lesions/1", {"stain": {"a": {"recall": HALF}}})
    assert strata_tables("lesions", [one], {id(one): 0})[0].metric == "Sensitivity"


def test_without_strata_there_is_no_table():
    assert strata_tables("lesions", [evaluation("lesions/1", {})], {}) == []


def compared(low: float, high: float, adjusted: float) -> Comparison:
    middle = Estimate((low + high) / 2, low, high)
    part = StratumDifference("f1", 0.5, 0.6, middle, 0.001, adjusted, 7, 1, 0.2)
    differences = {"f1": middle, "ece": Estimate(-0.1, -0.2, -0.05)}
    p_values, values = {"f1": 0.001, "ece": 0.001}, {"f1": 0.5, "ece": 0.2}
    return Comparison(
        "t/1", "t/2", "set", "f1", differences, p_values, values, values, 20, {"f1": 0.03}, {"stain": {"a": part}}
    )


def test_a_part_favours_a_version_by_the_corrected_p_only():
    (row,) = difference_table("t", compared(0.02, 0.1, 0.01), 0.95).strata
    assert (row.variable, row.level, row.holds) == ("stain", "a", "7 patients, 1 object")
    assert (row.favours, row.p, row.detectable) == ("version 2", "0.010", "0.200")
    (row,) = difference_table("t", compared(0.02, 0.1, 0.2), 0.95).strata
    assert row.favours == ""


def test_a_lower_calibration_error_favours_the_version_that_has_it():
    table = difference_table("t", compared(0.02, 0.1, 0.2), 0.95)
    rows = {row.metric: row for row in table.rows}
    assert rows["Calibration error of scores (ECE)"].favours == "version 2"
    assert "(Calibration error of scores (ECE): left of 0)" in table.caption
    assert (rows["F1"].detectable, rows["Calibration error of scores (ECE)"].detectable) == ("0.030", "–")


def test_curves_are_drawn_where_they_are_there_and_calibration_is_read_by_bin():
    one = evaluation("lesions/1", {})
    curve = replace(one.curves["froc"], x_name="score", y_name="share right", x=(0.33, 0.92), y=(0.2, 0.9))
    titles = [chart.title for chart in charts(TaskReport("lesions", (replace(one, curves={"calibration": curve}),)))]
    assert titles == ["Calibration of scores"]
    (chart,) = charts(TaskReport("lesions", (replace(one, curves={"calibration": curve}),)))
    ((_, _, values),) = chart.rows
    assert values == ["–", "–", "–", "0.20", "–", "–", "–", "–", "–", "0.90"]
    assert "diagonal" in str(chart.svg)
