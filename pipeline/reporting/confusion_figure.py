"""Which class was taken for which, as a picture for the tracking page."""

import numpy as np
import pandas as pd

from pipeline.reporting.drawing import blank, plain, png

_CELL = 0.75


def confusion_png(title: str, confusion: pd.DataFrame) -> bytes:
    """Annotated classes down, detected ones across, with counts; shaded by each cell's share of its row."""
    counts = confusion.to_numpy(dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = blank(3.2 + _CELL * len(confusion.columns), 1.8 + 0.6 * _CELL * len(confusion.index))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, own in enumerate(counts):
        for column, count in enumerate(own):
            shade = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=shade, fontsize=9)
    axes.set_xticks(range(len(confusion.columns)), [plain(str(name)) for name in confusion.columns], fontsize=8)
    axes.tick_params(axis="x", rotation=30)
    axes.set_yticks(range(len(confusion.index)), [plain(str(name)) for name in confusion.index], fontsize=8)
    axes.set_xlabel("detected as")
    axes.set_ylabel("annotated as")
    axes.set_title(plain(title), loc="left", fontsize=10)
    return png(figure)
