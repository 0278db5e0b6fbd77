"""Many scans through one network: read ahead, seen in shared batches, written behind."""

import os
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty

import torch

from pipeline.detectors.detector import Candidates
from pipeline.inference.ahead import Ahead, Arrived
from pipeline.inference.batches import Batches, Outcome
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.freed import give_back
from pipeline.inference.job import Job, Jobs, attempted
from pipeline.inference.lanes import Lanes
from pipeline.inference.room import Room
from pipeline.inference.running import engine_running

# Of scans on their way, with what preparing them takes; one scan (or part) alone may be larger.
_BYTES = 1 << 30
# A network that has waited so long for the next scan sees what waits for a full batch.
_PATIENCE_SECONDS = 0.2
# One processor prepares as fast as the others run the network; a GPU needs more.
_READERS_OF_A_GPU = 4
# On a CPU; see `Lanes`.
_LANES = 2
# After so many scans what their threads freed goes back to the system: archives mix sizes.
_TRIMMED = 64

# Told how many scans are ended, and how many those make together of which a part was seen.
Ended = Callable[[int, float], None]


@dataclass(frozen=True)
class Tally:
    """``scans`` that were ended, their ``windows``, and those of them that were ``background`` and not looked at."""

    scans: int = 0
    windows: int = 0
    background: int = 0


class Engine:
    """The network runs in the calling thread, or on a CPU in lanes; everything else in threads beside it.

    Args:
        detector: ready to detect.
        size: bytes that scans on their way may take.
        batch: windows that the network sees at once; by default ``inference.batch_size``, and one on a CPU: scans of
            many sizes would otherwise wait for others of theirs, and be filled up in vain.
    """

    def __init__(self, detector: VolumeDetector, size: int = _BYTES, batch: int | None = None) -> None:
        self._detector, self._size = detector, size
        on_cpu = detector.device.type == "cpu"
        self._batch = batch or (1 if on_cpu else detector.config.inference.batch_size)
        self._readers = 1 if on_cpu else min(_READERS_OF_A_GPU, os.cpu_count() or 1)
        # What is compiled has its number of threads written into it.
        self._in_lanes = on_cpu and self._batch == 1 and not detector.compiled

    def run(self, jobs: Jobs, progress: Ended) -> Tally:
        """End every job.

        Whatever is raised, a result that the network has given is kept, and jobs that were not ended are released.

        Args:
            jobs: asked for the next one when there is room for it, from other threads.
            progress: called from this thread.
        """
        with engine_running() as processors:
            return self._run(jobs, progress, processors)

    def _run(self, jobs: Jobs, progress: Ended, processors: int) -> Tally:
        count = _LANES if self._in_lanes and processors % _LANES == 0 else 1
        # Two full batches of small scans, one that is being written, and one that each reader is at.
        room = Room(2 * max(self._batch, count) + 1 + self._readers, self._size)
        ahead = Ahead(jobs(room.pause), self._detector, room, self._readers)
        behind = _Behind(self._detector, room, ahead.open)
        lanes = Lanes(count, processors, room.close)
        batches = Batches(self._detector, self._batch, behind.put, lanes)

        def tell() -> None:
            progress(behind.ended(), behind.partly)

        try:
            while (arrived := _next(ahead, batches, tell)) is not None:
                if isinstance(arrived.scan, Exception):
                    behind.put(arrived, arrived.scan)
                else:
                    batches.add(arrived, arrived.scan)
                tell()
            batches.flush()
            lanes.wait(tell)
        finally:
            room.close()
            ahead.close()
            lanes.close()
            behind.close()
            for job in ahead.open:
                job.release()
        tell()
        return Tally(behind.ended(), batches.windows, batches.background)


def _next(ahead: Ahead, batches: Batches, meanwhile: Callable[[], None]) -> Arrived | None:
    while True:
        try:
            return ahead.next(_PATIENCE_SECONDS if batches.busy else None)
        except Empty:
            batches.flush()
            meanwhile()


@dataclass(eq=False)
class _Gathered:
    """What the parts of a scan showed so far, as in `pipeline.inference.batches.Looked`; ``share`` of its windows."""

    found: dict[int, Candidates] = field(default_factory=dict)
    background: int = 0
    share: float = 0.0


class _Behind:
    """Ends jobs, one after the other, in a thread of its own.

    ``partly`` is how many scans those make together of which a part was seen: two halves make 1.
    """

    def __init__(self, detector: VolumeDetector, room: Room, still_open: set[Job]) -> None:
        self._detector, self._room, self._open = detector, room, still_open
        self._thread = ThreadPoolExecutor(1, "writer", torch.set_num_threads, (1,))
        self._pending: deque[Future[bool]] = deque()
        self._gathered: defaultdict[Job, _Gathered] = defaultdict(_Gathered)
        self._ended = self._closed = 0
        self.partly = 0.0

    def put(self, arrived: Arrived, outcome: Outcome) -> None:
        self._pending.append(self._thread.submit(self._take, arrived, outcome))

    def ended(self) -> int:
        """How many jobs so far; raises what ending one of them raised."""
        while self._pending and self._pending[0].done():
            self._ended += self._pending.popleft().result()
        return self._ended

    def close(self) -> None:
        """Wait until all are ended."""
        self._thread.shutdown()

    def _take(self, arrived: Arrived, outcome: Outcome) -> bool:
        """Whether that ended the job."""
        job, ended = arrived.job, False
        try:
            if job in self._open:  # else a part of it failed before
                ended = self._end(job, outcome)
        except BaseException:
            self._room.close()  # else readers would wait for what is never ended
            raise
        if ended:
            self._gathered.pop(job, None)
            self._open.discard(job)
            self._closed += 1
            if self._closed % _TRIMMED == 0:
                give_back()
        self.partly = sum(gathered.share for gathered in self._gathered.values())
        self._room.leave(arrived.size)
        return ended

    def _end(self, job: Job, outcome: Outcome) -> bool:
        kept = attempted(lambda: self._keep(job, outcome))
        if isinstance(kept, Exception):
            job.fail(kept)
            return True
        return kept

    def _keep(self, job: Job, outcome: Outcome) -> bool:
        if isinstance(outcome, Exception):
            raise outcome
        scan, found, background = outcome.scan, outcome.found, outcome.background
        if not scan.is_whole:
            gathered = self._gathered[job]
            gathered.found.update({number: one.to("cpu") for number, one in found.items()})
            gathered.background += background
            gathered.share = len(gathered.found) / len(scan.plan.starts)
            give_back()
            found, background = gathered.found, gathered.background
        windows = len(scan.plan.starts)
        if len(found) < windows:
            return False
        job.finish(self._detector.finish(scan, found), windows, background)
        return True
