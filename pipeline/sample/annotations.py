"""The annotation files of the sample archive; `pipeline.sample.archive` defines their formats."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.sample.split import Subset
from pipeline.types import Points

BOXES_FORMAT = "cellscan-boxes-1"
Frame = Literal["lps_mm", "ras_mm", "px"]


@dataclass(frozen=True, eq=False)
class BoxedScan:
    """The boxes of one scan: ``centres`` ``(n, d)`` in ``frame``, ``sizes`` ``(n, d)`` along the array axes."""

    key: dict[str, str]
    frame: Frame
    centres: Points
    sizes: Points
    labels: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        objects = [
            {"label": label, "centre": _rounded(centre), "size": _rounded(size), "axes": "array"}
            for label, centre, size in zip(self.labels, self.centres, self.sizes, strict=True)
        ]
        return {**self.key, "frame": self.frame, "objects": objects}


@dataclass(frozen=True)
class IndexRow:
    """One image of ``index.csv``."""

    file: str
    patient_id: str
    split: Subset
    stain: str = ""


def write_boxes(path: Path, scans: Iterable[BoxedScan]) -> None:
    """``boxes.json``, one object a line."""
    lines = ",\n".join(_scan_text(scan.to_json()) for scan in scans)
    path.write_text(f'{{"format": "{BOXES_FORMAT}", "scans": [\n{lines}\n]}}\n')


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file with one header line."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def centre_rows(image_id: str, centres: Points, labels: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Rows of ``centres.csv`` from continuous pixel indices ``(n, 2)``: the file counts from the first pixel's edge."""
    edges = centres + 0.5
    return [(image_id, f"{x:.2f}", f"{y:.2f}", label) for (x, y), label in zip(edges, labels, strict=True)]


def _scan_text(scan: dict[str, Any]) -> str:
    head = json.dumps({key: value for key, value in scan.items() if key != "objects"})
    objects = ",\n  ".join(json.dumps(item) for item in scan["objects"])
    return f'{head[:-1]}, "objects": [{objects}]}}'


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
