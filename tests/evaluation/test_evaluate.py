"""A whole evaluation, the primary metric, the threshold and the record."""

import math

import numpy as np
import pytest

from pipeline.config.evaluation import BoxOverlap, CentreDistance, EvaluationConfig
from pipeline.errors import DatasetError
from pipeline.evaluation import Evaluation, choose_threshold, compare, evaluate, primary_value
from pipeline.evaluation.figures import Measured

CLASSES = ("tumour", "other")


@pytest.fixture(scope="module")
def fields(random_field):
    return [random_field(f"{seed:02}", seed, patient=f"p{seed // 2}") for seed in range(16)]


def test_metrics_have_the_names_of_the_record(five_scans, config):
    metrics = evaluate(five_scans, config, CLASSES, "v", 0.6).metrics
    assert list(metrics) == [
        "f1",
        "precision",
        "recall",
        "average_precision",
        "cpm",
        "sensitivity_at_0_25_fp",
        "sensitivity_at_1_fp",
        "ap_iou_0_25",
        "ap_iou_0_50",
        "map_iou_0_50_0_95",
        "jaccard_0_25",
        "jaccard_0_50",
        "class_f1_tumour",
        "class_f1_other",
        "class_f1_weighted",
        "class_precision_tumour",
        "class_precision_other",
        "class_recall_tumour",
        "class_recall_other",
        "count_error",
        "scan_auc",
        "patient_auc",
        "ece",
    ]


def test_counts_of_the_five_scans(five_scans, config):
    assert evaluate(five_scans, config, CLASSES, "v", 0.6).counts == {
        "patients": 5,
        "cases": 5,
        "cases_without_objects": 2,
        "objects": 5,
        "ignored_objects": 0,
        "unlabelled_objects": 0,
        "hits": 4,
        "false_positives": 2,
        "misses": 1,
        "all_detections": 8,
    }


def test_order_of_cases_changes_nothing(fields, config):
    one = evaluate(fields, config, CLASSES, "v", 0.5)
    other = evaluate([fields[index] for index in np.random.default_rng(0).permutation(16)], config, CLASSES, "v", 0.5)
    assert other.summary() == one.summary()
    assert other.cases.equals(one.cases)
    assert other.objects.equals(one.objects)


def test_hundred_empty_scans_change_only_what_is_per_scan(five_scans, scan, config):
    more = [*five_scans, *(scan(f"empty {index:03}") for index in range(100))]
    before = evaluate(five_scans, config, CLASSES, "v", 0.6).metrics
    after = evaluate(more, config, CLASSES, "v", 0.6).metrics
    for name in ("f1", "precision", "recall", "average_precision", "ap_iou_0_50"):
        assert after[name].value == before[name].value
    assert after["cpm"].value == pytest.approx(0.8)
    assert after["count_error"].value == pytest.approx(before["count_error"].value * 5 / 105)


def test_saved_and_loaded_tables_give_every_figure_again(fields, config, tmp_path):
    evaluation = evaluate(fields, config, CLASSES, "v", 0.5)
    evaluation.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    again = Measured.of(loaded.cases, loaded.objects, loaded.threshold, CLASSES).values()
    assert again == {name: figure.value for name, figure in evaluation.metrics.items()}
    assert loaded.summary() == evaluation.summary()


def test_scans_with_nothing_at_all_are_saved_and_compared(scan, config, tmp_path):
    evaluation = evaluate([scan("a"), scan("b")], config, CLASSES, "v", 0.5)
    evaluation.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    assert len(loaded.objects) == 0
    comparison = compare(loaded, evaluation, rounds=100, seed=0)
    assert comparison.differences["count_error"].value == 0
    assert math.isnan(comparison.differences["f1"].value)


def test_objects_table_accounts_for_every_detection_and_every_object(fields, config):
    table = evaluate(fields, config, CLASSES, "v", 0.5).objects
    outcomes = table["outcome"].value_counts()
    assert outcomes["hit"] + outcomes["false"] == sum(len(case.detections) for case in fields)
    assert outcomes["hit"] + outcomes["missed"] == sum(len(case.annotations) for case in fields)


def test_missed_row_tells_where_and_what(scan, config):
    case = scan("a", [((40, 70), "other")], [((300, 200), 0.9, "tumour")])
    rows = evaluate([case], config, CLASSES, "v", 0.5).objects.set_index("outcome")
    assert rows.loc["missed", ["annotation_label", "centre_i_voxel", "centre_j_voxel", "size_i_voxel"]].tolist() == [
        "other",
        40.0,
        70.0,
        10.0,
    ]
    assert rows.loc["false", ["label", "centre_i_voxel", "centre_j_voxel"]].tolist() == ["tumour", 300.0, 200.0]
    assert math.isnan(rows.loc["missed", "score"])
    assert math.isnan(rows.loc["false", "centre_k_voxel"])


def test_box_overlap_is_left_out_for_points(scan, config):
    cases = [scan("a", [(1,)], [(1, 0.9)], from_points=True), scan("b", [(1,)], [(1, 0.9)])]
    evaluation = evaluate(cases, config, CLASSES, "v", 0.5)
    assert not [name for name in evaluation.metrics if name.startswith("ap_iou")]
    assert not [name for name in evaluation.objects.columns if "iou" in name]


def test_box_overlap_uses_its_own_matches(scan):
    """Shifted by half a box: found by distance, and with an IoU of 1/3 found at .25 only."""
    config = EvaluationConfig(match=CentreDistance(distance=6.0), bootstrap_rounds=100)
    metrics = evaluate([scan("a", [((50, 50),)], [((55, 50), 0.9)])], config, CLASSES, "v", 0.5).metrics
    assert [metrics[name].value for name in ("recall", "ap_iou_0_25", "ap_iou_0_50")] == [1, 1, 0]


def test_3d_evaluation_has_the_same_figures(random_field, config):
    cases = [random_field(f"{seed:02}", seed, dims=3) for seed in range(10)]
    metrics = evaluate(cases, config, CLASSES, "v", 0.4).metrics
    assert 0 < metrics["ap_iou_0_50"].value < metrics["ap_iou_0_25"].value < 1
    assert metrics["recall"].lower < metrics["recall"].value < metrics["recall"].upper


def test_test_set_is_named_by_cases_and_annotations(scan, config):
    def name(*cases) -> str:
        return evaluate(cases, config, CLASSES, "v", 0.5).test_set

    base = scan("a", [(1, "tumour"), (2, "other")], [(1, 0.9)])
    assert name(base) == name(scan("a", [(2, "other"), (1, "tumour")], [(7, 0.3)]))
    for other in (
        scan("b", [(1, "tumour"), (2, "other")]),
        scan("a", [(1, "other"), (2, "tumour")]),
        scan("a", [(1, "tumour"), (3, "other")]),
        scan("a", [(1, "tumour"), (2, "other")], ignore=[1]),
    ):
        assert name(other) != name(base)
    assert name(base, scan("b")) != name(base)


def test_no_case_is_refused(config):
    with pytest.raises(DatasetError, match="at least one case, got none"):
        evaluate([], config, CLASSES, "v", 0.5)


def test_case_that_comes_twice_is_refused(scan, config):
    with pytest.raises(DatasetError, match="got a twice"):
        evaluate([scan("a"), scan("b"), scan("a")], config, CLASSES, "v", 0.5)


def test_best_threshold_of_the_five_scans_is_the_score_of_the_last_hit(five_scans, config):
    assert choose_threshold(five_scans, config) == 0.6
    assert primary_value(five_scans, config) == pytest.approx(8 / 11)


def test_of_equal_f1_the_higher_score_is_chosen(scan, config):
    """One of two found by .9 alone: 2/3. Then one false and one hit: 4/6, the same."""
    case = scan("a", [(1,), (2,)], [(1, 0.9), (8, 0.8), (9, 0.8), (2, 0.7)])
    assert choose_threshold([case], config) == 0.9


def test_no_threshold_gives_a_higher_f1(fields, config):
    best = primary_value(fields, config)
    assert primary_value(fields, config, choose_threshold(fields, config)) == pytest.approx(best)
    assert all(primary_value(fields, config, threshold) <= best for threshold in np.linspace(0, 1, 101))


def test_without_a_hit_the_threshold_reports_nothing(scan, config):
    cases = [scan("a", [(1,)], [(9, 0.999)])]
    assert choose_threshold(cases, config) == 1.0
    assert primary_value(cases, config) == 0


def test_without_an_object_there_is_no_threshold_and_no_primary_value(scan, config):
    cases = [scan("a", [], [(9, 0.9)])]
    with pytest.raises(DatasetError, match="at least one annotated object, and 1 cases have none"):
        choose_threshold(cases, config)
    assert math.isnan(primary_value(cases, config))


@pytest.mark.parametrize("primary", ["f1", "average_precision", "cpm", "sensitivity_at_0_25_fp"])
@pytest.mark.parametrize("match", [CentreDistance(distance=4.0), BoxOverlap(iou=0.3)])
def test_primary_value_is_the_figure_of_the_evaluation(fields, primary, match):
    config = EvaluationConfig(match=match, primary=primary, bootstrap_rounds=100)
    evaluation = evaluate(fields, config, CLASSES, "v", 0.5)
    assert primary_value(fields, config, 0.5) == evaluation.metrics[primary].value
    assert evaluation.primary == primary
