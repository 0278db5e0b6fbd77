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
class Earlier:
    """The best of the earlier champions on this test set, by its primary figure."""

    version: str
    value: float


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
    candidate: Evaluation,
    champion: Evaluation | None,
    comparison: Comparison | None,
    policy: Policy,
    earlier: Earlier | None = None,
) -> PolicyDecision:
    """Judge a challenger.

    Args:
        candidate: the challenger on a test set.
        champion: the champion on the same test set; ``None`` where there never was one, and nothing to be worse than:
            what finds nothing is not promoted for all that.
        comparison: candidate less champion; ``None`` where they could not be compared, which promotes nobody.
        policy: what is asked for.
        earlier: the best champion before the present one, by the policy's figure on this test set.
    """
    unfit = tuple(_unfit(candidate, champion, comparison, policy))
    if unfit:
        return PolicyDecision(False, unfit)
    if champion is None:
        return _first(candidate, policy)
    assert comparison is not None
    findings = [*_findings(candidate, champion, comparison, policy), *_earlier(comparison, policy, earlier)]
    refused = tuple(finding.told for finding in findings if not finding.holds)
    return PolicyDecision(not refused, refused or tuple(finding.told for finding in findings))


def _unfit(
    candidate: Evaluation, champion: Evaluation | None, comparison: Comparison | None, policy: Policy
) -> Iterator[str]:
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
    elif candidate.confidence != champion.confidence:
        yield (
            f"the intervals of {candidate.version} are of {candidate.confidence:.0%} and those of "
            f"{champion.version} of {champion.confidence:.0%}"
        )
    elif policy.primary.metric is None and candidate.primary != champion.primary:
        yield (
            f"{candidate.version} is to be judged by {candidate.primary} and {champion.version} by {champion.primary}: "
            "name one of them in the policy (primary.metric)"
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


def _first(candidate: Evaluation, policy: Policy) -> PolicyDecision:
    name, patients = policy.primary.metric or candidate.primary, candidate.counts["patients"]
    figure = candidate.metrics.get(name)
    told = f"there is no champion to be worse than, and {candidate.version} has {name} {figure or '–'}"
    if figure is None or not (math.isfinite(figure.value) and figure.value > 0):
        return PolicyDecision(False, (f"{told}: a first champion must have a figure above 0",))
    # Whoever has few patients has nothing better to detect with; no successor will be judged on them.
    few = f", of which the policy asks for {policy.min_patients}" if patients < policy.min_patients else ""
    return PolicyDecision(True, (f"{told} on {patients} patients{few}",))


def _findings(
    candidate: Evaluation, champion: Evaluation, comparison: Comparison, policy: Policy
) -> Iterator[_Finding]:
    yield _primary(comparison, policy, 1 - candidate.confidence)
    if comparison.patients < policy.min_patients:
        told = f"the test set has {comparison.patients} patients, and the policy asks for {policy.min_patients}"
        yield _Finding(False, told)
    for demand in policy.strata:
        yield from _strata(comparison, demand, 1 - candidate.confidence)
    if policy.classes is not None:
        yield from _classes(candidate, champion, comparison, policy.classes)


def _primary(comparison: Comparison, policy: Policy, alpha: float) -> _Finding:
    name, margin = policy.primary.metric or comparison.primary, policy.primary.margin
    if name not in comparison.differences:
        return _Finding(False, f"the comparison has no {name}")
    told = (
        f"{name} {comparison.values_b[name]:.3f} against {comparison.values_a[name]:.3f} of {comparison.version_a} "
        f"({_difference(comparison.differences[name])}, {comparison.patients} patients, margin {margin:g})"
    )
    p = comparison.p_values.get(name, math.nan)
    return _judged(told, comparison.differences[name], p, policy.primary, margin, alpha)


def _earlier(comparison: Comparison, policy: Policy, earlier: Earlier | None) -> Iterator[_Finding]:
    name, margin = policy.primary.metric or comparison.primary, policy.primary.margin
    if earlier is None or name not in comparison.values_b:
        return
    value = comparison.values_b[name]
    told = f"{name} {value:.3f} against {earlier.value:.3f} of {earlier.version}, the best earlier champion"
    yield _Finding(value >= earlier.value - margin - _ROUNDING, f"{told} (margin {margin:g})")


def _strata(comparison: Comparison, demand: StratumDemand, alpha: float) -> Iterator[_Finding]:
    there = comparison.strata.get(demand.variable, {})
    if not there:
        told = f"the policy asks for {demand.variable}, by which the test set was not divided"
        yield _Finding(demand.if_absent == "leave_out", told)
    for level in demand.levels or there:
        if level in there:
            yield _stratum(f"{demand.variable} {level}", there[level], demand, alpha)
        elif there:
            told = f"the policy asks for {demand.variable} {level}; the test set has {', '.join(there)}"
            yield _Finding(False, told)


def _stratum(place: str, found: StratumDifference, demand: StratumDemand, alpha: float) -> _Finding:
    few = _too_few(place, found.objects, found.patients, demand)
    if few is not None:
        return few
    told = (
        f"{place}: {found.metric} {found.value_b:.3f} against {found.value_a:.3f} "
        f"({_difference(found.difference)}, {found.patients} patients, {found.objects} objects, "
        f"margin {demand.margin:g})"
    )
    return _judged(told, found.difference, found.p, demand, demand.margin, alpha)


def _too_few(place: str, objects: int, patients: int, demand: StratumDemand | ClassDemand) -> _Finding | None:
    if objects >= demand.min_objects and patients >= demand.min_patients:
        return None
    told = (
        f"{place} cannot be judged: {objects} objects of {patients} patients, and the policy asks for "
        f"{demand.min_objects} of {demand.min_patients}"
    )
    return _Finding(demand.if_fewer == "leave_out", told)


def _judged(told: str, difference: Estimate, p: float, demand: Demand, margin: float, alpha: float) -> _Finding:
    """NaN passes no demand."""
    by_interval = demand.judged_by == "interval"
    value = difference.lower if by_interval else difference.value
    if math.isnan(value):
        return _Finding(False, f"{told}: the {'interval' if by_interval else 'difference'} does not exist")
    if demand.rule == "better":
        holds, asked = value > margin + _ROUNDING, f"better by more than {margin:g}"
        if holds and by_interval and not p <= alpha:
            return _Finding(False, f"{told}: p {p:.3f} would have to be at most {alpha:.2g}")
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
        held = candidate.strata_counts.get("class", {}).get(name)
        few = _too_few(f"class {name}", held["objects"], _holders(held), demand) if held else None
        if few is not None:
            yield few
        else:
            yield from _class(name, comparison, demand)


def _class(name: str, comparison: Comparison, demand: ClassDemand) -> Iterator[_Finding]:
    figure = f"{_CLASS}{name}"
    difference = comparison.differences.get(figure)
    if difference is None:
        yield _Finding(False, f"class {name} was not compared")
        return
    before, after = comparison.values_a[figure], comparison.values_b[figure]
    lost = before > 0 and math.isnan(after)
    if lost or difference.value < -demand.margin - _ROUNDING:
        told = (
            f"class {name} drops from {before:.3f} to {after:.3f} ({_difference(difference)}, margin {demand.margin:g})"
        )
        yield _drop(name, told, difference, comparison.detectable.get(figure, math.nan), demand)


def _holders(held: dict[str, int]) -> int:
    """Evaluations that were saved before it was counted say only how many patients contribute."""
    return held.get("patients_with_objects", held["patients"])


def _drop(name: str, told: str, difference: Estimate, detectable: float, demand: ClassDemand) -> _Finding:
    if name in demand.explained:
        return _Finding(True, f"{told}, explained in the policy: {demand.explained[name]}")
    if not demand.unless_by_chance or not difference.upper >= 0:
        return _Finding(False, told)
    if detectable <= demand.margin:
        return _Finding(True, f"{told}, which may be chance: the interval covers 0")
    shown = "no drop at all" if math.isnan(detectable) else f"only drops from {detectable:.3f}"
    return _Finding(
        False,
        f"{told}; it may be chance, but this test set is sure to show {shown}: explain it in the policy "
        f"(classes.explained) or use a larger test set",
    )


def _class_names(evaluation: Evaluation) -> set[str]:
    return {name.removeprefix(_CLASS) for name in evaluation.metrics if name.startswith(_CLASS) and name != _WEIGHTED}


def _difference(estimate: Estimate) -> str:
    if math.isnan(estimate.lower):
        return f"difference {estimate.value:+.3f}, no interval"
    return f"difference {estimate.value:+.3f} [{estimate.lower:+.3f}, {estimate.upper:+.3f}]"
