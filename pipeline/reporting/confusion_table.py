"""Which class was taken for which, as a table whose cells are tinted by their share of the row."""

from dataclasses import dataclass

from pipeline.evaluation import Evaluation
from pipeline.reporting.naming import counted, short_name

# Tints in the style sheet: none, then six of growing strength.
_TINTS = 6


@dataclass(frozen=True)
class ConfusionCell:
    """``right``: the diagonal. ``tint`` is 0 … 6 by the share of the row."""

    count: int
    share: str
    tint: int
    right: bool


@dataclass(frozen=True)
class ConfusionRow:
    name: str
    holds: str
    cells: list[ConfusionCell]


@dataclass(frozen=True)
class ConfusionTable:
    version: str
    caption: str
    columns: list[str]
    rows: list[ConfusionRow]


def confusion_table(task: str, evaluation: Evaluation) -> ConfusionTable | None:
    """Annotated classes down, detected ones across, counts at the version's threshold; ``None`` with one class."""
    table = evaluation.confusion
    if table is None or not len(table):
        return None
    version = short_name(task, evaluation.version)
    columns = [str(column) for column in table.columns]
    rows = []
    for position, (name, counts) in enumerate(zip(table.index, table.to_numpy().tolist(), strict=True), start=1):
        held = counted(sum(counts), "object" if position < len(table) else "detection")
        rows.append(ConfusionRow(str(name), held, _cells(str(name), columns, counts)))
    caption = (
        f"{version[:1].upper()}{version[1:]} at its threshold of {evaluation.threshold:.2f}: annotated classes down, "
        "detected classes across. Percentages are of the row; the tint is stronger for more of it. The last row holds "
        "false detections, the last column objects that were not found."
    )
    return ConfusionTable(version, caption, columns, rows)


def _cells(name: str, columns: list[str], counts: list[int]) -> list[ConfusionCell]:
    total = sum(counts)
    return [
        ConfusionCell(
            count=count,
            share=f"{count / total:.0%}" if total else "",
            tint=round(_TINTS * count / total) if total else 0,
            right=column == name,
        )
        for column, count in zip(columns, counts, strict=True)
    ]
