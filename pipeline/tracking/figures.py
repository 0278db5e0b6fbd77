"""What figures are called in MLflow: the same on runs, on model versions and in every search.

``f1``, ``f1_lower``, ``f1_upper``; in a part of the test set ``strata.size.small.f1``; of a comparison
``difference_f1``, ``p_f1``, ``detectable_f1`` and ``difference_strata.size.small.f1``, ``p_strata.size.small.f1``,
``p_adjusted_strata.size.small.f1``. A group of folds and seeds has ``f1`` and its interval over all of them, and
``f1_fold_mean f1_fold_sd f1_fold_min f1_fold_max`` over its folds, ``f1_seed_…`` over its seeds. A transfer curve has
``scratch_f1``, ``transferred_f1`` and ``gain_f1`` with their intervals, at the number of training patients as step; and
``needed_data``, ``needed_steps`` with ``_lower`` and ``_upper``, which are left out where the quality is not reached.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.evaluation.learning_curve import LearningCurve
    from pipeline.evaluation.pooled import Pooled
    from pipeline.evaluation.records import Comparison, Estimate, Evaluation


def metric_name(name: str) -> str:
    """The name with what MLflow does not allow replaced by ``_``."""
    return re.sub(r"[^\w.\-/ ]", "_", name)


def stratum_metric(variable: str, level: str, metric: str) -> str:
    """``strata.size.small.f1``; a ``/`` in a level would be a folder to MLflow."""
    return metric_name(f"strata.{variable}.{level}.{metric}".replace("/", "_"))


def evaluation_figures(evaluation: "Evaluation") -> dict[str, float]:
    """Every figure with its interval, over all and in each stratum, and the threshold."""
    return {"threshold": evaluation.threshold, **_estimates(evaluation.metrics, evaluation.strata)}


def pooled_figures(pooled: "Pooled") -> dict[str, float]:
    """Every pooled figure with its interval, over all and in each stratum, and how the trainings differ."""
    figures = _estimates(pooled.metrics, pooled.strata)
    for over, spreads in pooled.spreads.items():
        for name, one in spreads.items():
            told = {"mean": one.mean, "sd": one.sd, "min": one.least, "max": one.greatest}
            figures |= {f"{name}_{over}_{what}": value for what, value in told.items()}
    return figures


def curve_figures(curve: "LearningCurve") -> list[dict[str, float]]:
    """For each share of the data, the smallest first: the figure of both ways in, and what transfer gains."""
    return [
        {
            **{
                key: value
                for way, points in curve.curves.items()
                for key, value in _with_interval(f"{way}_{curve.primary}", points[place].figure).items()
            },
            **_with_interval(f"gain_{curve.primary}", gain),
        }
        for place, gain in enumerate(curve.gains)
    ]


def needed_figures(curve: "LearningCurve") -> dict[str, float]:
    """What the transferred detector needs to be as good as scratch with everything; infinite ends are left out."""
    needed = {"needed_data": curve.needed_data, "needed_steps": curve.needed_steps}
    ends = {
        f"{name}{end}": value
        for name, one in needed.items()
        for end, value in (("", one.share), ("_lower", one.lower), ("_upper", one.upper))
    }
    return {name: value for name, value in ends.items() if math.isfinite(value)}


def comparison_figures(comparison: "Comparison") -> dict[str, float]:
    """Every difference with its interval and p value, over all and in each stratum."""
    figures: dict[str, float] = {}
    for name, estimate in comparison.differences.items():
        figures |= _with_interval(f"difference_{name}", estimate)
    figures |= {f"p_{name}": value for name, value in comparison.p_values.items()}
    figures |= {f"detectable_{name}": value for name, value in comparison.detectable.items()}
    for variable, levels in comparison.strata.items():
        for level, found in levels.items():
            name = stratum_metric(variable, level, found.metric)
            figures |= _with_interval(f"difference_{name}", found.difference)
            figures |= {f"p_{name}": found.p, f"p_adjusted_{name}": found.p_adjusted}
    return figures


def _estimates(
    metrics: Mapping[str, "Estimate"], strata: Mapping[str, Mapping[str, Mapping[str, "Estimate"]]]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, estimate in metrics.items():
        figures |= _with_interval(name, estimate)
    for variable, levels in strata.items():
        for level, own in levels.items():
            for name, estimate in own.items():
                figures |= _with_interval(stratum_metric(variable, level, name), estimate)
    return figures


def _with_interval(name: str, estimate: "Estimate") -> dict[str, float]:
    return {name: estimate.value, f"{name}_lower": estimate.lower, f"{name}_upper": estimate.upper}
