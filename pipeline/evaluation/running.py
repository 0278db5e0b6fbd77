"""Running sums and maxima of many series side by side."""

from math import isqrt

import numpy as np


def run_along(operation: np.ufunc, rows: np.ndarray) -> None:
    """``operation.accumulate(rows, axis=0)`` in place, ``rows`` ``(n, series)``; a reversed view runs from the end.

    NumPy's own takes series by series and is ten times as slow. Here rows are added to rows: first within groups of
    rows, all groups at once, then from group to group.
    """
    width = max(1, isqrt(len(rows)))
    whole = len(rows) // width * width
    groups = rows[:whole].reshape(-1, width, *rows.shape[1:])
    for place in range(1, width):
        operation(groups[:, place - 1], groups[:, place], out=groups[:, place])
    for group in range(1, len(groups)):
        operation(groups[group - 1, -1], groups[group, -1], out=groups[group, -1])
    operation(groups[:-1, -1:], groups[1:, :-1], out=groups[1:, :-1])
    for row in range(whole, len(rows)):
        operation(rows[row - 1], rows[row], out=rows[row])
