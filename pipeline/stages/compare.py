"""Two versions on the same cases."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from pipeline.datasets.cases import Case
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle
from pipeline.errors import DatasetError, ModelError
from pipeline.evaluation import Comparison, Evaluation, compare, paired_cases
from pipeline.progress import Progress
from pipeline.reporting.forest import differences_png
from pipeline.settings import Settings
from pipeline.stages.experiment import data_of
from pipeline.stages.scoring import own_evaluation, score_version
from pipeline.tracking.registry import VersionRecord, resolve
from pipeline.tracking.run import TrackedRun, tracked_run
from pipeline.tracking.targets import version_of

Side = Literal["first", "second"]


@dataclass(frozen=True, eq=False)
class Compared:
    """Both versions on the same cases, and the second less the first."""

    first: Evaluation
    second: Evaluation
    comparison: Comparison


def compare_versions(a: str, b: str, settings: Settings, progress: Progress | None = None) -> Comparison:
    """Version B against version A, paired by patient; either may be named by the id of a run that made it.

    Where both were evaluated on the same test cases, those evaluations are compared. Otherwise both are scored on
    B's test cases, less those of patients that shaped A. The comparison is kept as a tracked run, with its tables:
    ``tables/figures`` (a row a metric), ``tables/strata`` (a row a stratum) and ``tables/cases`` (a row a case), each
    as ``.json``, which MLflow shows, and as ``.csv``; ``strata.json``, every figure of every stratum of both; and
    ``figures/differences.png``.

    Raises:
        ModelError: there is no such version.
        DatasetError: no case is left on which both can be judged.
    """
    first, second = (resolve(settings, version_of(settings, text)) for text in (a, b))
    return compare_records(first, second, settings, progress).comparison


def compare_records(
    first: VersionRecord,
    second: VersionRecord,
    settings: Settings,
    progress: Progress | None = None,
    terms_of: Side = "second",
) -> Compared:
    """As `compare_versions`; ``terms_of`` says whose test set, match rule, bootstrap rounds and seed count.

    Raises:
        DatasetError: as `compare_versions`.
    """
    one, other = evaluations_on_common_cases(first, second, settings, progress, terms_of)
    config = Bundle.load((first if terms_of == "first" else second).bundle_folder).config
    rounds, seed = config.evaluation.bootstrap_rounds, config.seed
    comparison = compare(one, other, rounds, seed)
    _log(comparison, one, other, (first, second), [f"{rounds} rounds", f"seed {seed}"], settings)
    return Compared(one, other, comparison)


def evaluations_on_common_cases(
    first: VersionRecord,
    second: VersionRecord,
    settings: Settings,
    progress: Progress | None = None,
    terms_of: Side = "second",
) -> tuple[Evaluation, Evaluation]:
    """Evaluations of both versions that have the same test set and match rule: their own, or those on one's terms.

    Raises:
        ModelError: a starter model was named whose terms count, and it brings no test set.
    """
    judge = first if terms_of == "first" else second
    if judge.is_starter:
        raise ModelError(f"{judge.spec} brings no test set on which both could be judged: name it first")
    if not first.is_starter and not second.is_starter:
        one, other = own_evaluation(first, settings), own_evaluation(second, settings)
        if on_same_terms(one, other):
            return one, other
    a, b = Bundle.load(first.bundle_folder), Bundle.load(second.bundle_folder)
    asking, asked = ((first, a), second.spec) if terms_of == "first" else ((second, b), first.spec)
    _check_dims(first, a, second, b)
    cases = _fair_to_both(*asking, asked, a.seen.joined(b.seen), settings)
    config = asking[1].config.evaluation
    return (
        score_version(first, a, cases, config, settings, progress),
        score_version(second, b, cases, config, settings, progress),
    )


def on_same_terms(one: Evaluation, other: Evaluation) -> bool:
    """Whether two evaluations are of the same cases and annotations, by the same match rule."""
    return (one.test_set, one.match_rule) == (other.test_set, other.match_rule)


def _check_dims(first: VersionRecord, a: Bundle, second: VersionRecord, b: Bundle) -> None:
    if a.config.data.dims != b.config.data.dims:
        raise DatasetError(
            f"{first.spec} detects in {a.config.data.dims}D and {second.spec} in {b.config.data.dims}D: "
            "they cannot be judged on the same cases"
        )


def _fair_to_both(record: VersionRecord, bundle: Bundle, other: str, seen: Seen, settings: Settings) -> list[Case]:
    cases = [case for case in data_of(record, bundle.config, settings).split.test if not seen.holds(case)]
    if not cases:
        raise DatasetError(
            f"no test case of {record.spec} is left on which {other} was not trained: evaluate both with "
            "--data on scans that neither has seen"
        )
    return cases


def _log(
    comparison: Comparison,
    a: Evaluation,
    b: Evaluation,
    records: tuple[VersionRecord, VersionRecord],
    drawn: list[str],
    settings: Settings,
) -> None:
    first, second = records
    named = [first.spec, first.run_id, second.spec, second.run_id, comparison.test_set]
    parts = ["compare", *named, *_asked(comparison), *drawn]
    key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
    tags = {"cellscan.kind": "compare", "cellscan.model_a": first.spec, "cellscan.model_b": second.spec}
    with tracked_run(settings, second.name, key, tags, name=f"compare {first.spec} {second.spec}") as run:
        if not run.finished:
            run.link_models([first.model_id, second.model_id])
            run.log_comparison(comparison)
            _log_tables(run, comparison, a, b)
            run.log_image("figures/differences.png", differences_png(comparison))
            run.describe(_told(comparison))


def _told(comparison: Comparison) -> str:
    name = comparison.primary
    p = comparison.p_values.get(name, float("nan"))
    return (
        f"{comparison.version_b} less {comparison.version_a}, paired over {comparison.patients} patients of test set "
        f"{comparison.test_set}: {name} {comparison.differences[name]} (p = {p:.3f}). "
        "Picture: figures/differences.png; tables/figures has every figure, tables/strata every part of the test set, "
        "tables/cases every case."
    )


def _asked(comparison: Comparison) -> list[str]:
    """Compared by other strata is another comparison; one from before there were strata is made again."""
    return [f"{variable}: {level}" for variable, levels in comparison.strata.items() for level in levels]


def _log_tables(run: TrackedRun, comparison: Comparison, a: Evaluation, b: Evaluation) -> None:
    tables = {"figures": comparison.figure_rows(), "strata": comparison.strata_rows(), "cases": paired_cases(a, b)}
    for name, rows in tables.items():
        run.log_table(f"tables/{name}.json", rows)
        run.log_text(f"tables/{name}.csv", rows.to_csv(index=False))
    run.log_json("strata.json", {each.version: each.summary()["strata"] for each in (a, b)})
