"""What a run shows on Prefect's pages: tables and pictures, by digests, without names of files or patients."""

import base64
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.best_effort import best_effort
from pipeline.progress import Progress, by_percent

if TYPE_CHECKING:
    from pipeline.evaluation import Comparison, Estimate, Evaluation
    from pipeline.sources.ingest import IngestSummary
    from pipeline.stages.detect import DetectSummary
    from pipeline.stages.train_group import TrainedGroup
    from pipeline.stages.transfer_curve import TransferCurve
    from pipeline.stages.watch_round import Round

# After a server did not take a progress: asked in vain, Prefect's client tries for many seconds, and the work waits.
_SILENT_SECONDS = 300.0


def show_ingest(summary: "IngestSummary") -> None:
    """How many files ended how, and why those in quarantine did."""
    _table([summary.counts()], key="ingest", description="Files by outcome")
    reasons = Counter(file.reason for file in summary.files if file.outcome == "quarantined")
    rows = [{"reason": reason, "files": files} for reason, files in reasons.most_common()]
    if rows:
        _table(rows, key="quarantine", description="Why files are in quarantine")


def show_evaluation(evaluation: "Evaluation", picture: bytes) -> None:
    """Figures with intervals, and their curve."""
    name = _key("evaluation", evaluation.version)
    _table(_rows(evaluation.metrics), key=name, description=f"{evaluation.version}, with intervals")
    _picture(f"{name}-figures", picture, f"{evaluation.version} on its test cases")


def show_group(group: "TrainedGroup") -> None:
    """The figures of all folds and seeds together."""
    what = f"{', '.join(group.versions)}: together, with intervals"
    _table(_rows(group.metrics), key=_key("group", group.name), description=what)


def show_curve(found: "TransferCurve") -> None:
    """Both ways at each share of the data, and their picture."""
    name = _key("transfer-curve", found.name)
    rows = [
        {"share": _number(point.share), "way": way, "value": _number(f.value), "lower": _number(f.lower)}
        | {"upper": _number(f.upper)}
        for way, points in found.curve.curves.items()
        for point in points
        for f in (point.figure,)
    ]
    needed = f"{found.curve.needed_data} of the data, {found.curve.needed_steps} of the steps"
    _table(rows, key=name, description=f"{found.name}, transferred from {found.source}: {needed}")
    _picture(f"{name}-picture", found.picture, f"{found.name} from scratch and transferred")


def show_comparison(comparison: "Comparison") -> None:
    """Differences with intervals."""
    rows = [
        {**row, "p": _number(comparison.p_values.get(str(row["figure"]), float("nan")))}
        for row in _rows(comparison.differences)
    ]
    key = _key("comparison", f"{comparison.version_a}-{comparison.version_b}")
    what = f"{comparison.version_b} less {comparison.version_a}, paired over {comparison.patients} patients"
    _table(rows, key=key, description=what)


@contextmanager
def showing_progress(version: str, also: Progress | None) -> Iterator[Progress]:
    """A progress for detection: a bar on the run's page, with pace and time left; ``also`` hears of it."""
    # Its type also allows for callers with an event loop, which flows of this project are not.
    key, silent_until = _key("detecting", version), 0.0
    shown = best_effort(lambda: cast(UUID, create_progress_artifact(0.0, key=key, description=version)))

    def show(percent: int, what: str) -> None:
        nonlocal silent_until
        if shown is None or time.monotonic() < silent_until:
            return
        text = f"{version}: {what}"
        if best_effort(lambda: update_progress_artifact(shown, float(percent), description=text) or True) is None:
            silent_until = time.monotonic() + _SILENT_SECONDS

    by_artifact = by_percent(show)

    def progress(done: int, total: int, what: str) -> None:
        by_artifact(done, total, what)
        if also:
            also(done, total, what)

    yield progress


def show_detections(summary: "DetectSummary") -> None:
    """Detections of each scan, and the scan with most of them."""
    rows = [{"scan": scan["name"], "detections": scan["detections"]} for scan in summary.scans]
    key = _key("detections", summary.model)
    _table(rows, key=key, description=f"{summary.model}: {summary.detections} detections")
    picture = summary.fullest_overlay()
    if picture is not None:
        _picture(f"{key}-overlay", picture.read_bytes(), "The scan with most detections")


def show_rounds(version: str, told: "Sequence[Round]") -> None:
    """What each round of a watch did, by version; nothing where nothing had come."""
    rows = [_round_row(one) for one in told]
    if rows:
        _table(rows, key=_key("watch", version), description=f"{version}: what newly arrived")


def _round_row(done: "Round") -> dict[str, object]:
    return {
        "version": done.model,
        "scans": len(done.scans),
        "detections": done.detections,
        "done again": done.done_again,
        "done before": done.done_before,
        "withdrawn": done.withdrawn,
        "quarantined": len(done.quarantined),
        "not done yet": len(done.unfinished),
    }


def show_report(path: Path) -> None:
    """Where the report is."""
    text = f"The report is `{path.name}` in the folder of reports."
    best_effort(lambda: create_markdown_artifact(text, key="report"))


def _table(rows: Sequence[Mapping[str, object]], key: str, description: str) -> None:
    best_effort(lambda: create_table_artifact([dict(row) for row in rows], key=key, description=description))


def _picture(key: str, png: bytes, description: str) -> None:
    # The page asks nobody else for it: the picture travels in its address.
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    best_effort(lambda: create_image_artifact(image_url=address, key=key, description=description))


def _rows(figures: "Mapping[str, Estimate]") -> list[dict[str, object]]:
    return [
        {"figure": name, "value": _number(f.value), "lower": _number(f.lower), "upper": _number(f.upper)}
        for name, f in figures.items()
    ]


def _number(value: float) -> str:
    """A figure that does not exist is a dash; JSON has no NaN."""
    return f"{value:.3f}" if value == value else "–"


def _key(kind: str, name: str) -> str:
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
