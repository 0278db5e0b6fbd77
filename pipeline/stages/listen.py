"""Scans that others push, as they come."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.ingest import IngestSummary, ingest
from pipeline.sources.network.listener import Listener, ListenerOptions
from pipeline.stages.passing import MAY_PASS

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
    failed: Callable[[Exception], None] | None = None,
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
        failed: told why a study, or what was left over, could not be ingested (a full disk, a busy catalog); it is
            tried again when it has been quiet once more, what was left over study by study.

    Yields:
        One summary for what was left over, where there was anything, then one a study.

    Raises:
        SourceError: the port cannot be opened.
    """
    folder = received_folder(settings)

    def ingested(of: Path) -> IngestSummary | None:
        try:
            return ingest(of, settings, progress)
        except MAY_PASS as error:  # what arrived is safe
            if failed is not None:
                failed(error)
            return None

    with Listener(folder, options) as listener:
        if opened is not None:
            opened(listener)
        left_over: set[Path] = set()
        if (summary := ingested(folder)) is None:
            left_over = {study for study in folder.iterdir() if study.is_dir()}
            for study in left_over:
                listener.postpone(study)
        elif _is_news(summary):
            yield summary
        while wanted():
            for study in listener.quiet_studies():
                if (summary := ingested(study)) is None:
                    listener.postpone(study)
                elif study not in left_over or _is_news(summary):
                    yield summary
            time.sleep(_LOOK_SECONDS)


def _is_news(summary: IngestSummary) -> bool:
    return summary.unchanged < len(summary.files)
