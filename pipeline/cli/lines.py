"""Records of the stages → the lines that a user reads."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.evaluation.records import Comparison, Estimate, Evaluation
    from pipeline.sample.archive import SampleSummary
    from pipeline.sources.ingest import IngestSummary
    from pipeline.stages.detect import DetectSummary
    from pipeline.stages.train import TrainedVersion

_COUNT_ORDER = ("ingested", "ignored", "quarantined")


def sample_line(summary: "SampleSummary") -> str:
    held = (
        f"{summary.ct_series} CT series, {summary.mr_volumes} MR volumes, {summary.he_fields} H&E and "
        f"{summary.fluorescence_fields} fluorescence fields, {len(summary.faulty)} faulty on purpose"
    )
    return f"sample archive {'was already in' if summary.reused else 'written to'} {summary.root}: {held}"


def ingest_lines(summary: "IngestSummary") -> list[str]:
    """Counts, then each reason for quarantine with its files."""
    counts = summary.counts()
    told = ", ".join(f"{counts.get(outcome, 0)} {outcome}" for outcome in _COUNT_ORDER)
    lines = [f"{summary.root}: {len(summary.files)} files: {told}; {len(summary.volume_ids)} scans"]
    if summary.unchanged:
        lines.append(f"  {summary.unchanged} files had not changed and were not read again")
    lines += [f"  not fetched: {count} instances: {reason}" for reason, count in summary.unfetched.items()]
    lines += [
        f"  not de-identified, so left out: {count} files: {reason}" for reason, count in summary.withheld.items()
    ]
    quarantined = [(file.reason, file.path) for file in summary.files if file.outcome == "quarantined"]
    return [*lines, *reason_lines("quarantined", quarantined)]


def reason_lines(outcome: str, reasons_and_paths: Iterable[tuple[str, str]]) -> list[str]:
    """One line a reason: the first file of it, and how many more."""
    paths_by_reason: dict[str, list[str]] = {}
    for reason, path in reasons_and_paths:
        paths_by_reason.setdefault(reason, []).append(path)
    return [
        f"  {outcome}: {paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {reason}"
        for reason, paths in paths_by_reason.items()
    ]


def trained_line(trained: "TrainedVersion") -> str:
    if trained.reused:
        return f"{trained.name}/{trained.version} was trained before, nothing was done again"
    return f"{trained.name}/{trained.version} trained in {trained.seconds:.0f} s"


def evaluation_lines(evaluation: "Evaluation") -> list[str]:
    """The primary figure first, then the others, each with its interval."""
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in evaluation.counts.items() if count)
    lines = [f"{evaluation.version} on {counts}; figures with {evaluation.confidence:.0%} intervals:"]
    names = sorted(evaluation.metrics, key=lambda name: name != evaluation.primary)
    width = max((len(name) for name in names), default=0)
    return [*lines, *(f"  {name:{width}}  {evaluation.metrics[name]}" for name in names)]


def comparison_lines(comparison: "Comparison") -> list[str]:
    """Both values and the difference B − A of each figure, the primary first; then the primary in each stratum."""
    names = sorted(comparison.differences, key=lambda name: name != comparison.primary)
    width = max((len(name) for name in names), default=0)
    head = f"{comparison.version_b} against {comparison.version_a}, paired over {comparison.patients} patients"
    lines = [head]
    for name in names:
        a, b = comparison.values_a[name], comparison.values_b[name]
        if math.isnan(comparison.differences[name].value):
            lines.append(f"  {name:{width}}  no difference exists")
            continue
        p = f"  p = {comparison.p_values[name]:.3f}" if name in comparison.p_values else ""
        shown = _detectable(comparison.detectable.get(name, math.nan))
        difference = _signed(comparison.differences[name])
        lines.append(f"  {name:{width}}  {a:.3f} -> {b:.3f}  difference {difference}{p}{shown}")
    if comparison.detectable:
        lines.append("  detectable: the smallest true difference that this test set shows with 80% power")
    return [*lines, *strata_lines(comparison)]


def strata_lines(comparison: "Comparison") -> list[str]:
    """One line a stratum; none where there is no stratum."""
    strata = [(f"{name} {level}", one) for name, levels in comparison.strata.items() for level, one in levels.items()]
    if not strata:
        return []
    tests = sum(not math.isnan(one.p) for _, one in strata)
    width, wide = max(len(name) for name, _ in strata), max(len(one.metric) for _, one in strata)
    lines = [f"  by stratum, p adjusted for {tests} of them (Holm):"]
    for name, one in strata:
        held = f"{number(one.patients, 'patient')}, {number(one.objects, 'object')}"
        if math.isnan(one.difference.value):
            lines.append(f"    {name:{width}}  {one.metric:{wide}}  no difference exists  ({held})")
            continue
        lines.append(
            f"    {name:{width}}  {one.metric:{wide}}  {one.value_a:.3f} -> {one.value_b:.3f}"
            f"  difference {_signed(one.difference)}"
            f"  p = {one.p:.3f}, adjusted {one.p_adjusted:.3f}{_detectable(one.detectable)}  ({held})"
        )
    return lines


def paired_lines(a: "Evaluation", b: "Evaluation", comparison: "Comparison") -> list[str]:
    """A table of two versions on the same cases: each figure of both with its interval, and their difference."""
    cells = [("", a.version, b.version, "difference", "p")]
    for name in sorted(comparison.differences, key=lambda name: name != comparison.primary):
        p = f"{comparison.p_values[name]:.3f}" if name in comparison.p_values else ""
        cells.append((name, str(a.metrics[name]), str(b.metrics[name]), _signed(comparison.differences[name]), p))
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells]
    head = f"{_counted(b)}; {comparison.patients} patients; {b.confidence:.0%} intervals"
    return [head, *(f"  {line.rstrip()}" for line in lines)]


def _counted(evaluation: "Evaluation") -> str:
    counts = evaluation.counts
    return f"{counts.get('cases', 0)} test cases with {counts.get('objects', 0)} objects"


def number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _detectable(smallest: float) -> str:
    return "" if math.isnan(smallest) else f"  detectable {smallest:.3f}"


def _signed(estimate: "Estimate") -> str:
    if math.isnan(estimate.value):
        return str(estimate)
    if math.isnan(estimate.lower):
        return f"{estimate.value:+.3f} (no interval)"
    return f"{estimate.value:+.3f} [{estimate.lower:+.3f}, {estimate.upper:+.3f}]"


def detect_lines(summary: "DetectSummary") -> list[str]:
    """Counts, then each reason for which a file or scan was left out."""
    head = (
        f"{summary.model}: {summary.detections} detections with a score of at least {summary.threshold:.2f} in "
        f"{len(summary.scans)} scans ({summary.detected_now} now, {summary.done_before} before): {summary.out}"
    )
    skipped = [f"{summary.windows_skipped} of {summary.windows} windows were background, and skipped"]
    quarantined = reason_lines("quarantined", ((reason, name) for name, reason in summary.quarantined.items()))
    unsuited = reason_lines("not for this version", ((reason, name) for name, reason in summary.unsuited.items()))
    levels = reason_lines("other levels of slides", ((reason, name) for name, reason in summary.levels.items()))
    unfinished = reason_lines("not done yet", ((reason, name) for name, reason in summary.unfinished.items()))
    unwritten = reason_lines("not written", ((reason, name) for name, reason in summary.not_written.items()))
    return [
        head,
        *(skipped if summary.windows_skipped else []),
        *quarantined,
        *unsuited,
        *levels,
        *unfinished,
        *unwritten,
    ]
