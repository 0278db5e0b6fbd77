"""Detect on what newly arrives, round after round, with whatever version an alias names at the time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from pipeline.errors import ConfigError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.settling import Clock, Settling
from pipeline.stages.detect import HandOut
from pipeline.stages.export import check_formats
from pipeline.stages.out_folder import check_out
from pipeline.stages.passing import MAY_PASS
from pipeline.stages.watch_round import Round, Watcher, WatchOptions
from pipeline.stages.watch_source import watched_source

_LONGEST_PAUSE_SECONDS = 3600.0
# Other errors of torch tell of a device that is gone for this process.
_MAY_PASS = (*MAY_PASS, torch.OutOfMemoryError)
Wait = Callable[[float], None]


@dataclass(frozen=True)
class Failure:
    """A round came to nothing; the next one is tried after ``seconds``."""

    error: str
    kind: str
    seconds: float


def watch(
    version: str,
    source: str,
    out: Path,
    settings: Settings,
    options: WatchOptions = WatchOptions(),
    progress: Progress | None = None,
    hand_out: HandOut | None = None,
    clock: Clock = time.monotonic,
    wait: Wait = time.sleep,
) -> Iterator[Round | Failure]:
    """Detect on what is there and on what arrives, until the caller stops asking for more.

    Before each round ``version`` is resolved anew. A round in which nothing came does nothing. Killed at any moment,
    and started again, it goes on where it was.

    Args:
        version: ``name@champion``, or a fixed version or starter.
        source: a folder, the address of a DICOMweb server, or ``catalog``: what other commands ingest.
        out: folder, as `pipeline.stages.watch_results` says; no other watch may use it.
        settings: where things are; ``runner`` says who detects.
        options: see there.
        progress: called within a round.
        hand_out: as for `detect_archive`.
        clock: gives seconds that only grow.
        wait: sleeps between rounds.

    Yields:
        Rounds in which something happened, and the first of failures that are the same. A failed round is tried again
        after pauses that grow to an hour.

    Raises:
        SourceError: there is nothing at ``source``.
        ConfigError: ``out`` is in use, or lies in the watched folder; there is no such format.
        CellscanError: with ``once``, the failure of the round.
    """
    check_formats(options.formats)
    watched = watched_source(source, options.where, settings, Settling(options.settle, clock))
    out = out.expanduser().resolve()
    if watched.root is not None:
        check_out(out, watched.root, settings.home)
    with _alone_in(out):
        watcher = Watcher(version, watched, out, settings, options, hand_out, clock)
        yield from _rounds(watcher, options, progress, wait)


def _rounds(
    watcher: Watcher, options: WatchOptions, progress: Progress | None, wait: Wait
) -> Iterator[Round | Failure]:
    told, pause, looks = "", options.every, 0
    while True:
        try:
            done = replace(watcher.round(progress), recovered=bool(told))
        except _MAY_PASS as error:
            if options.once:
                raise
            if str(error) != told:
                told, pause = str(error), options.every
                yield Failure(told, type(error).__name__, pause)
            wait(pause)
            pause = min(2 * pause, max(options.every, _LONGEST_PAUSE_SECONDS))
            continue
        told = ""
        if done.is_news:
            yield done
        if done.left:
            continue
        looks += 1
        if options.once and (looks > 1 or not done.waiting):
            return
        wait(options.settle if done.waiting and (options.once or options.settle < options.every) else options.every)


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".watch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"another cellscan watch writes into {out}: name another folder, or stop that one") from error
    try:
        yield
    finally:
        lock.release()
