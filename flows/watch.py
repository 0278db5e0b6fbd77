"""What newly arrived, done by the present champion: one run of the flow is one look, and the schedule is the watch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from prefect import flow
from pydantic import Field

from flows.artifacts import show_rounds, showing_progress
from flows.detect import hand_out
from flows.parameters import Version
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.stages.detect import HandOut
    from pipeline.stages.watch_round import WatchOptions

Source = Annotated[
    str, Field(description="a folder of scans, https://… of a DICOMweb server, or catalog: what is ingested elsewhere")
]
Where = Annotated[
    dict[str, str] | None, Field(description="of a server, only studies that match: ModalitiesInStudy: CT")
]
Settle = Annotated[float, Field(ge=0, description="a file that has not changed for so many seconds is there whole")]
Formats = Annotated[list[str] | None, Field(description="written, too: coco, slicer, dicom-sr, dicom-seg, dicom-ann")]


def _look(version: Version, source: Source, out: Path, options: "WatchOptions", to: "HandOut | None" = None) -> None:
    from pipeline.stages.watch import watch as rounds
    from pipeline.stages.watch_round import Round

    with showing_progress(version, progress()) as shown:
        told = rounds(version, source, out, Settings.from_environment(), options, shown, to)
        show_rounds(version, [one for one in told if isinstance(one, Round)])


@tracked_stage("watch")
def _watch(version: Version, source: Source, out: Path, options: "WatchOptions") -> None:
    _look(version, source, out, options)


@flow(name="watch")
def watch(
    version: Version,
    source: Source,
    out: Path,
    where: Where = None,
    settle: Settle = 30.0,
    rerun: bool = False,
    formats: Formats = None,
) -> Path:
    """Detect on what has arrived whole since the last run, and end when nothing is left to do.

    Args:
        version: resolved anew in each run, so that a promotion takes effect with the next one.
        source: what is watched.
        out: a folder for each version goes there, and a table of which version did which scan.
        where: chooses studies of a server.
        settle: what changed is looked at again after so many seconds, and waits for the next run if it still changes.
        rerun: do with a new champion what an earlier version did.
        formats: beside tables, GeoJSON and overlays.

    Returns:
        The folder with the results.
    """
    from pipeline.stages.watch_round import WatchOptions

    options = WatchOptions(settle=settle, where=where or {}, rerun=rerun, formats=tuple(formats or ()), once=True)
    if Settings.from_environment().runner.kind == "processes":
        _watch(version, source, out, options)
    else:
        _look(version, source, out, options, hand_out)
    return out
