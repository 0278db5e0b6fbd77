"""Pictures with outlines on them: what overlays and the report's gallery are drawn from.

Picture coordinates are pixels from the picture's upper left EDGE, x to the right and y down; voxel index ``v`` of an
axis that is not shown backwards lies at ``v + 0.5``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.detections import Detections
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.display import Intensity, edge_letters, flips, grey_range, to_picture
from pipeline.types import Image
from pipeline.volumes import Annotations

Role = Literal["annotation", "detection", "ignored"]


@dataclass(frozen=True, eq=False)
class Marks:
    """Boxes of one role on a case's grid.

    ``wrong`` is bool ``(n,)``: missed annotations or false detections, drawn bolder. ``scores`` is ``(n,)`` or
    ``None``. ``points``: only the centres mean something, of
    annotations and of the detections that learned from them. ``focus``: the index that the picture is about.
    """

    role: Role
    boxes: Boxes
    wrong: np.ndarray
    scores: np.ndarray | None = None
    points: bool = False
    focus: int | None = None


@dataclass(frozen=True)
class Outline:
    """One rectangle in picture coordinates; ``point``: its size is nominal, so draw a cross or a ring."""

    left: float
    top: float
    right: float
    bottom: float
    role: Role
    wrong: bool = False
    point: bool = False
    focus: bool = False
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture ``(rows, columns, 3)`` uint8 with its outlines.

    ``pixel_size`` is the width and height of a pixel in ``unit``. ``edges`` names the patient's side at the left, top,
    right and bottom edge.
    """

    picture: np.ndarray
    outlines: tuple[Outline, ...]
    caption: str
    pixel_size: tuple[float, float]
    unit: str
    edges: tuple[str, str, str, str] | None = None

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width."""
        return self.pixel_size[1] / self.pixel_size[0]


@dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels, ``lower`` inclusive and ``upper`` exclusive, along ``(i, j)``."""

    lower: tuple[int, int]
    upper: tuple[int, int]

    @classmethod
    def whole(cls, grid: Grid) -> "Region":
        return cls((0, 0), (grid.shape[0], grid.shape[1]))

    @classmethod
    def around(cls, boxes: Boxes, index: int, grid: Grid, times: float = 5.0, minimum_px: int = 72) -> "Region":
        """A square about one box, ``times`` its larger edge and at least ``minimum_px`` wide, within the image."""
        edge = max(float(boxes.sizes[index, :2].max()) * times, minimum_px)
        lower, upper = [], []
        for axis in (0, 1):
            length = min(round(edge), grid.shape[axis])
            start = round(float(boxes.centres[index, axis]) + 0.5 - length / 2)
            start = min(max(start, 0), grid.shape[axis] - length)
            lower.append(start)
            upper.append(start + length)
        return cls((lower[0], lower[1]), (upper[0], upper[1]))


def panel(
    image: Image,
    grid: Grid,
    marks: Sequence[Marks],
    *,
    shown: tuple[float, float],
    region: Region | None = None,
    slice_index: int | None = None,
    caption: str = "",
) -> Panel:
    """One field, or one slice of a volume, or a region of either.

    Args:
        image: ``(channel, i, j)``, or ``(channel, i, j, k)`` with ``slice_index`` along ``k``.
        grid: the image's grid; all marks lie on it.
        marks: what is drawn. In 3D a box is drawn on each slice whose centre lies within it, and always on the slice
            nearest to its own centre.
        shown: the values that are black and white (see `display.grey_range`).
        region: what of the plane is shown; ``None``: all.
        slice_index: along ``k``; ``None`` for a 2D field.
        caption: a short line beside the picture.
    """
    region = region or Region.whole(grid)
    plane = image if slice_index is None else image[..., slice_index]
    (i0, j0), (i1, j1) = region.lower, region.upper
    picture = to_picture(plane[:, i0:i1, j0:j1], shown)
    backwards = flips(grid)
    if backwards[0]:
        picture = picture[:, ::-1]
    if backwards[1]:
        picture = picture[::-1]
    outlines = tuple(
        _outline(mark, int(index), region, backwards)
        for mark in marks
        for index in np.flatnonzero(_drawn(mark.boxes, region, slice_index))
    )
    size = (float(grid.spacing[0]), float(grid.spacing[1]))
    return Panel(np.ascontiguousarray(picture), outlines, caption, size, grid.unit, edge_letters(grid))


def case_panels(
    image: Image,
    grid: Grid,
    marks: Sequence[Marks],
    *,
    intensity: Intensity | None = None,
    slices: int = 6,
) -> tuple[Panel, ...]:
    """A whole case: the field, or up to ``slices`` slices of a volume through its best marked boxes.

    Slices go through detections by falling score and annotations by falling size, in turn, missed ones first; a box
    that a chosen slice already cuts needs no slice of its own. The last caption says how many boxes are on no slice
    shown. A volume without any box gives its middle slice.
    """
    shown = grey_range(image, intensity)
    if grid.dims == 2:
        return (panel(image, grid, marks, shown=shown),)
    chosen = choose_slices(marks, grid, slices)
    boxes = sum(len(mark.boxes) for mark in marks)
    covered = [np.any([on_slice(mark.boxes, k) for k in chosen], axis=0) for mark in marks if len(mark.boxes)]
    unseen = boxes - sum(int(one.sum()) for one in covered)
    captions = [f"slice {k + 1} of {grid.shape[2]}" for k in chosen]
    if unseen:
        captions[-1] += f"; {unseen} of {boxes} boxes lie on slices not shown"
    return tuple(
        panel(image, grid, marks, shown=shown, slice_index=k, caption=text)
        for k, text in zip(chosen, captions, strict=True)
    )


def choose_slices(marks: Sequence[Marks], grid: Grid, slices: int) -> list[int]:
    """The slices of `case_panels`, ascending."""
    queues = [[(mark, int(index)) for index in _by_weight(mark)] for mark in marks if mark.role != "ignored"]
    chosen: list[int] = []
    for turn in range(max((len(queue) for queue in queues), default=0)):
        for queue in queues:
            if turn >= len(queue) or len(chosen) >= slices:
                continue
            mark, index = queue[turn]
            if not any(on_slice(mark.boxes, k)[index] for k in chosen):
                chosen.append(nearest_slice(mark.boxes, index))
    return sorted(chosen) or [grid.shape[2] // 2]


def on_slice(boxes: Boxes, k: int) -> np.ndarray:
    """Which boxes slice ``k`` cuts: bool ``(n,)``; each box is cut by at least the slice nearest to its centre."""
    inside = (boxes.lower[:, 2] <= k) & (boxes.upper[:, 2] >= k)
    nearest = np.clip(np.floor(boxes.centres[:, 2] + 0.5), 0, boxes.grid.shape[2] - 1) == k
    return np.asarray(inside | nearest)


def nearest_slice(boxes: Boxes, index: int) -> int:
    """The slice nearest to a box's centre, within the volume."""
    return int(np.clip(np.floor(boxes.centres[index, 2] + 0.5), 0, boxes.grid.shape[2] - 1))


def _by_weight(mark: Marks) -> np.ndarray:
    """Indices of the boxes that deserve a slice first."""
    weight = mark.scores if mark.scores is not None else mark.boxes.sizes_world.max(axis=1, initial=0)
    if mark.role == "annotation":
        return np.lexsort((-weight, ~mark.wrong))
    return np.argsort(-weight, kind="stable")


def _drawn(boxes: Boxes, region: Region, slice_index: int | None) -> np.ndarray:
    lower, upper = np.array(region.lower) - 0.5, np.array(region.upper) - 0.5
    touches = ((boxes.upper[:, :2] > lower) & (boxes.lower[:, :2] < upper)).all(axis=1)
    return np.asarray(touches if slice_index is None else touches & on_slice(boxes, slice_index))


def _outline(mark: Marks, index: int, region: Region, backwards: tuple[bool, bool]) -> Outline:
    edges = []
    for axis in (0, 1):
        low = float(mark.boxes.lower[index, axis]) + 0.5 - region.lower[axis]
        high = float(mark.boxes.upper[index, axis]) + 0.5 - region.lower[axis]
        length = region.upper[axis] - region.lower[axis]
        edges.append((length - high, length - low) if backwards[axis] else (low, high))
    return Outline(
        left=edges[0][0],
        right=edges[0][1],
        top=edges[1][0],
        bottom=edges[1][1],
        role=mark.role,
        wrong=bool(mark.wrong[index]),
        point=mark.points,
        focus=index == mark.focus,
        score=None if mark.scores is None else float(mark.scores[index]),
    )


def marks_of(
    annotations: Annotations | None,
    detections: Detections,
    *,
    missed: np.ndarray | None = None,
    false: np.ndarray | None = None,
) -> list[Marks]:
    """Annotations and detections of one case as marks.

    Args:
        annotations: ``None`` where nobody annotated.
        detections: those that are drawn, on the same grid.
        missed: bool ``(annotations,)``; ``None`` where nobody compared.
        false: bool ``(detections,)``; ``None`` where nobody compared.
    """
    marks: list[Marks] = []
    if annotations is not None:
        wrong = np.zeros(len(annotations), dtype=bool) if missed is None else np.asarray(missed, dtype=bool)
        counted = ~annotations.ignore
        points = annotations.from_points
        marks.append(Marks("annotation", annotations.boxes[counted], wrong[counted], points=points))
        if annotations.ignore.any():
            skipped = annotations.boxes[annotations.ignore]
            marks.append(Marks("ignored", skipped, np.zeros(len(skipped), dtype=bool), points=points))
    wrong = np.zeros(len(detections), dtype=bool) if false is None else np.asarray(false, dtype=bool)
    points = annotations is not None and annotations.from_points
    marks.append(Marks("detection", detections.boxes, wrong, scores=detections.scores, points=points))
    return marks
