"""Two versions in parts of their test set."""

import dataclasses
import json
import math

import numpy as np
import pytest

from pipeline.config.evaluation import CentreDistance, EvaluationConfig
from pipeline.evaluation import Evaluation, compare, evaluate, paired_cases
from pipeline.evaluation.significance import holm
from pipeline.evaluation.strata import Strata

CLASSES = ("tumour", "other")


@pytest.fixture(scope="module")
def config():
    return EvaluationConfig(match=CentreDistance(distance=6.0), bootstrap_rounds=100, strata=("class", "site"))


@pytest.fixture(scope="module")
def version(random_field, config):
    """30 scans of 15 patients at three sites; ``skills`` are those at each site."""

    def make(name: str, *skills: float, primary: str = "f1") -> Evaluation:
        cases = [
            dataclasses.replace(
                random_field(f"{seed:02}", seed, f"p{seed // 2}", skill=skills[seed // 2 % 3 % len(skills)]),
                attributes={"site": "xyz"[seed // 2 % 3]},
            )
            for seed in range(30)
        ]
        return evaluate(cases, config.model_copy(update={"primary": primary}), CLASSES, name, 0.4)

    return make


@pytest.mark.parametrize("primary", ["f1", "cpm", "average_precision"])
def test_version_with_itself_differs_by_exactly_nothing_in_every_stratum(version, primary):
    one = version("one", 0.7, primary=primary)
    strata = compare(one, one, rounds=200, seed=0).strata
    assert {name: list(levels) for name, levels in strata.items()} == {
        "class": ["other", "tumour"],
        "site": ["x", "y", "z"],
    }
    for levels in strata.values():
        for part in levels.values():
            assert part.metric == primary
            assert (part.difference.value, part.difference.lower, part.difference.upper) == (0, 0, 0)
            assert (part.p, part.p_adjusted) == (1, 1)
            assert math.isnan(part.detectable)


def test_version_that_is_better_at_one_site_is_better_there_alone(version):
    """Sites are of five patients: 2 of 32 ways to swap differ as much, so p is near 1/16 and no interval is fooled."""
    strata = compare(version("a", 0.5), version("b", 0.5, 0.95, 0.5), rounds=999, seed=0).strata["site"]
    assert strata["y"].difference.lower > 0
    assert strata["y"].p == pytest.approx(1 / 16, abs=0.03)
    assert math.isnan(strata["y"].detectable)
    for site in "xz":
        assert strata[site].difference.value == 0
        assert strata[site].p == 1
    assert [strata[site].patients for site in "xyz"] == [5, 5, 5]


def test_values_of_strata_are_those_of_the_evaluations(version):
    a, b = version("a", 0.4, 0.6, 0.7), version("b", 0.8)
    comparison = compare(a, b, rounds=100, seed=0)
    for name, levels in comparison.strata.items():
        for level, part in levels.items():
            assert part.value_a == a.strata[name][level]["f1"].value
            assert part.value_b == b.strata[name][level]["f1"].value
            assert part.difference.value == part.value_b - part.value_a
            assert part.objects == a.strata_counts[name][level]["objects"]


def test_all_strata_are_one_family_of_tests(version):
    strata = compare(version("a", 0.5), version("b", 0.9), rounds=499, seed=0).strata
    parts = [part for levels in strata.values() for part in levels.values()]
    assert len(parts) == 5
    assert [part.p_adjusted for part in parts] == holm(np.array([part.p for part in parts])).tolist()
    assert strata["class"]["tumour"].p_adjusted > strata["class"]["tumour"].p


@pytest.mark.parametrize("primary", ["f1", "cpm", "average_precision"])
def test_sizes_are_compared_by_recall_and_one_that_holds_everything_as_the_whole(random_field, config, primary):
    """Everything is at most 99 large: the same rounds, and so the same interval and p."""
    asked = config.model_copy(update={"primary": primary, "strata": ("size",), "size_limits": (99.0,)})
    a, b = (
        evaluate([random_field(f"{n:02}", n, f"p{n // 2}", skill=skill) for n in range(24)], asked, CLASSES, name, 0.4)
        for name, skill in (("a", 0.5), ("b", 0.7))
    )
    comparison = compare(a, b, rounds=200, seed=0)
    small, large = comparison.strata["size"]["small"], comparison.strata["size"]["large"]
    _same_test(small, comparison, "recall")
    assert math.isnan(large.p)


@pytest.mark.parametrize("primary", ["f1", "average_precision"])
def test_stratum_of_all_but_an_empty_scan_is_tested_as_the_whole(random_field, scan, config, primary):
    asked = config.model_copy(update={"primary": primary, "strata": ("site",)})

    def version(name, skill):
        cases = [random_field(f"{n:02}", n, f"p{n // 2}", skill=skill) for n in range(24)]
        empty = scan("99", [], patient="p99", grid=cases[0].annotations.boxes.grid)
        sited = [dataclasses.replace(one, attributes={"site": "x"}) for one in cases]
        return evaluate([*sited, dataclasses.replace(empty, attributes={"site": "y"})], asked, CLASSES, name, 0.4)

    comparison = compare(version("a", 0.5), version("b", 0.7), rounds=200, seed=0)
    _same_test(comparison.strata["site"]["x"], comparison, primary)
    assert math.isnan(comparison.strata["site"]["y"].p)


def _same_test(part, comparison, metric):
    assert part.metric == metric
    assert dataclasses.astuple(part.difference) == pytest.approx(
        dataclasses.astuple(comparison.differences[metric]), abs=1e-12
    )
    assert part.p == part.p_adjusted == comparison.p_values[metric] < 1
    assert part.detectable == pytest.approx(comparison.detectable[metric])


def test_larger_false_detections_change_nothing_by_size(random_field, config):
    """Same hits and scores; A's false boxes are small and B's large, so that F1 of small objects rises."""
    asked = config.model_copy(update={"strata": ("size",), "size_limits": (11.0,)})
    cases = [random_field(f"{n:02}", n, f"p{n // 2}") for n in range(24)]
    a = evaluate(cases, asked, CLASSES, "a", 0.4)
    false = a.objects["outcome"] == "false"
    edges = np.where(np.arange(len(a.objects)) % 2, 5.0, 20.0)
    sized = a.objects.assign(
        size_world=np.where(false, 5.0, edges), annotation_size_world=np.where(false, np.nan, edges)
    )
    a, b = (
        dataclasses.replace(a, version=name, objects=sized.assign(size_world=np.where(false, edge, edges)))
        for name, edge in (("a", 5.0), ("b", 20.0))
    )
    small = (Strata.of(one.cases, one.objects, ("size",), 0.4, (11.0,)).parts["size"]["small"] for one in (a, b))
    before, after = (part.tally.values(("f1",))["f1"] for part in small)
    assert after > before + 0.1
    levels = compare(a, b, rounds=100, seed=0).strata["size"]
    assert [(part.metric, part.difference.value, part.p) for part in levels.values()] == [("recall", 0, 1)] * 2


def test_stratum_of_few_patients_says_how_few_they_are(random_field, config):
    """Two patients of twelve have an object of class ``other``; all have false detections of it."""
    cases = [random_field(f"{n:02}", n, f"p{n}") for n in range(2, 14)]
    a, b = (evaluate(cases, config, CLASSES, name, threshold) for name, threshold in (("a", 0.4), ("b", 0.6)))
    few = a.objects["case_id"].isin(("04", "05"))
    named = a.objects["annotation_label"].where(few | (a.objects["annotation_label"] != "other"), "tumour")
    a, b = (dataclasses.replace(one, objects=one.objects.assign(annotation_label=named)) for one in (a, b))
    counts = Strata.of(a.cases, a.objects, ("class",), 0.4).counts()["class"]["other"]
    assert (counts["patients"], counts["patients_with_objects"]) == (12, 2)
    part = compare(a, b, rounds=100, seed=0).strata["class"]["other"]
    assert part.patients == 2
    assert math.isnan(part.difference.lower)
    assert math.isnan(part.detectable)


def test_order_of_rows_changes_no_stratum(version):
    a, b = version("a", 0.5), version("b", 0.75)
    expected = json.dumps(compare(a, b, rounds=100, seed=0).to_json())
    for one, other in ((shuffled(a), b), (a, shuffled(b))):
        assert json.dumps(compare(one, other, rounds=100, seed=0).to_json()) == expected


def shuffled(evaluation: Evaluation) -> Evaluation:
    cases, objects = evaluation.cases.sample(frac=1, random_state=0), evaluation.objects.sample(frac=1, random_state=1)
    return dataclasses.replace(evaluation, cases=cases, objects=objects)


def test_primary_that_strata_do_not_have_is_compared_by_f1(version):
    a, b = (dataclasses.replace(version(*one), primary="panoptic_quality") for one in (("a", 0.5), ("b", 0.8)))
    strata = compare(a, b, rounds=100, seed=0).strata
    assert {part.metric for levels in strata.values() for part in levels.values()} == {"f1"}


def test_detectable_of_every_figure_is_about_one_and_a_half_half_widths_of_its_interval(version):
    """2.8 to 3.2 standard errors against 1.96: a check that both speak of the same spread."""
    comparison = compare(version("a", 0.5), version("b", 0.6), rounds=999, seed=0)
    assert set(comparison.detectable) == set(comparison.differences)
    for name in ("f1", "recall", "average_precision", "cpm"):
        half = (comparison.differences[name].upper - comparison.differences[name].lower) / 2
        assert 1.3 < comparison.detectable[name] / half < 1.9, name


def test_cases_are_paired_in_a_table(version):
    a, b = version("a", 0.5), version("b", 0.9)
    table = paired_cases(a, shuffled(b))
    assert table["case_id"].tolist() == sorted(a.cases["case_id"])
    assert table["hits_a"].sum() == a.counts["hits"]
    assert table["false_positives_b"].sum() == b.counts["false_positives"]
    assert (table["hits_b"] + table["misses_b"]).tolist() == table["objects"].tolist()
    assert set(table["attribute_site"]) == {"x", "y", "z"}


def test_tables_of_a_comparison_have_a_row_a_metric_and_a_row_a_stratum(version):
    comparison = compare(version("a", 0.5), version("b", 0.8), rounds=100, seed=0)
    figures = comparison.figure_rows().set_index("metric")
    assert figures.loc["f1", "difference"] == comparison.differences["f1"].value
    assert figures.loc["cpm", "detectable"] == comparison.detectable["cpm"]
    strata = comparison.strata_rows().set_index(["variable", "level"])
    part = comparison.strata["site"]["y"]
    told = strata.loc[("site", "y")]
    assert (told["difference"], told["lower"], told["p_adjusted"]) == (
        part.difference.value,
        part.difference.lower,
        part.p_adjusted,
    )
    assert len(strata) == 5
