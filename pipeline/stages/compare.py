"""Two versions on the same cases."""

import hashlib

from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.errors import DatasetError
from pipeline.evaluation import Comparison, Evaluation, compare, paired_cases
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.experiment import data_of
from pipeline.stages.scoring import own_evaluation, score_version
from pipeline.tracking.registry import VersionRecord, resolve
from pipeline.tracking.run import TrackedRun, tracked_run


def compare_versions(a: str, b: str, settings: Settings, progress: Progress | None = None) -> Comparison:
    """Version B against version A, paired by patient.

    Where both were evaluated on the same test cases, those evaluations are compared. Otherwise both are scored on
    B's test cases, less those of patients that shaped A. The comparison is kept as a tracked run, with its tables:
    ``tables/figures`` (a row a metric), ``tables/strata`` (a row a stratum) and ``tables/cases`` (a row a case), each
    as ``.json``, which MLflow shows, and as ``.csv``; and ``strata.json``, every figure of every stratum of both.

    Raises:
        ModelError: there is no such version.
        DatasetError: no case is left on which both can be judged.
    """
    first, second = resolve(settings, a), resolve(settings, b)
    one, other = evaluations_on_common_cases(first, second, settings, progress)
    config = Bundle.load(second.bundle_folder).config
    comparison = compare(one, other, config.evaluation.bootstrap_rounds, config.seed)
    _log(comparison, one, other, (first, second), settings)
    return comparison


def evaluations_on_common_cases(
    first: VersionRecord, second: VersionRecord, settings: Settings, progress: Progress | None = None
) -> tuple[Evaluation, Evaluation]:
    """Evaluations of both versions that have the same test set and match rule."""
    one, other = own_evaluation(first, settings), own_evaluation(second, settings)
    if (one.test_set, one.match_rule) == (other.test_set, other.match_rule):
        return one, other
    a, b = Bundle.load(first.bundle_folder), Bundle.load(second.bundle_folder)
    cases = _fair_to_both(first, a, second, b, settings)
    config = b.config.evaluation
    return (
        score_version(first, a, cases, config, settings, progress),
        score_version(second, b, cases, config, settings, progress),
    )


def _fair_to_both(first: VersionRecord, a: Bundle, second: VersionRecord, b: Bundle, settings: Settings) -> list[Case]:
    if a.config.data.dims != b.config.data.dims:
        raise DatasetError(
            f"{first.spec} detects in {a.config.data.dims}D and {second.spec} in {b.config.data.dims}D: "
            "they cannot be judged on the same cases"
        )
    seen = a.seen.joined(b.seen)
    cases = [case for case in data_of(second, b.config, settings).split.test if not seen.holds(case)]
    if not cases:
        raise DatasetError(
            f"no test case of {second.spec} is left on which {first.spec} was not trained: evaluate both with "
            "--data on scans that neither has seen"
        )
    return cases


def _log(
    comparison: Comparison,
    a: Evaluation,
    b: Evaluation,
    records: tuple[VersionRecord, VersionRecord],
    settings: Settings,
) -> None:
    first, second = records
    parts = ["compare", first.spec, first.run_id, second.spec, second.run_id, comparison.test_set, *_asked(comparison)]
    key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
    tags = {"cellscan.kind": "compare", "cellscan.model_a": first.spec, "cellscan.model_b": second.spec}
    with tracked_run(settings, second.name, key, tags, name=f"compare {first.spec} {second.spec}") as run:
        if not run.finished:
            run.log_comparison(comparison)
            _log_tables(run, comparison, a, b)


def _asked(comparison: Comparison) -> list[str]:
    """Compared by other strata is another comparison; one from before there were strata is made again."""
    return [f"{variable}: {level}" for variable, levels in comparison.strata.items() for level in levels]


def _log_tables(run: TrackedRun, comparison: Comparison, a: Evaluation, b: Evaluation) -> None:
    tables = {"figures": comparison.figure_rows(), "strata": comparison.strata_rows(), "cases": paired_cases(a, b)}
    for name, rows in tables.items():
        run.log_table(f"tables/{name}.json", rows)
        run.log_text(f"tables/{name}.csv", rows.to_csv(index=False))
    run.log_json("strata.json", {each.version: each.summary()["strata"] for each in (a, b)})
