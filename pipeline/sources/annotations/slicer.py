"""3D Slicer's markups: ``.mrk.json`` (points, regions of interest, closed curves) and the older ``.fcsv`` (points).

Coordinates are in mm, in DICOM's LPS or in RAS, as each markup says (markups schema v1.0.x; ``.fcsv``: a comment
``CoordinateSystem``, text or Slicer's number, 0 RAS, 1 LPS). A region's ``orientation`` is row-major, its columns are
the region's axes (``vtkMRMLMarkupsROIJsonStorageNode``), so it may lie oblique to the image. A closed curve is taken as
the polygon of its control points. Lines, angles, open curves and planes measure something and are no objects: they are
counted in a note.

The class is a control point's label without its running number (Slicer's ``%N-%d``); Slicer's own default names
(F, R, CC, …) are no class. The image is the one of the file's own name, else the only one in its folder.
"""

import csv
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry.frames import lps_to_ras
from pipeline.sources.annotations.documents import numbers, read_json, read_text
from pipeline.sources.annotations.marks import BESIDE, LabelMapSet, Mark, MarkSet, Refused

_SYSTEMS = {"LPS": "LPS", "1": "LPS", "RAS": "RAS", "0": "RAS"}
_DEFAULT_NAMES = frozenset({"", "f", "r", "cc", "p", "roi", "closedcurve", "markupsfiducial", "pointlist"})
_NUMBERED = re.compile(r"[-_ ]*\d*$")
_FCSV = "# markups fiducial file"
_FCSV_COLUMNS = ["id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc", "associatednodeid"]


def is_markups(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("markups"), list)


def is_fcsv(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        return stream.readline(200).lower().startswith(_FCSV)


def read_markups(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """One set in ``lps_mm`` of every point, region (all 8 corners) and closed curve in the file.

    Raises:
        AnnotationError: no coordinate system, numbers that are missing, or nothing but lines and the like.
    """
    markups = read_json(path)["markups"]
    if not all(isinstance(one, dict) for one in markups):
        raise AnnotationError("expected a list of markups")
    unit = next((str(one["coordinateUnits"]) for one in markups if one.get("coordinateUnits")), "mm")
    if unit != "mm":
        raise AnnotationError(f"coordinates must be in mm, got {unit!r}")
    used = [one for one in markups if str(one.get("type")) in _READERS]
    marks = tuple(mark for one in used for mark in _READERS[str(one["type"])](one))
    others = len(markups) - len(used)
    if others and not marks:
        raise AnnotationError(f"{others} markups are lines, angles, open curves or planes: none is an object")
    notes = (f"{others} markups are lines, angles, open curves or planes and no objects",) if others else ()
    return [MarkSet(BESIDE, "lps_mm", marks, any(mark.kind == "point" for mark in marks), notes)]


def read_fcsv(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """One set of points in ``lps_mm``.

    Raises:
        AnnotationError: no coordinate system, another one than LPS and RAS, or a line without numbers.
    """
    lines = read_text(path).splitlines()
    comments = dict(_comment(line) for line in lines if line.startswith("#") and "=" in line)
    system = _system(comments.get("coordinatesystem"))
    columns = [name.strip().lower() for name in comments.get("columns", ",".join(_FCSV_COLUMNS)).split(",")]
    marks = []
    for values in csv.reader(line for line in lines if line.strip() and not line.startswith("#")):
        row = dict(zip(columns, values, strict=False))
        point = numbers([row.get(axis) for axis in "xyz"], "x, y, z", 3)
        marks.append(Mark(_class(row.get("label")), _lps([point], system), "point"))
    return [MarkSet(BESIDE, "lps_mm", tuple(marks), from_points=True)]


def _points(markup: dict[str, Any]) -> list[Mark]:
    system = _system(markup.get("coordinateSystem"))
    return [Mark(label, _lps([position], system), "point") for label, position in _control_points(markup)]


def _region(markup: dict[str, Any]) -> list[Mark]:
    system = _system(markup.get("coordinateSystem"))
    centre = np.array(numbers(markup.get("center"), "center", 3))
    axes = np.array(numbers(markup.get("orientation"), "orientation", 9)).reshape(3, 3)
    size = np.array(numbers(markup.get("size"), "size", 3))
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise AnnotationError("the orientation of a region must be three unit vectors at right angles")
    if (size <= 0).any():
        raise AnnotationError(f"every size of a region must be above 0, got {size.min()}")
    corners = [centre + axes @ (np.array(signs) * size / 2) for signs in itertools.product((-1, 1), repeat=3)]
    label = next((label for label, _ in _control_points(markup) if label), "")
    return [Mark(label, _lps(corners, system), "box")]


def _closed_curve(markup: dict[str, Any]) -> list[Mark]:
    system = _system(markup.get("coordinateSystem"))
    named = _control_points(markup)
    if len(named) < 3:
        raise AnnotationError(f"a closed curve needs at least 3 points, got {len(named)}")
    label = next((label for label, _ in named if label), "")
    return [Mark(label, _lps([position for _, position in named], system), "polygon", rings=(len(named),))]


_READERS = {"Fiducial": _points, "PointList": _points, "ROI": _region, "ClosedCurve": _closed_curve}


def _control_points(markup: dict[str, Any]) -> list[tuple[str, list[float]]]:
    """``(class, position)`` of the points that were placed."""
    points = markup.get("controlPoints") or []
    if not isinstance(points, list) or not all(isinstance(one, dict) for one in points):
        raise AnnotationError("expected a list of control points")
    placed = [one for one in points if one.get("positionStatus", "defined") == "defined"]
    return [(_class(one.get("label")), numbers(one.get("position"), "position", 3)) for one in placed]


def _system(stated: Any) -> str:
    system = _SYSTEMS.get(str(stated).strip().upper())
    if system is None:
        raise AnnotationError(f"the coordinate system must be LPS or RAS, got {str(stated)[:16]!r}")
    return system


def _lps(points: Any, system: str) -> np.ndarray:
    array = np.array(points, dtype=np.float64)
    return array if system == "LPS" else lps_to_ras(array)  # the same change of signs both ways


def _class(label: Any) -> str:
    name = _NUMBERED.sub("", str(label or "").strip())
    return "" if name.lower() in _DEFAULT_NAMES else name


def _comment(line: str) -> tuple[str, str]:
    name, _, value = line.lstrip("# ").partition("=")
    return name.strip().lower(), value.strip()
