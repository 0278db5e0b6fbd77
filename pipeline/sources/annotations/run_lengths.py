"""COCO's run-length masks, as lists of counts or packed into text, → the outlines of their runs.

Counts run down the columns and start with background (cocoapi, ``maskApi.h``). Packed text holds each count in groups
of 5 bits, lowest first, 48 added to each group, bit 6 where another group follows; from the fourth count on, the
difference to the count two before (``rleFrString``).
"""

from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.documents import numbers

_LARGEST_MASK = 1 << 31


def outline(segmentation: dict[str, Any], shape: tuple[int, ...] = ()) -> list[np.ndarray]:
    """One rectangle ``(4, 2)`` of edge pixels ``(x, y)`` for each run within a column: together exactly the mask.

    Args:
        segmentation: ``{"size": [height, width], "counts": list or text}``.
        shape: the image's ``(width, height)``, which ``size`` must be; empty where it is not known.

    Raises:
        AnnotationError: counts that do not fill the image, a mask of another size, or one without pixels.
    """
    height, width = (int(value) for value in numbers(segmentation.get("size"), "size", 2))
    if height < 1 or width < 1 or height * width > _LARGEST_MASK:
        raise AnnotationError(f"a mask of {width} x {height} pixels cannot be read")
    if shape and (width, height) != shape:
        raise AnnotationError(f"a mask has {width} x {height} pixels, its image {shape[0]} x {shape[1]}")
    counts = segmentation.get("counts")
    runs = unpacked(counts) if isinstance(counts, str) else [int(value) for value in numbers(counts, "counts")]
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise AnnotationError(f"the counts of a mask sum up to {sum(runs)}, its {width} x {height} pixels differ")
    ends = np.cumsum(np.array(runs, dtype=np.int64))
    first, last = ends[:-1:2], ends[1::2]  # of the runs of foreground: pixels first … last - 1
    first, last = first[: len(last)][last > first[: len(last)]], last[last > first[: len(last)]]
    if not len(first):
        raise AnnotationError("a mask has no pixel")
    return [
        _rectangle(*piece) for start, end in zip(first, last, strict=True) for piece in _columns(start, end, height)
    ]


def unpacked(text: str) -> list[int]:
    """The counts that a packed text holds.

    Raises:
        AnnotationError: characters that are none of its, or a count that ends early.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("utf-8"):
        group = character - 48
        if not 0 <= group < 64 or shift > 50:
            raise AnnotationError("a packed mask holds characters that are none of its")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise AnnotationError("a packed mask ends within a count")
    return counts


def _columns(start: int, end: int, height: int) -> list[tuple[int, int, int, int]]:
    """``(x, y, x end, y end)`` of a run: the rest of its first column, the whole ones, the start of its last."""
    x, y = divmod(int(start), height)
    last, rest = divmod(int(end), height)
    if x == last:
        return [(x, y, x + 1, rest)]
    pieces = [(x, y, x + 1, height)] if y else []
    whole = x + bool(y)
    pieces += [(whole, 0, last, height)] if last > whole else []
    return [*pieces, (last, 0, last + 1, rest)] if rest else pieces


def _rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)
