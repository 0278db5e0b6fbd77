"""The data of an experiment: found, taken in, and divided; and found again exactly as a version had it."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.split import CaseSplit, split_cases
from pipeline.errors import DatasetError, SourceError, TrackingError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.walk import archive_root
from pipeline.stages.ingest import ingest_archive
from pipeline.tracking.registry import VersionRecord
from pipeline.tracking.run import run_folder
from pipeline.volumes import Volume

DATASETS, VOLUMES, SPLIT = "datasets", "volumes.json", "split.json"


@dataclass(frozen=True, eq=False)
class ExperimentData:
    volumes: tuple[Volume, ...]
    split: CaseSplit


def experiment_source(config: ExperimentConfig, settings: Settings) -> Path:
    """The folder of ``data.source``: absolute, or below the data folder, wherever the command is given.

    Raises:
        SourceError: it is not there.
    """
    root = named_source(config, settings)
    if not root.exists():
        raise SourceError(f"no data at {root} (data.source is {config.data.source!r}); CELLSCAN_DATA sets the folder")
    return root


def named_source(config: ExperimentConfig, settings: Settings) -> Path:
    """As `experiment_source`, also where the folder is gone."""
    return (settings.data / Path(config.data.source).expanduser()).resolve()


def experiment_data(config: ExperimentConfig, settings: Settings, progress: Progress | None = None) -> ExperimentData:
    """Ingest what is new in ``config.data.source`` and divide all of it.

    Raises:
        SourceError: the folder is not there.
        DatasetError: too little or unsuitable data.
    """
    root = experiment_source(config, settings)
    ingest_archive(root, settings, progress)
    volumes = volumes_below(root, settings)
    split = split_cases(config.data, volumes, config.seed, config.training_seed, config.uses_masks)
    check_masks(config, split)
    check_objects(split)
    return ExperimentData(tuple(volumes), split)


def check_masks(config: ExperimentConfig, split: CaseSplit) -> None:
    """Before the training, not hours later when the first case without them is judged."""
    if config.evaluation.match.kind != "mask_overlap":
        return
    for side, cases in split.sides().items():
        without = [case.case_id for case in cases if len(case.annotations) and case.volume.label_map_path is None]
        if without:
            raise DatasetError(
                f"match rule mask_overlap judges by masks, and {len(without)} of {len(cases)} {side} cases, such as "
                f"{without[0]}, are annotated with boxes or points only: use another rule (evaluation.match), or give "
                "label maps or polygons"
            )


def check_objects(split: CaseSplit) -> None:
    """The same: without an object in training nothing is learnt, without one in validation nothing is chosen."""
    counts = split.summary()
    for side in ("train", "validation"):
        if not counts[side]["objects"]:
            raise DatasetError(
                f"none of the {counts[side]['cases']} {side} cases has an object that counts: annotate some, or "
                "change data.split, data.share or data.classes"
            )


def volumes_below(root: Path, settings: Settings) -> list[Volume]:
    """The catalog's volumes that came from files below a folder."""
    return _from_catalog(settings, root=archive_root(root))


def data_of(record: VersionRecord, config: ExperimentConfig, settings: Settings) -> ExperimentData:
    """The volumes that a version was made from, divided as they were then, whatever was ingested since.

    Raises:
        DatasetError: volumes or annotations have changed since.
        TrackingError: the run does not say any more what they were.
    """
    volume_ids, digest = _kept_of(record, settings)
    try:
        volumes = _from_catalog(settings, ids=volume_ids)
    except SourceError as error:
        raise DatasetError(
            f"the data of {record.spec} are no longer in the store of {settings.home}: {error}; "
            f"ingest {config.data.source} again"
        ) from error
    split = split_cases(config.data, volumes, config.seed, config.training_seed, config.uses_masks)
    if split.digest != digest:
        raise DatasetError(
            f"the annotations that {record.spec} was made from have changed (digest {split.digest} instead of "
            f"{digest}): evaluate it with --data, or train again"
        )
    return ExperimentData(tuple(volumes), split)


def _kept_of(record: VersionRecord, settings: Settings) -> tuple[list[str], str]:
    """The volume ids of a version's data, and the digest of their split."""
    instead = "evaluate it with --data, or train again"
    try:
        path = run_folder(settings, record.run_id, DATASETS) / VOLUMES
        kept = json.loads(path.read_text(encoding="utf-8"))
        return list(kept["volume_ids"]), str(kept["digest"])
    except TrackingError as error:
        told = f"nothing says any more what {record.spec} was made from: {error}; {instead}"
        raise TrackingError(told) from (error.__cause__ or error)
    except (OSError, ValueError, LookupError, TypeError) as error:
        told = f"what {record.spec} was made from is damaged in run {record.run_id} ({type(error).__name__}: {VOLUMES})"
        raise TrackingError(f"{told}; {instead}") from error


def volumes_record(data: ExperimentData) -> dict[str, object]:
    """What `data_of` needs to find the data again."""
    return {"volume_ids": [volume.volume_id for volume in data.volumes], "digest": data.split.digest}


def case_rows(cases: Sequence[Case]) -> pd.DataFrame:
    """One row a case, by digests: nothing here leads to a patient or a path."""
    rows = [
        {
            "case_id": case.case_id,
            "volume_id": case.volume.volume_id,
            "patient_key": case.patient_key,
            "modality": case.volume.modality,
            "shape": "x".join(str(n) for n in case.grid.shape),
            "objects": int((~case.annotations.ignore).sum()),
        }
        for case in cases
    ]
    return pd.DataFrame(rows)


def cases_digest(cases: Iterable[Case], masks: bool = False) -> str:
    """16 hex digits over cases and annotations, in any order; ``masks``: over their label maps too."""
    text = hashlib.sha256()
    for case in sorted(cases, key=lambda case: case.case_id):
        marks = case.annotations
        text.update(f"{case.case_id}:{marks.labels}:{marks.ignore.tolist()}".encode())
        text.update(marks.boxes.lower.tobytes() + marks.boxes.upper.tobytes())
        if masks and case.volume.label_map is not None:
            text.update(case.volume.label_map.content.encode())
    return text.hexdigest()[:16]


def _from_catalog(settings: Settings, root: Path | None = None, ids: Sequence[str] | None = None) -> list[Volume]:
    catalog = Catalog.of(settings)
    try:
        return catalog.volumes(root, ids)
    finally:
        catalog.close()
