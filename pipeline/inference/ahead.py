"""Scans are read, decoded and prepared in threads, ahead of the network."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import torch

from pipeline.inference.detect import VolumeDetector
from pipeline.inference.job import Job, attempted
from pipeline.inference.room import Room, RoomClosed
from pipeline.inference.scan import Scan
from pipeline.volumes import Volume


@dataclass(frozen=True, eq=False)
class Arrived:
    """``scan`` is ready for the network, or why it is not; ``size`` is what it takes of the room until it is ended."""

    job: Job
    size: int
    scan: Scan | Exception


class Ahead:
    """As far ahead as there is room.

    ``open`` are the jobs that were taken and not yet ended; whoever ends one takes it out.
    """

    def __init__(self, jobs: Iterator[Job], detector: VolumeDetector, room: Room, readers: int) -> None:
        self.open: set[Job] = set()
        self._jobs, self._detector, self._room = jobs, detector, room
        self._taking = threading.Lock()
        self._arrived: SimpleQueue[Arrived | BaseException | None] = SimpleQueue()
        # One thread each: their work would otherwise take processors from the network's.
        self._threads = ThreadPoolExecutor(readers, "reader", torch.set_num_threads, (1,))
        self._reading = readers
        for _ in range(readers):
            self._threads.submit(self._read)

    def next(self, patience: float | None) -> Arrived | None:
        """The next scan; `None` after the last.

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
            while (taken := self._take()) is not None:
                self._arrived.put(self._prepared(*taken))
        except RoomClosed:
            pass
        except BaseException as error:
            self._arrived.put(error)
        self._arrived.put(None)

    def _take(self) -> tuple[Job, int, Volume | Exception] | None:
        # Room before the job: what waits for room is nobody else's meanwhile.
        with self._taking:
            self._room.await_opening()
            job = next(self._jobs, None)
            if job is None:
                return None
            self.open.add(job)
            volume = attempted(job.volume)
            size = volume if isinstance(volume, Exception) else attempted(lambda: self._detector.bytes_of(volume))
            taken = size if isinstance(size, int) else 0
            self._room.enter(taken, job.alone)
        return job, taken, size if isinstance(size, Exception) else volume

    def _prepared(self, job: Job, size: int, volume: Volume | Exception) -> Arrived:
        if isinstance(volume, Exception):
            return Arrived(job, size, volume)
        scan = attempted(lambda: self._detector.prepare(volume.array[...], volume.grid, volume.volume_id))
        return Arrived(job, size, scan)
