"""Evaluations made by hand, and what a policy says of them."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.config import Policy
from pipeline.evaluation import Comparison, Estimate, Evaluation
from pipeline.evaluation.decision import Earlier, decide
from pipeline.evaluation.records import StratumDifference

NAN = math.nan
BY_VALUE = {"primary": {"margin": 0.0, "judged_by": "value"}}


def _evaluation(version, f1=0.7, **classes):
    figures = {"f1": f1, **{f"class_f1_{name}": value for name, value in classes.items()}}
    return Evaluation(
        version=version,
        test_set="t",
        primary="f1",
        threshold=0.5,
        counts={"cases": 12, "patients": 12},
        metrics={name: Estimate(value, value - 0.05, value + 0.05) for name, value in figures.items()},
        curves={},
        cases=pd.DataFrame(),
        objects=pd.DataFrame(),
        match_rule={"kind": "centre_distance", "distance": 6.0},
        confidence=0.95,
    )


def _pair(before, after, width=0.02, champion=None, challenger=None, p=0.5, **strata):
    """f1 of both, every difference with ± ``width``; classes of both; strata as (difference, objects) by level.

    The test set shows class drops from 0.03.
    """
    one, other = _evaluation("cells/1", before, **(champion or {})), _evaluation("cells/2", after, **(challenger or {}))
    both = [name for name in one.metrics if name in other.metrics]
    values_a = {name: one.metrics[name].value for name in both}
    values_b = {name: other.metrics[name].value for name in both}
    compared = Comparison(
        version_a="cells/1",
        version_b="cells/2",
        test_set="t",
        primary="f1",
        differences={name: _around(values_b[name] - values_a[name], width) for name in both},
        p_values=dict.fromkeys(both, p),
        values_a=values_a,
        values_b=values_b,
        patients=12,
        detectable={name: 0.03 for name in both if name != "f1"},
        strata={"size": {level: _stratum(*given) for level, given in strata.items()}} if strata else {},
    )
    return other, one, compared


def _around(value, width):
    return Estimate(value, value - width, value + width)


def _stratum(difference, objects):
    return StratumDifference("f1", 0.6, 0.6 + difference, _around(difference, 0.05), 0.5, 0.5, 9, objects)


def _by_interval(margin):
    return Policy.model_validate({"primary": {"margin": margin}})


def _policy(**demands):
    return Policy.model_validate(BY_VALUE | demands)


@pytest.mark.parametrize(
    ("primary", "difference", "promoted"),
    [
        ({}, 0.01, True),
        ({}, 0.0, True),
        ({}, -0.01, False),
        ({"margin": 0.02}, -0.02, True),
        ({"margin": 0.02}, -0.03, False),
        ({"rule": "better"}, 0.0, False),
        ({"rule": "better"}, 0.01, True),
        ({"rule": "better", "margin": 0.02}, 0.02, False),
        ({"rule": "better", "judged_by": "interval"}, 0.01, False),  # -0.01 … 0.03
        ({"rule": "better", "judged_by": "interval"}, 0.03, True),  # 0.01 … 0.05
        ({"judged_by": "interval", "margin": 0.02}, 0.0, True),  # -0.02 … 0.02
        ({"judged_by": "interval", "margin": 0.02}, -0.005, False),
    ],
)
def test_primary_figure_against_margin_and_interval(primary, difference, promoted):
    policy = Policy.model_validate({"primary": BY_VALUE["primary"] | primary})
    assert decide(*_pair(0.7, 0.7 + difference, p=0.01), policy).promoted is promoted


def test_better_by_interval_needs_the_permutation_test_too():
    """Two patients that differ alike give an interval of no width, and p = 0.5."""
    policy = Policy.model_validate({"primary": {"margin": 0.0, "rule": "better", "judged_by": "interval"}})
    refused = decide(*_pair(0.7, 1.0, width=0.0, p=0.48), policy)
    assert refused.reasons[0].endswith("p 0.480 would have to be at most 0.05")
    assert decide(*_pair(0.7, 1.0, width=0.0, p=0.05), policy).promoted


def test_what_nobody_says_is_judged_by_interval():
    assert not decide(*_pair(0.7, 0.7), _by_interval(0.0)).promoted  # -0.02 … 0.02
    assert decide(*_pair(0.7, 0.7), _by_interval(0.02)).promoted


class TestEarlierChampions:
    """Successors that are each a margin worse than the last lead down, one margin at a time."""

    policy = Policy.model_validate({"primary": {"margin": 0.02, "judged_by": "value"}})

    def test_a_margin_below_the_best_earlier_champion_passes(self):
        promoted = decide(*_pair(0.7, 0.69), self.policy, Earlier("cells/0", 0.71))
        assert promoted.promoted
        assert promoted.reasons[-1] == "f1 0.690 against 0.710 of cells/0, the best earlier champion (margin 0.02)"

    def test_more_is_refused_although_the_present_champion_is_within_reach(self):
        refused = decide(*_pair(0.7, 0.69), self.policy, Earlier("cells/0", 0.72))
        assert not refused.promoted
        assert len(refused.reasons) == 1


def test_reason_has_both_figures_the_interval_the_patients_and_the_margin():
    (reason,) = decide(*_pair(0.7, 0.65), _by_interval(0.01)).reasons
    assert reason == (
        "f1 0.650 against 0.700 of cells/1 (difference -0.050 [-0.070, -0.030], 12 patients, margin 0.01): "
        "the lower end of the interval would have to be worse by no more than 0.01"
    )


def test_difference_that_does_not_exist_promotes_nobody():
    refused = decide(*_pair(0.7, NAN), _by_interval(1.0))
    assert not refused.promoted
    assert refused.reasons[0].endswith("the interval does not exist")


def test_interval_that_does_not_exist_passes_by_value_and_fails_by_interval():
    candidate, champion, compared = _pair(0.7, 0.8)
    one_patient = replace(compared, differences={"f1": Estimate(0.1, NAN, NAN)}, patients=1)
    assert decide(candidate, champion, one_patient, _policy(min_patients=1)).promoted
    by_interval = Policy.model_validate({"primary": {"judged_by": "interval"}, "min_patients": 1})
    assert not decide(candidate, champion, one_patient, by_interval).promoted


def test_too_few_patients_decide_nothing():
    assert decide(*_pair(0.7, 0.8), _policy(min_patients=12)).promoted
    refused = decide(*_pair(0.7, 0.8), _policy(min_patients=13))
    assert refused.reasons == ("the test set has 12 patients, and the policy asks for 13",)


class TestFirstVersion:
    def test_is_promoted_for_want_of_a_champion(self):
        decision = decide(_evaluation("cells/1", 0.2), None, None, Policy(min_patients=12))
        told = "there is no champion to be worse than, and cells/1 has f1 0.200 [0.150, 0.250] on 12 patients"
        assert (decision.promoted, decision.reasons) == (True, (told,))

    @pytest.mark.parametrize("f1", [0.0, NAN, math.inf])
    def test_that_finds_nothing_is_refused(self, f1):
        refused = decide(_evaluation("cells/1", f1), None, None, Policy())
        assert not refused.promoted
        assert refused.reasons[0].endswith("a first champion must have a figure above 0")

    def test_without_the_figure_that_the_policy_names_is_refused(self):
        refused = decide(_evaluation("cells/1", 0.2), None, None, _policy(primary={"metric": "cpm"}))
        assert refused.reasons[0].endswith("cells/1 has cpm –: a first champion must have a figure above 0")

    def test_on_few_patients_is_promoted_and_told(self):
        decision = decide(_evaluation("cells/1", 0.2), None, None, Policy(min_patients=13))
        assert decision.promoted
        assert decision.reasons[0].endswith(" on 12 patients, of which the policy asks for 13")


BY_SIZE = {"strata": [{"variable": "size", "margin": 0.02, "judged_by": "value"}]}


class TestStrata:
    def test_better_over_all_but_worse_on_small_objects_is_refused(self):
        refused = decide(*_pair(0.7, 0.8, small=(-0.1, 50), large=(0.2, 80)), _policy(**BY_SIZE))
        assert not refused.promoted
        (reason,) = refused.reasons
        assert reason.startswith("size small: f1 0.500 against 0.600 (difference -0.100 [-0.150, -0.050], 9 patients,")

    def test_worse_within_the_margin_in_each_stratum_is_promoted_and_told(self):
        promoted = decide(*_pair(0.7, 0.8, small=(-0.02, 50), large=(0.2, 80)), _policy(**BY_SIZE))
        assert promoted.promoted
        assert [reason.split(":")[0] for reason in promoted.reasons[1:]] == ["size small", "size large"]

    def test_stratum_with_few_objects_is_left_out_and_told(self):
        promoted = decide(*_pair(0.7, 0.8, small=(-0.5, 19)), _policy(**BY_SIZE))
        assert promoted.promoted
        assert (
            promoted.reasons[1]
            == "size small cannot be judged: 19 objects of 9 patients, and the policy asks for 20 of 5"
        )

    def test_stratum_with_few_objects_refuses_where_the_policy_says_so(self):
        demand = {"strata": [{"variable": "size", "if_fewer": "refuse"}]}
        assert not decide(*_pair(0.7, 0.8, small=(0.5, 19)), _policy(**demand)).promoted

    def test_only_the_levels_named_are_judged(self):
        demand = {"strata": [{"variable": "size", "levels": ["large"], "judged_by": "value"}]}
        assert decide(*_pair(0.7, 0.8, small=(-0.5, 50), large=(0.1, 50)), _policy(**demand)).promoted

    def test_variable_that_the_test_set_lacks_refuses(self):
        (reason,) = decide(*_pair(0.7, 0.8), _policy(**BY_SIZE)).reasons
        assert reason == "the policy asks for size, by which the test set was not divided"

    def test_variable_that_the_test_set_lacks_is_left_out_where_the_policy_says_so(self):
        demand = {"strata": [{"variable": "size", "if_absent": "leave_out"}]}
        promoted = decide(*_pair(0.7, 0.8), _policy(**demand))
        assert (promoted.promoted, len(promoted.reasons)) == (True, 2)

    def test_stratum_with_objects_of_few_patients_cannot_be_judged(self):
        demand = {"strata": [{"variable": "size", "min_patients": 10, "if_fewer": "refuse"}]}
        (reason,) = decide(*_pair(0.7, 0.8, small=(0.5, 50)), _policy(**demand)).reasons
        assert reason == "size small cannot be judged: 50 objects of 9 patients, and the policy asks for 20 of 10"

    def test_level_that_the_test_set_lacks_refuses(self):
        demand = {"strata": [{"variable": "size", "levels": ["tiny"]}]}
        (reason,) = decide(*_pair(0.7, 0.8, small=(0.1, 50)), _policy(**demand)).reasons
        assert reason == "the policy asks for size tiny; the test set has small"

    def test_stratum_whose_difference_does_not_exist_refuses(self):
        assert not decide(*_pair(0.7, 0.8, small=(NAN, 50)), _policy(**BY_SIZE)).promoted


class TestClasses:
    def _decide(self, before, after, width=0.02, **demand):
        return decide(*_pair(0.7, 0.8, width, before, after), _policy(classes={"margin": 0.02} | demand))

    def test_drop_beyond_the_margin_is_refused(self):
        refused = self._decide({"tumour": 0.8, "other": 0.5}, {"tumour": 0.9, "other": 0.45})
        assert refused.reasons == (
            "class other drops from 0.500 to 0.450 (difference -0.050 [-0.070, -0.030], margin 0.02)",
        )

    def test_drop_within_the_margin_passes(self):
        assert self._decide({"other": 0.5}, {"other": 0.48}, width=0.001).promoted

    def test_larger_drop_passes_when_its_interval_covers_0_and_is_told(self):
        promoted = self._decide({"other": 0.5}, {"other": 0.4}, width=0.1, margin=0.03)
        assert promoted.promoted
        assert promoted.reasons[1].endswith("which may be chance: the interval covers 0")

    def test_on_a_test_set_that_would_not_show_the_margin_chance_is_no_excuse(self):
        refused = self._decide({"other": 0.5}, {"other": 0.4}, width=0.1, margin=0.029)
        assert refused.reasons == (
            "class other drops from 0.500 to 0.400 (difference -0.100 [-0.200, +0.000], margin 0.029); it may be "
            "chance, but this test set is sure to show only drops from 0.030: explain it in the policy "
            "(classes.explained) or use a larger test set",
        )

    def test_drop_that_the_policy_explains_passes_with_the_explanation(self):
        explained = {"other": "merged with debris on purpose"}
        promoted = self._decide({"other": 0.5}, {"other": 0.1}, explained=explained)
        assert promoted.promoted
        assert promoted.reasons[1].endswith("explained in the policy: merged with debris on purpose")

    @pytest.mark.parametrize(("objects", "patients"), [(19, 9), (20, 4)])
    def test_class_with_few_objects_or_patients_cannot_be_judged_and_is_told(self, objects, patients):
        candidate, champion, compared = _pair(0.7, 0.8, 0.02, {"rare": 0.5}, {"rare": 0.1})
        held = {"class": {"rare": {"objects": objects, "patients": patients}}}
        promoted = decide(replace(candidate, strata_counts=held), champion, compared, _policy())
        assert promoted.promoted
        told = f"class rare cannot be judged: {objects} objects of {patients} patients, and the policy asks for 20 of 5"
        assert promoted.reasons[1] == told

    def test_larger_drop_is_refused_without_that_excuse(self):
        assert not self._decide({"other": 0.5}, {"other": 0.4}, width=0.1, unless_by_chance=False).promoted

    def test_drop_without_an_interval_is_refused(self):
        candidate, champion, compared = _pair(0.7, 0.8, 0.02, {"other": 0.5}, {"other": 0.4})
        differences = compared.differences | {"class_f1_other": Estimate(-0.1, NAN, NAN)}
        assert not decide(candidate, champion, replace(compared, differences=differences), _policy()).promoted

    def test_class_that_is_no_longer_known_is_refused(self):
        (reason,) = self._decide({"tumour": 0.8, "other": 0.5}, {"tumour": 0.8}).reasons
        assert reason == "cells/1 finds class other and cells/2 does not know it"

    def test_class_that_is_no_longer_found_at_all_is_refused(self):
        assert not self._decide({"other": 0.5}, {"other": NAN}).promoted

    def test_another_class_beside_hides_no_drop(self):
        refused = self._decide({"old": 0.5}, {"old": 0.3, "new": 0.9})
        assert refused.reasons == (
            "class old drops from 0.500 to 0.300 (difference -0.200 [-0.220, -0.180], margin 0.02)",
        )

    def test_class_that_was_not_compared_is_refused(self):
        candidate, champion, compared = _pair(0.7, 0.8, 0.02, {"old": 0.5}, {"old": 0.9})
        differences = {"f1": compared.differences["f1"]}
        refused = decide(candidate, champion, replace(compared, differences=differences), _policy())
        assert refused.reasons == ("class old was not compared",)

    def test_mean_over_classes_is_no_class(self):
        assert self._decide({"weighted": 0.8}, {"weighted": 0.5}).promoted

    def test_nobody_asks_where_the_policy_has_no_such_demand(self):
        assert decide(*_pair(0.7, 0.8, 0.02, {"other": 0.5}, {"other": 0.1}), _policy(classes=None)).promoted


class TestUnfit:
    """What no policy can allow."""

    lax = Policy.model_validate({"primary": {"margin": 1.0}, "classes": None})

    def _refused(self, candidate, champion, compared):
        decision = decide(candidate, champion, compared, self.lax)
        assert not decision.promoted
        (reason,) = decision.reasons
        return reason

    def test_other_test_sets(self):
        candidate, champion, compared = _pair(0.7, 0.8)
        assert "do not compare" in self._refused(replace(candidate, test_set="u"), champion, compared)

    def test_other_match_rules(self):
        candidate, champion, compared = _pair(0.7, 0.8)
        assert "match rule" in self._refused(replace(candidate, match_rule={"kind": "other"}), champion, compared)

    def test_other_primary_figures_unless_the_policy_names_one(self):
        candidate, champion, compared = _pair(0.7, 0.8)
        candidate = replace(candidate, primary="cpm")
        assert self._refused(candidate, champion, compared) == (
            "cells/2 is to be judged by cpm and cells/1 by f1: name one of them in the policy (primary.metric)"
        )
        named = Policy.model_validate({"primary": {"margin": 1.0, "metric": "f1"}, "classes": None})
        assert decide(candidate, champion, compared, named).promoted

    def test_intervals_of_other_confidence(self):
        candidate, champion, compared = _pair(0.7, 0.8)
        assert "of 90% and those of cells/1 of 95%" in self._refused(
            replace(candidate, confidence=0.9), champion, compared
        )

    def test_comparison_of_other_cases(self):
        candidate, champion, compared = _pair(0.7, 0.8)
        assert "test set u" in self._refused(candidate, champion, replace(compared, test_set="u"))

    def test_comparison_the_wrong_way_round(self):
        candidate, champion, compared = _pair(0.7, 0.8)
        reason = self._refused(candidate, champion, replace(compared, version_a="cells/2", version_b="cells/1"))
        assert reason == "the comparison is of cells/1 with cells/2 and not of cells/2 with cells/1"

    def test_no_comparison(self):
        candidate, champion, _ = _pair(0.7, 0.8)
        assert self._refused(candidate, champion, None) == "cells/2 was not compared with cells/1"

    @pytest.mark.parametrize("alone", [True, False])
    def test_test_set_that_was_trained_on(self, alone):
        candidate, champion, compared = _pair(0.7, 0.8)
        candidate = replace(candidate, counts={"cases": 9, "left_out_as_trained_on": 3})
        given = (candidate, None, None) if alone else (candidate, champion, compared)
        assert self._refused(*given) == "3 cases of the test set are of patients that cells/2 was trained on"
