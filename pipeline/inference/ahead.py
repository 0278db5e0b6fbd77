"""Scans are read, decoded and prepared in threads, ahead of the network."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import torch

from pipeline.inference.detect import VolumeDetector
from pipeline.inference.job import Job, attempted
from pipeline.inference.preparing import Division
from pipeline.inference.room import Room, RoomClosed
from pipeline.inference.scan import Scan
from pipeline.volumes import Volume


@dataclass(frozen=True, eq=False)
class Arrived:
    """``scan``, or a part of one, is ready for the network, or why it is not; ``size`` is what it takes of the room
    until what it shows is kept."""

    job: Job
    size: int
    scan: Scan | Exception


class Ahead:
    """As far ahead as there is room.

    ``open`` are the jobs that were taken and not yet ended; whoever ends one takes it out.
    """

    def __init__(self, jobs: Iterator[Job], detector: VolumeDetector, room: Room, readers: int) -> None:
        self.open: set[Job] = set()
        self._detector, self._room = detector, room
        self._pieces = self._pieces_of(jobs)
        self._taking = threading.Lock()
        self._arrived: SimpleQueue[Arrived | BaseException | None] = SimpleQueue()
        # One thread each: their work would otherwise take processors from the network's.
        self._threads = ThreadPoolExecutor(readers, "reader", torch.set_num_threads, (1,))
        self._reading = readers
        for _ in range(readers):
            self._threads.submit(self._read)

    def next(self, patience: float | None) -> Arrived | None:
        """The next scan, or part of one; `None` after the last.

        Raises:
            queue.Empty: none came within ``patience`` seconds.
        """
        while self._reading:
            arrived = self._arrived.get(timeout=patience)
            if isinstance(arrived, BaseException):
                raise arrived
            if arrived is not None:
                return arrived
            self._reading -= 1
        return None

    def close(self) -> None:
        """Wait for what is being read; the room must be closed, or the jobs at their end."""
        self._threads.shutdown()

    def _read(self) -> None:
        try:
            while (piece := self._take()) is not None:
                scan = piece.scan if isinstance(piece.scan, Exception) else attempted(piece.scan)
                self._arrived.put(Arrived(piece.job, piece.size, scan))
        except RoomClosed:
            pass
        except BaseException as error:
            self._arrived.put(error)
        self._arrived.put(None)

    def _take(self) -> "_Piece | None":
        with self._taking:
            return next(self._pieces, None)

    def _pieces_of(self, jobs: Iterator[Job]) -> Iterator["_Piece"]:
        while True:
            self._room.await_opening()  # before the job: what waits for room is nobody else's meanwhile
            job = next(jobs, None)
            if job is None:
                return
            self.open.add(job)
            for piece in self._parts_of(job):
                if job not in self.open:  # another part of it failed
                    break
                self._room.enter(piece.size, job.alone)
                yield piece

    def _parts_of(self, job: Job) -> Iterator["_Piece"]:
        found = attempted(lambda: self._divided(job))
        if isinstance(found, Exception):
            yield _Piece(job, 0, found)
            return
        volume, division = found
        for part in division.parts:
            prepared = partial(self._detector.prepare_part, volume.array, division, part)
            yield _Piece(job, division.bytes_of(part), prepared)

    def _divided(self, job: Job) -> tuple[Volume, Division]:
        volume = job.volume()
        return volume, self._detector.divide(volume)


@dataclass(frozen=True, eq=False)
class _Piece:
    """A scan or a part of one that has its room: how it is prepared, or why it cannot be."""

    job: Job
    size: int
    scan: Callable[[], Scan] | Exception
