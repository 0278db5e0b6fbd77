"""Anchors of a feature pyramid, which of them answer for which object, and boxes relative to them.

MONAI's boxes are corners of which voxel 0 spans 0 … 1; here it spans -0.5 … 0.5.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher

from pipeline.datasets.samples import Objects
from pipeline.detectors.backbones import Stride

_HALF = 0.5
BACKGROUND, IGNORED = -1, -2


@dataclass(frozen=True)
class Matches:
    """``owner`` ``(anchors,)``: index of the object that each answers for, `BACKGROUND` or `IGNORED`.

    ``boxes`` ``(objects, 2 d)`` are the objects' in MONAI's frame.
    """

    owner: torch.Tensor
    boxes: torch.Tensor


class Anchors:
    """Boxes of the given shapes at every cell of every pyramid level; they double in size from level to level."""

    def __init__(self, shapes: Sequence[Sequence[float]], strides: Sequence[Stride], candidates: int) -> None:
        self.count, self.strides = len(shapes), strides
        self._generator = AnchorGeneratorWithAnchorShape([2.0**n for n in range(len(strides))], shapes)
        with logging_as_it_is():
            # Small objects hold no anchor's centre: MONAI's recipe does not ask for it either.
            self._matcher = ATSSMatcher(candidates, center_in_gt=False)

    def of(self, grids: Sequence[Sequence[int]], device: torch.device) -> list[torch.Tensor]:
        """``(cells * shapes, 2 d)`` for each level, cells in the order of a flattened grid; in MONAI's frame."""
        strides = [[torch.tensor(step, device=device) for step in stride] for stride in self.strides]
        self._generator.set_cell_anchors(torch.float32, device)
        return self._generator.grid_anchors([list(grid) for grid in grids], strides)

    def match(self, anchors: Sequence[torch.Tensor], objects: Objects, shape: Sequence[int]) -> Matches:
        """Share out the anchors of a patch of ``shape`` voxels (ATSS, arXiv 1912.02424).

        Objects to ignore, and those whose centre lies outside the patch, are asked of nobody: anchors that would
        answer for one, or whose centre lies in it and that answer for no other, are left out.
        """
        every = torch.cat(list(anchors))
        boxes = torch.cat([objects.lower, objects.upper], dim=1) + _HALF
        if not len(boxes):
            return Matches(torch.full((len(every),), BACKGROUND, device=every.device), boxes)
        cells = [len(level) // self.count for level in anchors]
        owner = self._matcher(boxes, every, cells, self.count)[1].to(every.device)
        size = torch.tensor(shape, dtype=boxes.dtype, device=boxes.device)
        middle = _middle(boxes)
        unasked = objects.ignore | ((middle < 0) | (middle >= size)).any(dim=1)
        if unasked.any():
            owner[(owner >= 0) & unasked[owner.clamp(min=0)]] = IGNORED
            owner[(owner == BACKGROUND) & _holds(boxes[unasked], _middle(every))] = IGNORED
        return Matches(owner, boxes)


def sides(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes ``(n, 2 d)`` in MONAI's frame → lower and upper sides ``(n, d)`` in voxels."""
    dims = boxes.shape[1] // 2
    return boxes[:, :dims] - _HALF, boxes[:, dims:] - _HALF


def _middle(boxes: torch.Tensor) -> torch.Tensor:
    dims = boxes.shape[1] // 2
    return (boxes[:, :dims] + boxes[:, dims:]) / 2


def _holds(boxes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Whether any of the boxes holds each point ``(n, d)``."""
    dims = points.shape[1]
    inside = (points[:, None] >= boxes[None, :, :dims]) & (points[:, None] <= boxes[None, :, dims:])
    return inside.all(dim=2).any(dim=1)


@contextmanager
def logging_as_it_is() -> Iterator[None]:
    """MONAI's matcher and sampler call ``logging.info``, which gives a root logger without handlers one."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
