"""Suppressing 3D boxes: `pipeline.inference.suppression.suppress` against MONAI's `non_max_suppression`.

    python benchmarks/suppression_speed.py

Boxes of edges 4 … 16 lie at random so densely that about three in ten are suppressed. Times are of the processor, on
one thread, each the best of its runs. The survivors must be identical, in the same order; then come counts that MONAI
would not finish, with the memory that they add.
"""

import resource
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from monai.data.box_utils import non_max_suppression

from pipeline.inference.suppression import suppress
from pipeline.types import Points, Scores

_COMPARED, _LARGER = 20_000, (100_000, 1_000_000)
_IOU = 0.3


def main() -> None:
    torch.set_num_threads(1)
    lower, upper, scores = random_boxes(_COMPARED)
    ours, kept = _best_of(5, lambda: suppress(lower, upper, scores, _IOU))
    boxes, numbers = torch.from_numpy(np.hstack([lower, upper])), torch.from_numpy(scores)
    theirs, peers = _best_of(1, lambda: np.asarray(non_max_suppression(boxes, numbers, _IOU)))
    if kept.tolist() != peers.tolist():
        raise SystemExit(f"survivors differ: {len(kept)} here, {len(peers)} by MONAI")
    print(f"{_COMPARED:,} boxes: {ours:.3f} s here, {theirs:.2f} s by MONAI, same {len(kept):,} survivors")
    for count in _LARGER:
        arrays, before = random_boxes(count), _peak_mib()
        seconds, kept = _best_of(1, partial(suppress, *arrays, _IOU))
        print(
            f"{count:,} boxes: {seconds:.2f} s, {seconds / count * 1e6:.1f} µs a box, {len(kept):,} survivors, "
            f"peak memory {_peak_mib() - before:.0f} MiB more"
        )
    print(f"suppression: {theirs / ours:.0f} times as fast as MONAI's (goal 50)")


def random_boxes(count: int) -> tuple[Points, Points, Scores]:
    """Lower and upper sides ``(count, 3)`` and scores; eight centres in every 10 x 10 x 10, however many there are."""
    rng = np.random.default_rng(0)
    centre = rng.uniform(0, 10 * (count / 8) ** (1 / 3), (count, 3))
    half = rng.uniform(2, 8, (count, 3))
    return centre - half, centre + half, rng.uniform(size=count)


def _best_of(runs: int, work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    times = []
    for _ in range(runs):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
