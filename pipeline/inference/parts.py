"""A picture too large to be prepared whole → parts, each a block of neighbouring windows with what they cover."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from pipeline.inference.windows import WindowPlan


@dataclass(frozen=True)
class Part:
    """``numbers`` of windows in their plan; they cover the voxels ``lower`` … ``upper`` (exclusive) of the padded
    image."""

    numbers: tuple[int, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]

    @property
    def voxels(self) -> int:
        return prod(high - low for low, high in zip(self.lower, self.upper, strict=True))

    @classmethod
    def whole(cls, plan: WindowPlan) -> "Part":
        return cls(tuple(range(len(plan.starts))), (0,) * len(plan.padded), plan.padded)


def parts_of(plan: WindowPlan, voxels: int) -> Iterator[Part]:
    """Blocks of windows, about square, that cover about ``voxels`` at most: one window at least. Row by row.

    A voxel that windows of several blocks see is in the parts of all of them: at an overlap of a quarter, parts of
    4 x 4 windows hold 1.17 times the picture together.
    """
    edge = int(voxels ** (1 / len(plan.size)))
    blocks = [_blocks(axis, size, edge) for axis, size in zip(zip(*plan.starts, strict=True), plan.size, strict=True)]
    members: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, start in enumerate(plan.starts):
        members[tuple(block[first] for block, first in zip(blocks, start, strict=True))].append(number)
    for place in itertools.product(*(sorted(set(block.values())) for block in blocks)):
        starts = [plan.starts[number] for number in members[place]]
        upper = tuple(last + size for last, size in zip(map(max, zip(*starts, strict=True)), plan.size, strict=True))
        yield Part(tuple(members[place]), tuple(map(min, zip(*starts, strict=True))), upper)


def _blocks(starts: Sequence[int], size: int, edge: int) -> dict[int, int]:
    """The number of its block for each start of a window along an axis."""
    blocks: dict[int, int] = {}
    block, first = 0, 0
    for start in sorted(set(starts)):
        if start + size - first > edge and start > first:
            block, first = block + 1, start
        blocks[start] = block
    return blocks
