"""A volume and a field whose findings are known to the voxel, and the reports on them."""

from pathlib import Path

import numpy as np

from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.records import ReportData, TaskReport
from pipeline.reporting.report import write_report
from pipeline.reporting.versus import Other
from pipeline.reporting.viewed import CaseViews, case_views
from pipeline.volumes import Annotations
from tests.reporting.examples import cell_experiment, evaluation_of, lesion_experiment

# Shown as radiologists look at it, so that picture coordinates are the array's (see `display.flips`).
VOLUME = Grid((60, 50, 20), np.diag([-1.0, -1.0, 2.0, 1.0]))
FIELD = Grid.of_pixels((200, 160))
FOUND, MISSED, FALSE = (15.0, 15.0, 4.0), (40.0, 30.0, 9.0), (30.0, 12.0, 15.0)


def volume_case(case_id: str = "volume-1") -> ScoredCase:
    """One lesion found with a score of 0.9, one missed (its detection scored 0.2), and one false detection of 0.7."""
    annotations = Annotations.of(boxes([FOUND, MISSED], 6.0, VOLUME), ("lesion", "lesion"))
    detections = Detections(
        case_id,
        boxes([FOUND, MISSED, FALSE], 6.0, VOLUME),
        np.array([0.9, 0.2, 0.7]),
        np.zeros(3, dtype=int),
        ("lesion",),
    )
    return ScoredCase(case_id, case_id, annotations, detections, {"modality": "CT"})


def earlier_case(case_id: str = "volume-1") -> ScoredCase:
    """The same lesions by an earlier version: it found the second (0.8) and not the first, and nothing false."""
    annotations = volume_case(case_id).annotations
    detections = Detections(
        case_id, boxes([MISSED, FOUND], 7.0, VOLUME), np.array([0.8, 0.1]), np.zeros(2, dtype=int), ("lesion",)
    )
    return ScoredCase(case_id, case_id, annotations, detections, {"modality": "CT"})


def volume_image(_: str = "") -> np.ndarray:
    """Slice ``k`` has the value ``-900 + 50 k``; balls of 100 about every place."""
    axes = np.meshgrid(*(np.arange(n) for n in VOLUME.shape), indexing="ij")
    values = np.broadcast_to(-900.0 + 50.0 * axes[2], VOLUME.shape).copy()
    for place in (FOUND, MISSED, FALSE):
        inside = sum((axis - middle) ** 2 for axis, middle in zip(axes, place, strict=True)) < 9
        values[inside] = 100
    return values.astype(np.int16)[None]


def field_case(case_id: str = "field-1") -> ScoredCase:
    """Two cells annotated by points, one found and one missed; one false detection; one ignored point."""
    places = [(30.0, 40.0), (150.0, 100.0), (90.0, 20.0)]
    annotations = Annotations(
        boxes(places, 14.0, FIELD), ("tumour", "other", "tumour"), np.array([False, False, True]), from_points=True
    )
    detections = Detections(
        case_id,
        boxes([places[0], (60.0, 120.0)], 14.0, FIELD),
        np.array([0.8, 0.6]),
        np.array([0, 1]),
        ("tumour", "other"),
    )
    return ScoredCase(case_id, case_id, annotations, detections)


def field_image(_: str = "") -> np.ndarray:
    image = np.full((3, *FIELD.shape), 220, np.uint8)
    image[:, 20:40, 30:50] = 60
    image[1, :100] -= 30
    return image


def boxes(centres: list[tuple[float, ...]], edge: float, grid: Grid) -> Boxes:
    return Boxes.around(np.array(centres), np.full((len(centres), grid.dims), edge) / grid.spacing, grid)


def volume_views(limit: int = 5_000_000) -> CaseViews:
    config = lesion_experiment()
    return case_views(
        [volume_case()],
        volume_image,
        config.evaluation.match,
        0.4,
        intensity=config.preprocessing.intensity,
        limit=limit,
    )


def written_report(path: Path) -> Path:
    """A report on both: of two versions on the volumes, of one on the fields."""
    lesions, cells = lesion_experiment(), cell_experiment()
    volumes, fields = [volume_case(), volume_case("volume-2")], [field_case()]
    earlier = Other("lesions/1", (earlier_case(), volume_case("volume-2")), 0.4)
    rules = lesions.evaluation.match, cells.evaluation.match
    tasks = (
        TaskReport(
            "lesions",
            (evaluation_of(lesions, volumes, "lesions/2"),),
            config=lesions,
            views=case_views(
                volumes, volume_image, rules[0], 0.4, intensity=lesions.preprocessing.intensity, other=earlier
            ),
            pictured_version="lesions/2",
        ),
        TaskReport(
            "cells",
            (evaluation_of(cells, fields, "cells/1"),),
            config=cells,
            views=case_views(fields, field_image, rules[1], 0.4, intensity=cells.preprocessing.intensity),
        ),
    )
    return write_report(path, ReportData("Written", "today", tasks))
