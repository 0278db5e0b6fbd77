"""Parts of a test set: how good is a version on small lesions, on one class, on scans of one manufacturer?

A variable divides a test set into levels:

- ``size``: the largest edge of an annotated object along the array axes, in the world (mm, or px where a picture has no
  physical size). The limits between levels are those given, or the terciles of the test set's own counted annotations:
  they depend on nothing else, so evaluations with the same test set digest have the same. A size at a limit belongs to
  the smaller level. Two limits make ``small medium large``, one makes ``small large``. Cases with centre points only
  have no sizes; where grids in mm and in px are mixed there is no ``size``.
- ``class``: the annotated class. Unlabelled objects belong to none.
- any other name: the attribute of the case (``modality manufacturer stain`` …); a case without it is ``unknown``.

What counts in a level of ``size`` or ``class`` follows COCO's area ranges: an object of the level, found or missed; the
detection that finds it, whatever its own size or class; and a detection that finds nothing, by its OWN size or class. A
detection that finds an object of another level is left out, neither right nor false. Unlike COCO, matching is not
repeated for each level: what found an object in the whole test set found it here. All cases count in "per scan", so
that false positives per scan of the levels add up to those of the whole.

A level of an attribute is simply the test set of its cases.

F1, precision and AP of a level of ``size`` so depend on how large FALSE detections are drawn, and CPM gives each level
the whole allowance of false positives for its own: they describe. What is compared and decided by size is recall
(`pipeline.evaluation.compare`).

A variable with a single level would repeat the whole test set, and is left out. A level may be empty; its figures are
NaN. Intervals of figures of objects rest on the patients that have an object in the level.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pandas as pd

from pipeline.evaluation.part import PART_FIGURES, Part, Rows
from pipeline.evaluation.records import Estimate
from pipeline.evaluation.tables import ATTRIBUTE
from pipeline.evaluation.uncertainty import interval, patients_of
from pipeline.volumes import UNLABELLED

UNKNOWN = "unknown"
_TERCILES = (1 / 3, 2 / 3)
_NO_LEVEL = -1
_SIZE_COLUMNS = ("size_world", "annotation_size_world")


@dataclass(frozen=True, eq=False)
class _Division:
    """``of_row`` ``(rows,)`` is each row's level; ``of_case`` ``(cases,)`` each case's, ``None`` where rows decide."""

    levels: tuple[str, ...]
    of_row: np.ndarray
    of_case: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Strata:
    """A test set divided by each of several variables: ``parts`` is variable → level → part."""

    parts: dict[str, dict[str, Part]]
    size_limits: tuple[float, ...]
    size_unit: str

    @classmethod
    def of(
        cls,
        cases: pd.DataFrame,
        objects: pd.DataFrame,
        names: Sequence[str],
        threshold: float,
        size_limits: Sequence[float] | None = None,
    ) -> Self:
        """Divide the tables of an evaluation (see `pipeline.evaluation.tables`).

        Args:
            cases: the cases table.
            objects: the objects table.
            names: variables; those that do not divide this test set are left out.
            threshold: score from which detections count for F1, precision, recall and the count.
            size_limits: borders between size levels, rising; ``None`` for terciles.
        """
        rows, patients = Rows.of(cases, objects), patients_of(cases)
        limits = _limits(cases, objects, rows, size_limits) if "size" in names else ()
        parts: dict[str, dict[str, Part]] = {}
        for name in names:
            division = _divide(name, cases, objects, rows, limits)
            if division is not None and len(division.levels) > 1:
                parts[name] = dict(_parts(division, rows, patients, threshold))
        sized = "size" in parts
        return cls(parts, limits if sized else (), str(cases["unit"].iloc[0]) if sized else "")

    def each(self) -> Iterator[tuple[str, str, Part]]:
        """Variable, level and part, one by one."""
        for variable, levels in self.parts.items():
            for level, part in levels.items():
                yield variable, level, part

    def estimates(self, weights: np.ndarray, confidence: float) -> dict[str, dict[str, dict[str, Estimate]]]:
        """Every figure of every level; ``weights`` ``(rounds, cases)`` are those of the whole test set."""
        found: dict[str, dict[str, dict[str, Estimate]]] = {variable: {} for variable in self.parts}
        for variable, level, part in self.each():
            rounds = part.tally.figures(weights[:, part.cases])
            found[variable][level] = {
                name: interval(value, rounds[name], confidence, part.patients_behind(name))
                for name, value in part.tally.values().items()
            }
        return found

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """How much each level holds."""
        return {name: {level: part.counts() for level, part in levels.items()} for name, levels in self.parts.items()}


def compared_by(variable: str, primary: str) -> str:
    """The figure by which versions are compared in the levels of a variable: recall for sizes, else the primary one, or
    F1 where that is not a figure of parts."""
    if variable == "size":
        return "recall"
    return primary if primary in PART_FIGURES else "f1"


def size_levels(limits: Sequence[float]) -> tuple[str, ...]:
    """Names of the levels between rising limits."""
    if len(limits) < 3:
        return ((), ("small", "large"), ("small", "medium", "large"))[len(limits)]
    between = (f"{low:g} to {up:g}" for low, up in pairwise(limits))
    return (f"to {limits[0]:g}", *between, f"above {limits[-1]:g}")


def _limits(cases: pd.DataFrame, objects: pd.DataFrame, rows: Rows, given: Sequence[float] | None) -> tuple[float, ...]:
    if any(column not in objects for column in _SIZE_COLUMNS) or "unit" not in cases or cases["unit"].nunique() > 1:
        return ()
    sizes = objects["annotation_size_world"].to_numpy(dtype=np.float64)[rows.hit | rows.missed]
    sizes = sizes[np.isfinite(sizes)]
    if given is not None or len(sizes) == 0:
        return tuple(given or ())
    terciles = np.unique(np.quantile(sizes, _TERCILES, method="inverted_cdf"))
    return tuple(float(limit) for limit in terciles if limit < sizes.max())


def _divide(
    name: str, cases: pd.DataFrame, objects: pd.DataFrame, rows: Rows, limits: tuple[float, ...]
) -> _Division | None:
    if name == "size":
        return _by_size(objects, rows, limits) if limits else None
    if name == "class":
        return _by_class(objects, rows)
    column = f"{ATTRIBUTE}{name}"
    return _by_attribute(cases[column], rows) if column in cases else None


def _by_size(objects: pd.DataFrame, rows: Rows, limits: tuple[float, ...]) -> _Division:
    own, found = (objects[column].to_numpy(dtype=np.float64) for column in _SIZE_COLUMNS)
    size = np.where(rows.false, own, found)
    level = np.searchsorted(np.array(limits), size, side="left")
    return _Division(size_levels(limits), np.where(np.isfinite(size) & _counted(rows), level, _NO_LEVEL))


def _by_class(objects: pd.DataFrame, rows: Rows) -> _Division:
    own, found = (objects[column].to_numpy(dtype=object) for column in ("label", "annotation_label"))
    annotated = pd.Index(sorted(set(found[rows.hit | rows.missed]) - {UNLABELLED}))
    level = annotated.get_indexer(pd.Index(np.where(rows.false, own, found)))
    return _Division(tuple(annotated), np.where(_counted(rows), level, _NO_LEVEL))


def _by_attribute(values: pd.Series, rows: Rows) -> _Division:
    known = values.fillna("").to_numpy(dtype=object)
    named = np.where(known == "", UNKNOWN, known)
    levels = sorted(set(named), key=lambda level: (level == UNKNOWN, level))
    of_case = pd.Index(levels).get_indexer(pd.Index(named))
    return _Division(tuple(levels), of_case[rows.case], of_case)


def _counted(rows: Rows) -> np.ndarray:
    return rows.hit | rows.false | rows.missed


def _parts(division: _Division, rows: Rows, patients: np.ndarray, threshold: float) -> Iterator[tuple[str, Part]]:
    order = np.argsort(division.of_row, kind="stable")
    starts = np.searchsorted(division.of_row[order], np.arange(len(division.levels) + 1))
    for index, level in enumerate(division.levels):
        own = rows[order[starts[index] : starts[index + 1]]]
        cases = None if division.of_case is None else np.flatnonzero(division.of_case == index)
        yield level, Part.of(own, patients, threshold, cases)
