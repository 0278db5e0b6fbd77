"""The whole way: from an archive of scans to compared model versions and a report."""

from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.compare import compare, promote
from flows.detect import detect
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.parameters import Archive, Experiments
from flows.report import report
from flows.train import train
from pipeline.settings import Settings


@dataclass(frozen=True)
class Outcome:
    """``versions`` were trained, in order; ``champions`` hold the alias; ``results`` are folders of detections."""

    versions: tuple[str, ...]
    champions: tuple[str, ...]
    results: tuple[Path, ...]
    report: Path


@flow(name="scan_to_report")
def scan_to_report(
    experiments: Experiments, archive: Archive | None = None, out: Path | None = None, policy: Path | None = None
) -> Outcome:
    """Ingest the scans, train and evaluate a version of each experiment, promote those for which the policy holds
    against their champions, detect with the champions on the archive, compare the versions, and report.

    Args:
        experiments: what to train.
        archive: scans to detect on; by default the experiment's own.
        out: where detections go, a folder a model; by default in the home folder.
        policy: YAML file of what a champion must show; by default, not worse and no class lost.

    Raises:
        ConfigError: ``out`` lies among the scans.
        StoreError: ``out`` cannot be written.
    """
    from pipeline.stages.experiment import experiment_source
    from pipeline.stages.ingest import archive_place
    from pipeline.stages.out_folder import check_out, try_out
    from pipeline.stages.pairs import champions_in_order, pairs_to_compare, report_targets

    settings = Settings.from_environment()
    own = [(config.name, experiment_source(config, settings)) for config in (one.load() for one in experiments)]
    sources = {name: archive or str(source) for name, source in own}
    folder = out or settings.home / "results"
    for source in sources.values():
        check_out(folder, archive_place(source, settings), settings.home)
    try_out(folder)
    for source in dict.fromkeys([*sources.values(), *(str(source) for _, source in own)]):
        ingest(source)
    versions = [train(experiment) for experiment in experiments]
    for version in versions:
        evaluate(version)
    champions = champions_in_order([promote(version, policy=policy) for version in versions])
    results = [detect(champion, sources[name], folder / name) for name, champion in champions.items()]
    for a, b in pairs_to_compare(versions, champions):
        compare(a, b)
    written = report(report_targets(versions, champions))
    return Outcome(tuple(versions), tuple(champions.values()), tuple(results), written)
