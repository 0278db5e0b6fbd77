"""What one image adds to the archive's annotation files."""

from dataclasses import dataclass

from pipeline.sample.annotations import BoxedScan, IndexRow


@dataclass(frozen=True)
class Contribution:
    """Rows for ``boxes.json``, ``centres.csv``, ``label_classes.csv`` and ``index.csv``, and how much was planted."""

    index: IndexRow
    boxes: BoxedScan | None = None
    centres: tuple[tuple[str, ...], ...] = ()
    label_classes: tuple[tuple[str, ...], ...] = ()
    lesions: int = 0
    cells: int = 0


def label_class_rows(image_id: str, values: list[int], labels: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple((image_id, str(value), label) for value, label in zip(values, labels, strict=True))
