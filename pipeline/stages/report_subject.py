"""What a report was asked for: a version, two of them, or a run → the versions, their figures and their test cases."""

import csv
from dataclasses import dataclass, field

from pipeline.datasets.cases import Case
from pipeline.datasets.split import all_cases
from pipeline.detectors.bundle import Bundle
from pipeline.errors import CellscanError, DatasetError, TrackingError
from pipeline.evaluation import Comparison, Evaluation
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.stages.compare import compare_versions, evaluations_on_common_cases
from pipeline.stages.experiment import DATASETS, data_of
from pipeline.stages.scoring import kept_evaluation, own_evaluation
from pipeline.tracking import registry
from pipeline.tracking.registry import VersionRecord
from pipeline.tracking.run import run_folder
from pipeline.tracking.targets import RunTarget, run_id_of, target_of_run, version_of


@dataclass(frozen=True, eq=False)
class Subject:
    """``record`` is the version that the report is about, ``other`` the one that it was asked to be compared with.

    ``evaluations``: oldest first, that of ``record`` among them. ``comparisons``: with the other, or with the champion,
    or, of the champion itself, with the version before it. ``cases`` are those that the evaluation is of, without those
    whose patients shaped the other version. ``notes``: what could not be had, and why.
    """

    record: VersionRecord
    bundle: Bundle
    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...] = ()
    other: VersionRecord | None = None
    other_bundle: Bundle | None = None
    cases: tuple[Case, ...] = ()
    notes: list[str] = field(default_factory=list)


def subject_of(target: str, settings: Settings, progress: Progress | None = None) -> Subject:
    """Find everything that a report on ``target`` is about.

    Args:
        target: ``name/3``, ``name@champion``, ``name/2..name/3``, or the id of a run that trained, evaluated or
            compared versions.
        settings: where things are.
        progress: called where a version must be scored first.

    Raises:
        ModelError: there is no such version or run.
    """
    named = _named(target, settings)
    record = registry.resolve(settings, named.version)
    other = registry.resolve(settings, named.other) if named.other else None
    bundle = Bundle.load(record.bundle_folder)
    notes: list[str] = []
    return Subject(
        record=record,
        bundle=bundle,
        evaluations=_evaluations(record, other, named, settings, progress, notes),
        comparisons=_comparisons(record, other, named, settings, progress, notes),
        other=other,
        other_bundle=Bundle.load(other.bundle_folder) if other else None,
        cases=_cases(record, bundle, other, named, settings, notes),
        notes=notes,
    )


def _named(target: str, settings: Settings) -> RunTarget:
    run_id = run_id_of(target)
    if run_id is not None:
        return target_of_run(settings, run_id)
    first, separator, second = target.partition("..")
    return RunTarget(version_of(settings, second), version_of(settings, first)) if separator else RunTarget(first)


def _evaluations(
    record: VersionRecord,
    other: VersionRecord | None,
    named: RunTarget,
    settings: Settings,
    progress: Progress | None,
    notes: list[str],
) -> tuple[Evaluation, ...]:
    """Of a run its own; of two versions both, on cases that are fair to both; else of every version of the name."""
    if named.evaluation is not None:
        return (kept_evaluation(named.evaluation, record.spec, settings),)
    if other is not None:
        return evaluations_on_common_cases(other, record, settings, progress)
    if record.is_starter:  # which says that it has none of its own
        return (own_evaluation(record, settings),)
    numbers = registry.versions(settings, record.name)
    found = [_beside(record, number, settings, notes) for number in numbers]
    return tuple(evaluation for evaluation in found if evaluation is not None)


def _beside(record: VersionRecord, number: str, settings: Settings, notes: list[str]) -> Evaluation | None:
    """The evaluation of a version of the same name; without one, the report goes on without that version."""
    if number == record.version:
        return own_evaluation(record, settings)
    try:
        return own_evaluation(registry.resolve(settings, f"{record.name}/{number}"), settings)
    except CellscanError as error:
        notes.append(f"{record.name}/{number} is left out: {error}")
        return None


def _comparisons(
    record: VersionRecord,
    other: VersionRecord | None,
    named: RunTarget,
    settings: Settings,
    progress: Progress | None,
    notes: list[str],
) -> tuple[Comparison, ...]:
    if other is not None:
        return (compare_versions(other.spec, record.spec, settings, progress),)
    counterpart = None if named.evaluation else _counterpart(record, settings)
    if counterpart is None:
        return ()
    try:
        return (compare_versions(counterpart, record.spec, settings, progress),)
    except CellscanError as error:
        notes.append(f"{record.spec} is not compared with {counterpart}: {error}")
        return ()


def _counterpart(record: VersionRecord, settings: Settings) -> str | None:
    """Whom a single version is compared with: the champion, or the version before the champion."""
    champion = registry.champion(settings, record.name)
    if champion is not None and champion != record.version:
        return f"{record.name}/{champion}"
    earlier = [n for n in registry.versions(settings, record.name) if int(n) < int(record.version)]
    return f"{record.name}/{earlier[-1]}" if earlier else None


def _cases(
    record: VersionRecord,
    bundle: Bundle,
    other: VersionRecord | None,
    named: RunTarget,
    settings: Settings,
    notes: list[str],
) -> tuple[Case, ...]:
    try:
        if named.evaluation is not None:
            return _cases_of_run(named.evaluation, bundle, settings)
        cases = data_of(record, bundle.config, settings).split.test
    except (DatasetError, TrackingError) as error:
        notes.append(f"No pictures of {record.spec}: {error}")
        return ()
    if other is None:
        return tuple(cases)
    seen = Bundle.load(other.bundle_folder).seen
    return tuple(case for case in cases if not seen.holds(case))


def _cases_of_run(run_id: str, bundle: Bundle, settings: Settings) -> tuple[Case, ...]:
    """The cases of an evaluation on other data, made again from the store.

    Raises:
        DatasetError: not all of them are there any more.
    """
    with (run_folder(settings, run_id, DATASETS) / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = {row["case_id"] for row in rows}
    catalog = Catalog.of(settings)
    try:
        volumes = catalog.volumes(None, sorted({row["volume_id"] for row in rows}))
    except CellscanError as error:
        raise DatasetError(f"the scans of run {run_id} are not in the store any more: {error}") from error
    finally:
        catalog.close()
    cases = [case for case in all_cases(bundle.config.data, volumes, bundle.config.seed) if case.case_id in wanted]
    if len(cases) < len(wanted):
        raise DatasetError(f"{len(wanted) - len(cases)} of {len(wanted)} cases of run {run_id} have changed since")
    return tuple(cases)
