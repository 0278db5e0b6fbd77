"""How many patients bear on a figure: its interval rests on these, however many others were scanned.

A hundred patients of whom three have a lesion say as much of the sensitivity as three patients do.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from pipeline.config.data import POSITIVE_GRADE
from pipeline.evaluation.grades import GRADE_FIGURES, TRUE_GRADE

_OF_ALL = ("precision", "count_error", "ece")
_AUC = ("scan_auc", "patient_auc")
_OF_CLASS = ("class_f1_", "class_recall_")


def patients_bearing(
    names: Iterable[str], cases: pd.DataFrame, objects: pd.DataFrame, patients: np.ndarray
) -> dict[str, int]:
    """For each figure the number of patients without whom it would not exist, or would not vary.

    All patients for precision, the count error and calibration; those with an object of a class for its F1 and recall;
    for an AUC those on the smaller of its two sides (of a grade: with such an object); else those with an object.

    Args:
        names: figures of `pipeline.evaluation.figures.Measured`.
        cases: the cases table.
        objects: the objects table.
        patients: patient of each row of ``cases``, ``(cases,)``.
    """
    with_objects = (cases["objects"] > 0).to_numpy()
    everybody, holders = set(patients), set(patients[with_objects])
    smaller_side = min(len(holders), len(everybody - holders)), min(len(holders), len(set(patients[~with_objects])))
    of_class = _holders_of_classes(cases, objects, patients)
    graded = _holders_of_grades(cases, objects, patients)

    def bearing(name: str) -> int:
        if name in _AUC:
            return smaller_side[0] if name == "patient_auc" else smaller_side[1]
        if name in GRADE_FIGURES:
            return graded
        if name in _OF_ALL or name.startswith("class_precision_"):
            return len(everybody)
        for prefix in _OF_CLASS:
            if name.startswith(prefix) and name.removeprefix(prefix) != "weighted":
                return of_class.get(name.removeprefix(prefix), 0)
        return len(holders)

    return {name: bearing(name) for name in names}


def _holders_of_classes(cases: pd.DataFrame, objects: pd.DataFrame, patients: np.ndarray) -> dict[str, int]:
    annotated = objects[objects["outcome"].isin(("hit", "missed"))]
    of_case = pd.Series(patients, index=pd.Index(cases["case_id"]))
    held = pd.DataFrame({"label": annotated["annotation_label"].to_numpy()})
    held["patient"] = of_case.reindex(annotated["case_id"]).to_numpy()
    return {str(label): int(count) for label, count in held.groupby("label")["patient"].nunique().items()}


def _holders_of_grades(cases: pd.DataFrame, objects: pd.DataFrame, patients: np.ndarray) -> int:
    """Patients on the smaller side: with an object whose grade is positive, or with one whose grade is not."""
    if TRUE_GRADE not in objects:
        return 0
    there = objects[objects[TRUE_GRADE].notna()]
    of_case = pd.Series(patients, index=pd.Index(cases["case_id"]))
    held, positive = of_case.reindex(there["case_id"]).to_numpy(), there[TRUE_GRADE].to_numpy() >= POSITIVE_GRADE
    return min(len(set(held[positive])), len(set(held[~positive])))
