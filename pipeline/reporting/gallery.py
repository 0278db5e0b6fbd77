"""Pictures of the worst misses, the most confident false positives, and a typical case (ranked by `judging`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.config.evaluation import MatchRule
from pipeline.evaluation import ScoredCase
from pipeline.reporting.display import Intensity, grey_range
from pipeline.reporting.judging import Judged, judge, ranked_false, ranked_misses, spread, typical
from pipeline.reporting.panels import Marks, Panel, Region, case_panels, nearest_slice, panel
from pipeline.types import Image

Kind = Literal["miss", "false_positive", "typical"]


@dataclass(frozen=True, eq=False)
class CasePicture:
    """One entry of the gallery. ``title`` and ``note`` are prose; ``case_id`` names the case."""

    kind: Kind
    title: str
    note: str
    case_id: str
    panels: tuple[Panel, ...]


def gallery(
    cases: Sequence[ScoredCase],
    read: Callable[[str], Image],
    rule: MatchRule,
    threshold: float,
    *,
    intensity: Intensity | None = None,
    misses: int = 6,
    false_positives: int = 6,
) -> tuple[CasePicture, ...]:
    """The pictures of one version's gallery.

    Args:
        cases: as they were evaluated.
        read: case id → its image ``(channel, i, j[, k])`` on the case's grid; called for the chosen cases only.
        rule: the experiment's match rule.
        threshold: the version's.
        intensity: how grey values are shown; the experiment's ``preprocessing.intensity`` suits.
        misses: at most so many misses.
        false_positives: at most so many false positives.
    """
    judged = [judge(case, rule, threshold) for case in cases]
    pictures = []
    for one, index in spread(ranked_misses(judged), misses):
        pictures.append(_miss(one, index, read(one.case.case_id), intensity))
    for one, index in spread(ranked_false(judged), false_positives):
        pictures.append(_false_positive(one, index, read(one.case.case_id), intensity))
    if judged:
        pictures.append(_typical(judged, read, intensity))
    return tuple(pictures)


def _miss(one: Judged, index: int, image: Image, intensity: Intensity | None) -> CasePicture:
    annotations = one.case.annotations
    size = "" if annotations.from_points else f", {annotations.boxes.sizes_world[index].max():.1f} {_unit(one)}"
    score = float(one.best_score[index])
    note = (
        f"Its best detection scored {score:.2f}, below the threshold of {one.threshold:.2f}."
        if score
        else "No detection of any score lies on it."
    )
    counted = int(np.flatnonzero(np.flatnonzero(~annotations.ignore) == index)[0])
    return CasePicture(
        "miss",
        f"Missed {annotations.labels[index]}{size}",
        note,
        one.case.case_id,
        _focused(one, "annotation", counted, image, intensity),
    )


def _false_positive(one: Judged, index: int, image: Image, intensity: Intensity | None) -> CasePicture:
    detections = one.case.detections
    size = float(detections.boxes.sizes_world[index].max())
    return CasePicture(
        "false_positive",
        f"False {detections.label_names[index]}, score {detections.scores[index]:.2f}",
        f"Detected with a size of {size:.1f} {_unit(one)}; no annotation matches it.",
        one.case.case_id,
        _focused(one, "detection", index, image, intensity),
    )


def _typical(judged: Sequence[Judged], read: Callable[[str], Image], intensity: Intensity | None) -> CasePicture:
    one = typical(judged)
    objects = int((~one.case.annotations.ignore).sum())
    missed, false = int(one.missed.sum()), int(one.false.sum())
    return CasePicture(
        "typical",
        "A typical case",
        f"The median of all cases by errors: {objects} annotated, {missed} missed, {false} false.",
        one.case.case_id,
        case_panels(read(one.case.case_id), one.case.annotations.boxes.grid, one.marks, intensity=intensity),
    )


def _focused(one: Judged, role: str, index: int, image: Image, intensity: Intensity | None) -> tuple[Panel, ...]:
    marks = [
        Marks(mark.role, mark.boxes, mark.wrong, mark.scores, mark.points, index if mark.role == role else None)
        for mark in one.marks
    ]
    boxes = next(mark.boxes for mark in marks if mark.role == role)
    grid = boxes.grid
    region = Region.around(boxes, index, grid)
    shown = grey_range(image, intensity)
    if grid.dims == 2:
        return (panel(image, grid, marks, shown=shown, region=region),)
    middle = nearest_slice(boxes, index)
    step = max(1, round(float(boxes.sizes[index, 2]) / 3))
    slices = [k for k in (middle - step, middle, middle + step) if 0 <= k < grid.shape[2]]
    captions = [f"slice {k + 1} of {grid.shape[2]}" for k in slices]
    return tuple(
        panel(image, grid, marks, shown=shown, region=region, slice_index=k, caption=caption)
        for k, caption in zip(slices, captions, strict=True)
    )


def _unit(one: Judged) -> str:
    return one.case.detections.boxes.grid.unit
