"""The two tables of an evaluation, and the way back from them to what figures are computed from.

Objects table, one row a detection (of any score) or an object that no detection found:

- ``case_id``; ``outcome``: ``hit``, ``false``, ``ignored`` (a detection on an ignored object) or ``missed``;
- ``score``: NaN where missed; ``label``: the detection's class, empty where missed;
- ``annotation_label``: the class of the object that was found or missed, else empty;
- ``centre_?_voxel``, ``size_?_voxel``: the detection's box, or the missed object's, in continuous voxel indices of the
  case's own grid (voxel ``i`` covers ``i - 0.5 … i + 0.5``); 2D rows leave ``k`` NaN;
- ``size_world``, ``annotation_size_world``: the largest edge along the array axes, in the grid's unit, of the row's own
  box and of the object that was found or missed; NaN where there is none, and where only centre points were annotated;
- ``grade``, ``grade_true``, where a grade is annotated: the grade that the detection gives, and that of the object that
  was found or missed; NaN where there is none;
- ``outcome_<metric>``: the outcome under another match rule (``outcome_ap_iou_0_50``), empty in rows of missed objects.

A hit whose score is below the threshold is a missed object at that threshold.

Cases table, one row a case, at the evaluation's threshold: ``case_id``, ``patient_key``, ``objects``,
``ignored_objects``, ``unlabelled_objects``, ``hits``, ``false_positives``, ``misses``, ``all_detections`` of any
score, ``unit`` of the grid (``mm`` or ``px``), and one ``attribute_<name>`` for each attribute that any case has, empty
where a case has it not.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from pipeline.evaluation.centre_f1 import Counts
from pipeline.evaluation.grades import GRADE, TRUE_GRADE
from pipeline.evaluation.matching import CaseMatches
from pipeline.geometry import Boxes
from pipeline.volumes import UNLABELLED

ATTRIBUTE = "attribute_"
_AXES = "ijk"


def objects_table(matches: Sequence[CaseMatches], others: dict[str, Sequence[CaseMatches]]) -> pd.DataFrame:
    """The objects table. ``others`` are the matches of the same cases under other rules, by metric name."""
    parts = []
    for match in matches:
        parts += [_detection_columns(match), _missed_columns(match)]
    if all(match.case.annotations.grades is None for match in matches):
        parts = [{name: column for name, column in part.items() if name not in (GRADE, TRUE_GRADE)} for part in parts]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    outcomes = {"outcome": _outcomes(matches, matches, "missed")}
    outcomes |= {f"outcome_{name}": _outcomes(same_cases, matches, "") for name, same_cases in others.items()}
    return pd.DataFrame({"case_id": table.pop("case_id"), "outcome": outcomes.pop("outcome"), **table, **outcomes})


def cases_table(matches: Sequence[CaseMatches], threshold: float) -> pd.DataFrame:
    """The cases table at ``threshold``."""
    rows = []
    attributes = sorted({name for match in matches for name in match.case.attributes})
    for match in matches:
        reported = match.case.detections.scores >= threshold
        hits = int((match.hit & reported).sum())
        annotations = match.case.annotations
        rows.append(
            {
                "case_id": match.case.case_id,
                "patient_key": match.case.patient_key,
                "objects": match.objects,
                "ignored_objects": int(annotations.ignore.sum()),
                "unlabelled_objects": int((~annotations.ignore & (np.array(annotations.labels) == UNLABELLED)).sum()),
                "hits": hits,
                "false_positives": int((match.false & reported).sum()),
                "misses": match.objects - hits,
                "all_detections": len(match.case.detections),
                "unit": annotations.boxes.grid.unit,
                **{f"{ATTRIBUTE}{name}": match.case.attributes.get(name, "") for name in attributes},
            }
        )
    return pd.DataFrame(rows)


def counts_from(cases: pd.DataFrame, objects: pd.DataFrame, threshold: float, classes: tuple[str, ...]) -> Counts:
    """The counts of each case at ``threshold``."""
    case = _case_index(cases, objects)
    label = objects["label"].to_numpy(dtype=object)
    truth = objects["annotation_label"].to_numpy(dtype=object)
    outcome = objects["outcome"].to_numpy(dtype=object)
    reported = objects["score"].to_numpy() >= threshold
    hit = (outcome == "hit") & reported
    false = (outcome == "false") & reported
    an_object = (outcome == "hit") | (outcome == "missed")
    judged = (hit & (truth != UNLABELLED)) | false

    def per_case(rows: np.ndarray) -> np.ndarray:
        return np.bincount(case[rows], minlength=len(cases))

    def per_class(rows: list[np.ndarray]) -> np.ndarray:
        return np.array([per_case(some) for some in rows], dtype=np.int64).reshape(len(rows), len(cases)).T

    return Counts(
        objects=cases["objects"].to_numpy(),
        hits=per_case(hit),
        false=per_case(false),
        class_objects=per_class([an_object & (truth == name) for name in classes]),
        class_hits=per_class([hit & (truth == name) & (label == name) for name in classes]),
        class_false=per_class([judged & (label == name) & (truth != name) for name in classes]),
    )


def _detection_columns(match: CaseMatches) -> dict[str, np.ndarray]:
    detections = match.case.detections
    truth = np.array([*match.case.annotations.labels, ""], dtype=object)  # NOTHING (-1) picks the last
    return {
        "case_id": np.full(len(detections), match.case.case_id, dtype=object),
        "score": detections.scores,
        "label": np.array(detections.classes, dtype=object)[detections.labels],
        "annotation_label": truth[match.found],
        "size_world": _edges(match, detections.boxes),
        "annotation_size_world": _edges_found(match),
        GRADE: _none(len(detections)) if detections.grades is None else detections.grades,
        TRUE_GRADE: np.append(_true_grades(match), np.nan)[match.found],
        **_places(detections.boxes),
    }


def _missed_columns(match: CaseMatches) -> dict[str, np.ndarray]:
    missed = match.missed
    edges = _edges(match, match.case.annotations.boxes[missed])
    return {
        "case_id": np.full(len(missed), match.case.case_id, dtype=object),
        "score": np.full(len(missed), np.nan),
        "label": np.full(len(missed), "", dtype=object),
        "annotation_label": np.array([match.case.annotations.labels[index] for index in missed], dtype=object),
        "size_world": edges,
        "annotation_size_world": edges,
        GRADE: _none(len(missed)),
        TRUE_GRADE: _true_grades(match)[missed],
        **_places(match.case.annotations.boxes[missed]),
    }


def _true_grades(match: CaseMatches) -> np.ndarray:
    """Of each annotation ``(n,)``, NaN where it is not known."""
    grades = match.case.annotations.grades
    return _none(len(match.case.annotations)) if grades is None else grades


def _none(count: int) -> np.ndarray:
    return np.full(count, np.nan)


def _edges(match: CaseMatches, boxes: Boxes) -> np.ndarray:
    """Largest edge of each box in the world, to a millionth; NaN throughout a case that has only centre points."""
    if match.case.annotations.from_points:
        return np.full(len(boxes), np.nan)
    return boxes.sizes_world.max(axis=1, initial=0).round(6)


def _edges_found(match: CaseMatches) -> np.ndarray:
    return np.append(_edges(match, match.case.annotations.boxes), np.nan)[match.found]  # NOTHING (-1) picks the last


def _outcomes(under: Sequence[CaseMatches], rows: Sequence[CaseMatches], missed: str) -> ExtensionArray:
    """One rule's outcome of every row: each case's detections, then the objects that ``rows`` say were missed."""
    names = pd.Series(["hit", "ignored", "false", missed])
    codes = []
    for match, row in zip(under, rows, strict=True):
        codes += [np.where(match.hit, 0, np.where(match.swallowed, 1, 2)), np.full(len(row.missed), 3)]
    return names.array.take(np.concatenate(codes))


def _places(boxes: Boxes) -> dict[str, np.ndarray]:
    absent = np.full(len(boxes), np.nan)
    columns = {}
    for name, values in (("centre", boxes.centres), ("size", boxes.sizes)):
        for axis, letter in enumerate(_AXES):
            columns[f"{name}_{letter}_voxel"] = values[:, axis] if axis < boxes.grid.dims else absent
    return columns


def _case_index(cases: pd.DataFrame, objects: pd.DataFrame) -> np.ndarray:
    return pd.Index(cases["case_id"]).get_indexer(pd.Index(objects["case_id"]))
