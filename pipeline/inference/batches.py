"""Windows of any scans share a batch."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from weakref import WeakSet

from pipeline.detectors.detector import Candidates
from pipeline.inference.ahead import Arrived
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.job import attempted
from pipeline.inference.lanes import Lanes, Work
from pipeline.inference.scan import Scan

# Windows of more voxels are better seen one after the other by all processors: two of 128 x 128 x 80 side by side took
# a twentieth longer (2 cores), two of 96 x 96 x 64 less.
_ONE_LANE = 1 << 20


@dataclass(frozen=True, eq=False)
class Looked:
    """What the windows of a scan, or of a part, showed so far, by number; of them ``background`` were known without a
    look."""

    arrived: Arrived
    scan: Scan
    found: dict[int, Candidates] = field(default_factory=dict)
    background: int = 0

    @property
    def complete(self) -> bool:
        return len(self.found) == len(self.scan)


# What became of a scan, or of a part: all its windows, or why not.
Outcome = Looked | Exception
Seen = Callable[[Arrived, Outcome], None]


class Batches:
    """Windows wait until there are enough of one size; then the network sees them at once.

    A batch is always full, with a window repeated where some are missing: what a window shows is then the same to the
    byte, whichever others it is seen with.

    Args:
        detector: looks at them.
        size: windows in a batch.
        seen: told of each scan when its last window was seen, or when it failed; from any lane.
        lanes: where batches are seen.
    """

    def __init__(self, detector: VolumeDetector, size: int, seen: Seen, lanes: Lanes) -> None:
        self.windows = self.background = 0
        self._detector, self._size, self._seen, self._lanes = detector, size, seen, lanes
        self._gathering = threading.Lock()
        self._failed: WeakSet[Looked] = WeakSet()
        self._waiting: dict[tuple[int, ...], deque[tuple[Looked, int]]] = defaultdict(deque)

    @property
    def busy(self) -> bool:
        """Whether windows wait, or a lane is at them."""
        return self._lanes.busy or any(self._waiting.values())

    def add(self, arrived: Arrived, scan: Scan) -> None:
        """See as many as there are full batches."""
        known = attempted(lambda: self._detector.known(scan))
        if isinstance(known, Exception):
            self._seen(arrived, known)
            return
        looked = Looked(arrived, scan, known, len(known))
        self.windows, self.background = self.windows + len(scan), self.background + len(known)
        if not self._detector.settled:
            self._do(scan, lambda: self._seen(arrived, self._alone(looked)))
            self._lanes.wait()
            return
        if looked.complete:
            self._seen(arrived, looked)
        waiting = self._waiting[scan.plan.size]
        waiting.extend((looked, number) for number in scan.part.numbers if number not in looked.found)
        while len(waiting) >= self._size:
            self._see(waiting)

    def flush(self) -> None:
        """See all that wait; the lanes may be at them yet."""
        for waiting in self._waiting.values():
            while waiting:
                self._see(waiting)

    def _see(self, waiting: deque[tuple[Looked, int]]) -> None:
        batch = [waiting.popleft() for _ in range(min(self._size, len(waiting)))]
        (first, _), *_ = batch
        self._do(first.scan, lambda: self._look(batch))
        if first.arrived.job.alone:  # perhaps memory was short
            self._lanes.wait()

    def _do(self, scan: Scan, work: Work) -> None:
        """In a lane, or with all processors: the same for all windows of a size, for they round in different ways."""
        if prod(scan.plan.size) > _ONE_LANE:
            self._lanes.wait()
            work()
        else:
            self._lanes.do(work)

    def _look(self, batch: list[tuple[Looked, int]]) -> None:
        with self._gathering:
            batch = [one for one in batch if one[0] not in self._failed]
        if not batch:
            return
        found = attempted(lambda: self._detector.look([(looked.scan, number) for looked, number in batch], self._size))
        if isinstance(found, Exception):
            self._see_apart([looked for looked, _ in batch], found)
            return
        for (looked, number), shown in zip(batch, found, strict=True):
            with self._gathering:
                looked.found[number] = shown
                complete = looked.complete and looked not in self._failed
            if complete:
                self._seen(looked.arrived, looked)

    def _see_apart(self, scans: list[Looked], error: Exception) -> None:
        """Of a batch that failed: whose fault it was shows when each is seen alone."""
        with self._gathering:
            failed = [looked for looked in dict.fromkeys(scans) if looked not in self._failed]
            self._failed.update(failed)  # what else of theirs waits is not looked at
        for looked in failed:
            self._seen(looked.arrived, error if len(failed) == 1 else self._alone(looked))

    def _alone(self, looked: Looked) -> Outcome:
        return attempted(lambda: replace(looked, found=self._detector.found_in(looked.scan, self._size)))
