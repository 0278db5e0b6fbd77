"""Pictures of a version: its figures, what its network sees, and how steady it is."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation import Evaluation
from pipeline.evaluation.pooled import Pooled
from pipeline.explanation.features import SeenWindow
from pipeline.reporting.confusion_figure import confusion_png
from pipeline.reporting.display import flips
from pipeline.reporting.features import feature_maps
from pipeline.reporting.figures import save_figures
from pipeline.reporting.forest import strata_png
from pipeline.reporting.group_figure import group_png


def features_png(seen: SeenWindow) -> bytes:
    """The stages of a window, each with its stride and its receptive field, as PNG; slices as radiologists see them."""
    turned = (slice(None), *(slice(None, None, -1 if backwards else 1) for backwards in flips(seen.grid)))
    maps = {stage.caption: stage.maps[turned] for stage in seen.stages}
    fields = {stage.caption: stage.receptive_field[:2] for stage in seen.stages}
    return feature_maps(maps, seen.image[turned], fields)


def metrics_picture(evaluation: Evaluation) -> bytes:
    """Every figure with its interval, as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        return save_figures(evaluation, Path(folder))[0].read_bytes()


def evaluation_pictures(evaluation: Evaluation) -> dict[str, bytes]:
    """PNG by name: ``strata`` and ``confusion``, where the evaluation has them."""
    one = evaluation
    pictures = {"strata": strata_png(one.version, one.primary, one.metrics, one.strata, one.strata_counts)}
    if one.confusion is not None:
        pictures["confusion"] = confusion_png(f"{one.version} at score {one.threshold:.2f}", one.confusion)
    return {name: png for name, png in pictures.items() if png is not None}


def group_pictures(title: str, pooled: Pooled, children: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """PNG by name: ``children``, every version beside the pooled figures, and ``strata`` where there are any."""
    pictures = {
        "children": group_png(title, pooled.metrics, children),
        "strata": strata_png(title, pooled.primary, pooled.metrics, pooled.strata, pooled.strata_counts),
    }
    return {name: png for name, png in pictures.items() if png is not None}


def known(value: object) -> object:
    """The value as JSON takes it, which has no NaN: a figure that does not exist is null."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [known(one) for one in value]
    if isinstance(value, dict):
        return {name: known(one) for name, one in value.items()}
    return None if isinstance(value, float) and value != value else value
