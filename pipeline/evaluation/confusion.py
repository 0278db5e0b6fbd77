"""Which class was taken for which, at one threshold."""

import numpy as np
import pandas as pd

NO_OBJECT = "no object"
NOT_FOUND = "not found"


def confusion(objects: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Annotated classes (rows) against detected ones (columns): how many objects.

    ``objects`` is the objects table of an evaluation. The last row, `NO_OBJECT`, holds false detections; the last
    column, `NOT_FOUND`, objects that were missed or found only below the threshold. Unlabelled objects have a row of
    their own. Swallowed detections are nowhere. Every class that was annotated or detected has its place, in order of
    name.
    """
    outcome = objects["outcome"].to_numpy(dtype=object)
    reported = objects["score"].to_numpy() >= threshold
    hit, false = (outcome == "hit") & reported, (outcome == "false") & reported
    left = ((outcome == "hit") & ~reported) | (outcome == "missed")
    there = np.where(false, NO_OBJECT, objects["annotation_label"].to_numpy(dtype=object))
    found = np.where(left, NOT_FOUND, objects["label"].to_numpy(dtype=object))
    counted = hit | false | left
    rows = [*sorted(set(there[hit | left])), NO_OBJECT]
    columns = [*sorted(set(found[hit | false])), NOT_FOUND]
    cell = pd.Index(rows).get_indexer(pd.Index(there[counted])) * len(columns)
    cell += pd.Index(columns).get_indexer(pd.Index(found[counted]))
    table = np.bincount(cell, minlength=len(rows) * len(columns)).reshape(len(rows), len(columns))
    return pd.DataFrame(table, index=rows, columns=columns)
