"""Marks on their way from the child: a file's million cells as a few columns and not as a million objects."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pipeline.sources.annotations.marks import Kind, Mark

_KINDS: tuple[Kind, ...] = get_args(Kind)


def write_marks(marks: Sequence[Mark], path: Path) -> dict[str, Any]:
    """Write ``marks`` to ``path`` (``.npz``); gives what `read_marks` needs, as JSON."""
    labels = {label: number for number, label in enumerate(dict.fromkeys(mark.label for mark in marks))}
    with path.open("wb") as stream:
        np.savez(
            stream,
            points=np.concatenate([_padded(mark.points) for mark in marks]),
            counts=np.array([len(mark.points) for mark in marks]),
            dims=np.array([mark.points.shape[1] for mark in marks]),
            kinds=np.array([_KINDS.index(mark.kind) for mark in marks]),
            labels=np.array([labels[mark.label] for mark in marks]),
            ignore=np.array([mark.ignore for mark in marks]),
            slab_mm=np.array([mark.slab_mm for mark in marks]),
            sizes=np.array([[*(mark.size or ()), *[np.nan] * (3 - len(mark.size or ()))] for mark in marks]),
            rings=np.array([count for mark in marks for count in mark.rings], dtype=np.int64),
            ring_counts=np.array([len(mark.rings) for mark in marks]),
        )
    return {"path": str(path), "labels": list(labels)}


def read_marks(written: dict[str, Any]) -> Iterator[Mark]:
    """The marks that `write_marks` wrote, in their order."""
    with np.load(written["path"], allow_pickle=False) as archive:
        columns = {name: archive[name] for name in archive.files}
    pieces = np.split(columns["points"], np.cumsum(columns["counts"])[:-1])
    contours = np.split(columns["rings"], np.cumsum(columns["ring_counts"])[:-1])
    for index, (points, rings) in enumerate(zip(pieces, contours, strict=True)):
        size = columns["sizes"][index]
        yield Mark(
            label=written["labels"][columns["labels"][index]],
            points=points[:, : columns["dims"][index]],
            kind=_KINDS[columns["kinds"][index]],
            size=tuple(size[~np.isnan(size)].tolist()) or None,
            ignore=bool(columns["ignore"][index]),
            slab_mm=float(columns["slab_mm"][index]),
            rings=tuple(rings.tolist()),
        )


def _padded(points: np.ndarray) -> np.ndarray:
    return points if points.shape[1] == 3 else np.column_stack([points, np.zeros(len(points))])
