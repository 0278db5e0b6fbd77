"""Whether a challenger may take the champion's place: a pure function of what was measured and what is asked for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.policy import ClassDemand, Demand, Policy, StratumDemand
from pipeline.evaluation.records import Comparison, Estimate, Evaluation, StratumDifference

LEFT_OUT = "left_out_as_trained_on"  # in Evaluation.counts: cases of patients that shaped the version
_CLASS = "class_f1_"
_WEIGHTED = "class_f1_weighted"
_ROUNDING = 1e-12  # 0.7 - 0.72 is less than -0.02 in its last bits


@dataclass(frozen=True)
class PolicyDecision:
    """``reasons``, in plain words: all that held where it was promoted, all that did not where it was not."""

    promoted: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Finding:
    holds: bool
    told: str


def decide(
    candidate: Evaluation, champion: Evaluation | None, comparison: Comparison | None, policy: Policy
) -> PolicyDecision:
    """Judge a challenger.

    Args:
        candidate: the challenger on a test set.
        champion: the champion on the same test set; ``None`` where there is no champion, and nothing to be worse than.
        comparison: candidate less champion; ``None`` where they could not be compared, which promotes nobody.
        policy: what is asked for.
    """
    unfit = tuple(_unfit(candidate, champion, comparison))
    if unfit:
        return PolicyDecision(False, unfit)
    if champion is None:
        return PolicyDecision(True, ("there is no champion to be worse than",))
    assert comparison is not None
    findings = list(_findings(candidate, champion, comparison, policy))
    refused = tuple(finding.told for finding in findings if not finding.holds)
    return PolicyDecision(not refused, refused or tuple(finding.told for finding in findings))


def _unfit(candidate: Evaluation, champion: Evaluation | None, comparison: Comparison | None) -> Iterator[str]:
    """Why the evaluations are no ground for any judgement."""
    for evaluation in (candidate, champion):
        known = evaluation.counts.get(LEFT_OUT, 0) if evaluation else 0
        if evaluation and known:
            yield f"{known} cases of the test set are of patients that {evaluation.version} was trained on"
    if champion is None:
        return
    if candidate.test_set != champion.test_set:
        yield (
            f"{candidate.version} was scored on test set {candidate.test_set} and {champion.version} on "
            f"{champion.test_set}: figures of different test sets do not compare"
        )
    elif candidate.match_rule != champion.match_rule:
        yield (
            f"{candidate.version} was scored by match rule {candidate.match_rule} and {champion.version} by "
            f"{champion.match_rule}"
        )
    elif comparison is None:
        yield f"{candidate.version} was not compared with {champion.version}"
    elif (comparison.version_a, comparison.version_b) != (champion.version, candidate.version):
        yield (
            f"the comparison is of {comparison.version_b} with {comparison.version_a} and not of {candidate.version} "
            f"with {champion.version}"
        )
    elif comparison.test_set != candidate.test_set:
        yield f"the comparison is of test set {comparison.test_set} and not of {candidate.test_set}"


def _findings(
    candidate: Evaluation, champion: Evaluation, comparison: Comparison, policy: Policy
) -> Iterator[_Finding]:
    yield _primary(comparison, policy)
    if comparison.patients < policy.min_patients:
        told = f"the test set has {comparison.patients} patients, and the policy asks for {policy.min_patients}"
        yield _Finding(False, told)
    for demand in policy.strata:
        yield from _strata(comparison, demand)
    if policy.classes is not None:
        yield from _classes(candidate, champion, comparison, policy.classes)


def _primary(comparison: Comparison, policy: Policy) -> _Finding:
    name, margin = comparison.primary, policy.primary.margin or 0.0
    if name not in comparison.differences:
        return _Finding(False, f"the comparison has no {name}")
    told = (
        f"{name} {comparison.values_b[name]:.3f} against {comparison.values_a[name]:.3f} of {comparison.version_a} "
        f"({_difference(comparison.differences[name])}, {comparison.patients} patients, margin {margin:g})"
    )
    return _judged(told, comparison.differences[name], policy.primary, margin)


def _strata(comparison: Comparison, demand: StratumDemand) -> Iterator[_Finding]:
    there = comparison.strata.get(demand.variable, {})
    if not there:
        yield _Finding(False, f"the policy asks for {demand.variable}, by which the test set was not divided")
    for level in demand.levels or there:
        if level in there:
            yield _stratum(f"{demand.variable} {level}", there[level], demand)
        elif there:
            told = f"the policy asks for {demand.variable} {level}; the test set has {', '.join(there)}"
            yield _Finding(False, told)


def _stratum(place: str, found: StratumDifference, demand: StratumDemand) -> _Finding:
    if found.objects < demand.min_objects:
        told = f"{place} cannot be judged: {found.objects} objects, and the policy asks for {demand.min_objects}"
        return _Finding(demand.if_fewer == "leave_out", told)
    told = (
        f"{place}: {found.metric} {found.value_b:.3f} against {found.value_a:.3f} "
        f"({_difference(found.difference)}, {found.patients} patients, {found.objects} objects, "
        f"margin {demand.margin:g})"
    )
    return _judged(told, found.difference, demand, demand.margin)


def _judged(told: str, difference: Estimate, demand: Demand, margin: float) -> _Finding:
    """NaN passes no demand."""
    by_interval = demand.judged_by == "interval"
    value = difference.lower if by_interval else difference.value
    if math.isnan(value):
        return _Finding(False, f"{told}: the {'interval' if by_interval else 'difference'} does not exist")
    if demand.rule == "better":
        holds, asked = value > margin + _ROUNDING, f"better by more than {margin:g}"
    else:
        holds, asked = value >= -margin - _ROUNDING, f"worse by no more than {margin:g}"
    what = "the lower end of the interval" if by_interval else "it"
    return _Finding(holds, told if holds else f"{told}: {what} would have to be {asked}")


def _classes(
    candidate: Evaluation, champion: Evaluation, comparison: Comparison, demand: ClassDemand
) -> Iterator[_Finding]:
    known, own = _class_names(champion), _class_names(candidate)
    for name in sorted(known - own):
        yield _Finding(False, f"{champion.version} finds class {name} and {candidate.version} does not know it")
    for name in sorted(known & own):
        figure = f"{_CLASS}{name}"
        before, after = champion.metrics[figure], candidate.metrics[figure]
        difference = comparison.differences.get(figure, _unpaired(before, after))
        lost = before.value > 0 and math.isnan(after.value)
        if lost or difference.value < -demand.margin - _ROUNDING:
            yield _drop(f"class {name} drops from {before.value:.3f} to {after.value:.3f}", difference, demand)


def _unpaired(before: Estimate, after: Estimate) -> Estimate:
    """Where classes differ, a comparison leaves class figures out: the widest interval that their own allow."""
    return Estimate(after.value - before.value, after.lower - before.upper, after.upper - before.lower)


def _drop(told: str, difference: Estimate, demand: ClassDemand) -> _Finding:
    told = f"{told} ({_difference(difference)}, margin {demand.margin:g})"
    by_chance = demand.unless_by_chance and difference.upper >= 0
    return _Finding(by_chance, f"{told}, which may be chance: the interval covers 0" if by_chance else told)


def _class_names(evaluation: Evaluation) -> set[str]:
    return {name.removeprefix(_CLASS) for name in evaluation.metrics if name.startswith(_CLASS) and name != _WEIGHTED}


def _difference(estimate: Estimate) -> str:
    return f"difference {estimate.value:+.3f} [{estimate.lower:+.3f}, {estimate.upper:+.3f}]"
