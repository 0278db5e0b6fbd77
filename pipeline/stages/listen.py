"""Scans that others push, as they come."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import CellscanError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.ingest import IngestSummary, ingest
from pipeline.sources.network.listener import Listener, ListenerOptions

_LOOK_SECONDS = 0.25


def received_folder(settings: Settings) -> Path:
    """Where pushed instances lie: an archive like any other."""
    return settings.home / "received"


def listen(
    settings: Settings,
    options: ListenerOptions,
    opened: Callable[[Listener], None] | None = None,
    progress: Progress | None = None,
    wanted: Callable[[], bool] = lambda: True,
    failed: Callable[[CellscanError], None] | None = None,
) -> Iterator[IngestSummary]:
    """Take pushed instances while ``wanted``, and ingest a study when it has been quiet.

    What arrived before and was not ingested, because a run was stopped or killed, is ingested first. What arrives
    while this ends is kept, and ingested by the next run.

    Args:
        settings: where things are.
        options: address, titles, and how long quiet is.
        opened: called when the port is open.
        progress: called while studies are read.
        wanted: asked again and again.
        failed: told why a study could not be ingested; it is tried again when it has been quiet once more.

    Yields:
        One summary for what was left over, where there was anything, then one a study.

    Raises:
        SourceError: the port cannot be opened.
    """
    folder = received_folder(settings)
    with Listener(folder, options) as listener:
        if opened is not None:
            opened(listener)
        left_over = ingest(folder, settings, progress)
        if left_over.unchanged < len(left_over.files):
            yield left_over
        while wanted():
            for study in listener.quiet_studies():
                try:
                    yield ingest(study, settings, progress)
                except CellscanError as error:  # a full disk, a busy catalog: what arrived is safe, and tried again
                    listener.postpone(study)
                    if failed is not None:
                        failed(error)
            time.sleep(_LOOK_SECONDS)
