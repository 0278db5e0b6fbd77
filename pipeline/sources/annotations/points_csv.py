"""CSV tables of points: centres in pixels of pictures, and LUNA16's nodules in millimetres of CT series.

=============================================  ================================================================
columns                                        meaning
=============================================  ================================================================
image_id,x_px,y_px,label                       centres; pixels count from the EDGE of the first: index = x − 0.5
seriesuid,coordX,coordY,coordZ,diameter_mm     LUNA16 ``annotations.csv``: spheres in DICOM's LPS mm
seriesuid,coordX,coordY,coordZ,class           LUNA16 ``candidates.csv``: points, class 1 a nodule, 0 none
=============================================  ================================================================

LUNA16 (https://luna16.grand-challenge.org/Data): coordinates are world coordinates of the ``.mhd`` images, whose frame
is ITK's and so DICOM's LPS.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.documents import numbers, read_rows
from pipeline.sources.annotations.marks import LabelMapSet, Mark, MarkSet, Reference, Refused
from pipeline.sources.annotations.tables import Row
from pipeline.sources.identifiers import uid_digest
from pipeline.volumes import UNLABELLED

CENTRES_COLUMNS = frozenset({"image_id", "x_px", "y_px", "label"})
LUNA16_COLUMNS = frozenset({"seriesuid", "coordx", "coordy", "coordz"})
_CLASS_ONLY = "_only"
_NODULE = "nodule"
_NO_NODULE = ("0", "0.0")


def read_centres(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """Rows ``image_id, x_px, y_px, label`` → points in ``edge_px``, one set an image.

    A label ``<class>_only`` is a point that has a class and is no detection point: it is to be ignored.

    Raises:
        AnnotationError: the table is not well-formed.
    """
    return [_attempt(name, rows, _centres) for name, rows in _by_image(path, "image_id").items()]


def read_luna16(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """LUNA16's rows → spheres (with ``diameter_mm``) or points in ``lps_mm``, one set a series.

    A ``label`` or textual ``class`` names the class; else it is what LUNA16 annotates, ``nodule``. Rows of class 0 are
    candidates that are none: they are counted in a note.

    Raises:
        AnnotationError: the table is not well-formed.
    """
    return [_attempt(uid, rows, _nodules) for uid, rows in _by_image(path, "seriesuid").items()]


def _by_image(path: Path, key: str) -> dict[str, list[Row]]:
    _, rows = read_rows(path)
    entries: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        entries[row[key].strip()].append(row)
    return entries


def _attempt(name: str, rows: list[Row], read: Callable[[str, list[Row]], MarkSet]) -> MarkSet | Refused:
    try:
        return read(name, rows)
    except AnnotationError as error:
        return Refused(str(error))


def _centres(name: str, rows: list[Row]) -> MarkSet:
    marks = []
    for row in rows:
        label = row["label"].strip()
        point = numbers((row["x_px"], row["y_px"]), "x_px, y_px", 2)
        named = label.removesuffix(_CLASS_ONLY) or UNLABELLED
        marks.append(Mark(named, np.array([point]), "point", ignore=label.endswith(_CLASS_ONLY)))
    return MarkSet(Reference(file=name), "edge_px", tuple(marks), from_points=True)


def _nodules(uid: str, rows: list[Row]) -> MarkSet:
    marks, negatives = [], 0
    for row in rows:
        label = (row.get("label") or row.get("class") or "").strip()
        if label in _NO_NODULE:
            negatives += 1
            continue
        centre = np.array([numbers((row["coordx"], row["coordy"], row["coordz"]), "coordX, coordY, coordZ", 3)])
        named = _NODULE if label in ("", "1", "1.0") else label
        if row.get("diameter_mm"):
            diameter = numbers([row["diameter_mm"]], "diameter_mm", 1)[0]
            marks.append(Mark(named, centre, "sphere", size=(diameter,)))
        else:
            marks.append(Mark(named, centre, "point"))
    notes = (f"{negatives} candidates of class 0 are no objects",) if negatives else ()
    points = any(mark.kind == "point" for mark in marks)
    return MarkSet(Reference(series=uid_digest(uid) or ""), "lps_mm", tuple(marks), points, notes)
