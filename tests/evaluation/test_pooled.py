"""Folds and seeds together: every scan once, at the threshold of the version that did not see it."""

import dataclasses
import math

import pytest

from pipeline.errors import DatasetError
from pipeline.evaluation import evaluate
from pipeline.evaluation.pooled import Child, Spread, pool
from tests.evaluation.conftest import CLASSES, make_random_field, make_scan


def child(fold, scans, threshold, config, seed=0, classes=("tumour",)):
    return Child(fold, seed, evaluate(scans, config, classes, f"cells/{seed}-{fold}", threshold))


@pytest.fixture
def two_folds(config):
    """Fold 0, threshold .5: A has 2 objects, hits .9 and .4, false .6. Fold 1, threshold .2: B has 2, hit .3, false .1.

    At their own thresholds: 1 hit and 1 false, and 1 hit and none; of 4 objects. At one threshold of .5 for both B
    would have no hit; at .2 A would have 2.
    """
    a = make_scan("A", [(1,), (2,)], [(1, 0.9), (9, 0.6), (2, 0.4)])
    b = make_scan("B", [(1,), (2,)], [(1, 0.3), (9, 0.1)])
    return [child(0, [a], 0.5, config), child(1, [b], 0.2, config)]


def test_each_fold_counts_at_its_own_threshold(two_folds, config):
    pooled = pool(two_folds, config, ("tumour",))
    assert pooled.counts == {
        "patients": 2,
        "cases": 2,
        "cases_without_objects": 0,
        "objects": 4,
        "ignored_objects": 0,
        "hits": 2,
        "false_positives": 1,
        "misses": 2,
    }
    assert pooled.metrics["precision"].value == 2 / 3
    assert pooled.metrics["recall"].value == 2 / 4
    assert pooled.metrics["f1"].value == 2 * 2 / (4 + 3)
    assert pooled.metrics["count_error"].value == (0 + 1) / 2  # A: 2 of 2; B: 1 of 2
    assert pooled.metrics["jaccard_0_50"].value == 2 / (2 + 1 + 2)


def test_ranking_figures_put_the_scores_of_all_folds_in_one_list(two_folds, config):
    """.9 hit, .6 false, .4 hit, .3 hit, .1 false: precision 1, 2/3, 3/4 at the hits, of 4 objects."""
    pooled = pool(two_folds, config, ("tumour",))
    assert pooled.metrics["average_precision"].value == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    assert pooled.curves["froc"].y[-1] == 3 / 4


def test_a_score_equal_to_the_threshold_counts_also_where_tenths_are_not_exact(config):
    scans = [make_scan("A", [(1,)], [(1, 0.1 + 0.2)]), make_scan("B", [(1,)], [(1, 0.7)])]
    children = [child(0, scans[:1], 0.1 + 0.2, config), child(1, scans[1:], 0.7, config)]
    assert pool(children, config, ("tumour",)).metrics["recall"].value == 1
    above = [child(0, scans[:1], math.nextafter(0.1 + 0.2, 1), config), child(1, scans[1:], 0.7, config)]
    assert pool(above, config, ("tumour",)).metrics["recall"].value == 0.5


def test_folds_with_one_threshold_pool_to_the_evaluation_of_all_their_scans(config):
    scans = [make_random_field(f"{n:02}", n, f"p{n // 2}") for n in range(24)]
    folds = [child(n, scans[8 * n : 8 * n + 8], 0.4, config, classes=CLASSES) for n in range(3)]
    whole = evaluate(scans, config, CLASSES, "whole", 0.4)
    pooled = pool(folds, config, CLASSES)
    assert pooled.metrics == whole.metrics
    assert pooled.strata == whole.strata
    assert pooled.strata_counts == whole.strata_counts
    assert pooled.curves == whole.curves


def test_order_of_children_changes_nothing(two_folds, config):
    assert pool(two_folds[::-1], config, ("tumour",)).summary() == pool(two_folds, config, ("tumour",)).summary()


def test_strata_count_at_each_folds_own_threshold(config):
    """Two classes: fold 0 finds its tumour at .5, fold 1 its other at .3; its false tumour at .25 does not count."""
    a = make_scan("A", [(1, "tumour"), (2, "other")], [(1, 0.5, "tumour")])
    b = make_scan("B", [(1, "other"), (2, "tumour")], [(1, 0.3, "other"), (9, 0.25, "tumour")])
    folds = [child(0, [a], 0.5, config, classes=CLASSES), child(1, [b], 0.3, config, classes=CLASSES)]
    pooled = pool(folds, config, CLASSES)
    assert pooled.strata["class"]["tumour"]["precision"].value == 1
    assert pooled.strata["class"]["tumour"]["recall"].value == 0.5
    assert pooled.strata["class"]["other"]["recall"].value == 0.5
    assert pooled.strata_counts["class"]["tumour"]["false_positives"] == 0


def test_over_seeds_each_figure_is_the_mean_and_the_spread_is_told(config):
    objects = [(n,) for n in range(1, 5)]
    found = {0: 1, 1: 2, 2: 4}  # of four
    children = [
        child(None, [make_scan("A", objects, [(n, 0.9) for n in range(1, hits + 1)])], 0.5, config, seed)
        for seed, hits in found.items()
    ]
    pooled = pool(children, config, ("tumour",))
    assert pooled.metrics["recall"].value == pytest.approx((0.25 + 0.5 + 1) / 3)
    spread = pooled.spreads["seed"]["recall"]
    assert (spread.count, spread.least, spread.greatest) == (3, 0.25, 1.0)
    assert spread.sd == pytest.approx(math.sqrt(((0.25 - 7 / 12) ** 2 + (0.5 - 7 / 12) ** 2 + (1 - 7 / 12) ** 2) / 2))
    assert set(pooled.spreads) == {"seed"}
    assert "hits" not in pooled.counts
    assert pooled.curves == {}


def test_over_folds_and_seeds_each_seed_is_pooled_first(config):
    """Fold 0 has 3 objects and fold 1 has 1: recall of a seed is hits of 4, and not the mean of its folds."""
    hits = {(0, 0): 3, (0, 1): 0, (1, 0): 0, (1, 1): 1}
    children = [
        child(
            fold,
            [make_scan("AB"[fold], [(n,) for n in range(1, 4 - 2 * fold)], [(n, 0.9) for n in range(1, found + 1)])],
            0.5,
            config,
            seed,
        )
        for (seed, fold), found in hits.items()
    ]
    pooled = pool(children, config, ("tumour",))
    assert pooled.metrics["recall"].value == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert (pooled.spreads["seed"]["recall"].least, pooled.spreads["seed"]["recall"].greatest) == (0.25, 0.75)
    # Folds, each the mean of its seeds: (1 + 0) / 2 and (0 + 1) / 2.
    assert (pooled.spreads["fold"]["recall"].mean, pooled.spreads["fold"]["recall"].sd) == (0.5, 0)
    assert pooled.cases[["fold", "seed", "case_id", "hits"]].to_numpy().tolist() == [
        [0, 0, "A", 3],
        [1, 0, "B", 0],
        [0, 1, "A", 0],
        [1, 1, "B", 1],
    ]


def test_same_seed_twice_has_the_interval_of_one(config):
    scans = [make_random_field(f"{n:02}", n, f"p{n // 2}") for n in range(12)]
    once = [child(None, scans, 0.4, config, 0, CLASSES)]
    twice = [*once, dataclasses.replace(once[0], seed=1)]
    assert pool(twice, config, CLASSES).metrics == pool(once, config, CLASSES).metrics
    assert pool(twice, config, CLASSES).strata == pool(once, config, CLASSES).strata


def test_digest_names_the_cases_and_is_never_that_of_one_version(two_folds, config):
    one = pool(two_folds[:1], config, ("tumour",))
    assert one.test_set != two_folds[0].evaluation.test_set
    assert one.test_set != pool(two_folds, config, ("tumour",)).test_set
    assert one.test_set == pool([dataclasses.replace(two_folds[0], seed=5)], config, ("tumour",)).test_set


def test_spread_of_one_training_has_no_deviation_and_of_none_nothing():
    assert Spread.of([0.5, math.nan]) == Spread(1, 0.5, pytest.approx(math.nan, nan_ok=True), 0.5, 0.5)
    assert Spread.of([math.nan]).count == 0


class TestRefused:
    def test_patient_in_two_folds(self, config):
        scans = [make_scan(name, [(1,)], [(1, 0.9)], patient="p") for name in "AB"]
        children = [child(n, [scan], 0.5, config) for n, scan in enumerate(scans)]
        with pytest.raises(DatasetError, match="1 patients are in the test sets of two folds"):
            pool(children, config, ("tumour",))

    def test_case_in_two_folds(self, two_folds, config):
        with pytest.raises(DatasetError, match="1 cases are in the test sets of two folds"):
            pool([two_folds[0], dataclasses.replace(two_folds[0], fold=1)], config, ("tumour",))

    def test_fold_that_a_seed_lacks(self, two_folds, config):
        with pytest.raises(DatasetError, match=r"every fold with every seed once, got \(fold, seed\)"):
            pool([*two_folds, dataclasses.replace(two_folds[0], seed=1)], config, ("tumour",))

    def test_seeds_on_other_cases(self, config):
        children = [child(0, [make_scan(name, [(1,)])], 0.5, config, seed) for seed, name in enumerate("AB")]
        with pytest.raises(DatasetError, match="the seeds of fold 0 were judged on other cases"):
            pool(children, config, ("tumour",))
