"""Questions about many runs, each one search of MLflow's own."""

import math
import time
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.errors import ModelError, TrackingError
from pipeline.settings import Settings
from pipeline.tracking.asking import asking, everything
from pipeline.tracking.history import CHAMPION, alias_holder
from pipeline.tracking.run import TEST_SET_TAG
from pipeline.tracking.session import connect, prepare

_DAY_MS = 24 * 60 * 60 * 1000
_PAGE = 1000


@dataclass(frozen=True)
class BetterRun:
    """``version`` is the model version that the run made or evaluated; ``value`` its figure, to beat ``champion``'s.

    ``lower`` and ``upper`` are the interval of ``value`` alone, not of the difference; NaN where there is none.
    """

    run_id: str
    version: str
    value: float
    champion: float
    lower: float = math.nan
    upper: float = math.nan


@dataclass(frozen=True)
class Better:
    """What `better_than_champion` found: ``runs``, the best first, against ``champion`` (``name/3``) and its figure."""

    metric: str
    champion: str
    value: float
    lower: float
    upper: float
    test_set: str
    runs: tuple[BetterRun, ...]


def better_than_champion(settings: Settings, name: str, metric: str, days: float = 30) -> Better:
    """Runs of the last ``days`` whose figure is above the champion's on the champion's test set, the best first.

    A higher figure is not yet a difference that was shown: that is for `pipeline.stages.compare`.

    Args:
        settings: where the store is.
        name: the registered model, whose runs are in the experiment of the same name.
        metric: as in MLflow, e.g. ``f1`` or ``strata.size.small.recall`` (see `pipeline.tracking.figures`).
        days: how far back.

    Raises:
        ModelError: there is no champion, or its run has no such figure; the message names those that it has.
        TrackingError: MLflow did not do as asked.
    """
    prepare(settings)
    client = connect(settings)
    with asking(f"for runs of {name!r} that beat its champion"):
        champion, run = _run_of_champion(client, name)
        value = run.data.metrics.get(metric)
        if value is None:
            raise ModelError(f"the run of {name}@{CHAMPION} has no {metric!r}; it has {', '.join(_names(run))}")
        wanted = better_filter(metric, value, run.data.tags[TEST_SET_TAG], days)
        order = [f"metrics.`{metric}` DESC"]
        found = everything(
            lambda token: client.search_runs(
                [run.info.experiment_id], wanted, max_results=_PAGE, order_by=order, page_token=token
            )
        )
    runs = (
        BetterRun(
            one.info.run_id,
            one.data.tags.get("cellscan.model", ""),
            one.data.metrics[metric],
            value,
            *_interval(one, metric),
        )
        for one in found
    )
    return Better(metric, champion, value, *_interval(run, metric), run.data.tags[TEST_SET_TAG], tuple(runs))


def better_filter(metric: str, value: float, test_set: str, days: float) -> str:
    """The search itself: it works as it is on MLflow's page and in ``mlflow.search_runs``."""
    since = int(time.time() * 1000 - days * _DAY_MS)
    # repr: all digits, so that the champion is not found to beat itself.
    return (
        f"metrics.`{metric}` > {value!r} and tags.`{TEST_SET_TAG}` = '{test_set}' and attributes.start_time > {since}"
    )


def _interval(run: Run, metric: str) -> tuple[float, float]:
    lower, upper = (run.data.metrics.get(f"{metric}_{end}", math.nan) for end in ("lower", "upper"))
    return lower, upper


def _run_of_champion(client: MlflowClient, name: str) -> tuple[str, Run]:
    holder = alias_holder(client, name)
    if holder is None:
        raise ModelError(f"{name!r} has no champion to beat (cellscan promote makes one)")
    run = client.get_run(str(client.get_model_version(name, holder).run_id))
    if TEST_SET_TAG not in run.data.tags:
        raise TrackingError(f"the run of {name}/{holder} does not name its test set; train and promote a version anew")
    return f"{name}/{holder}", run


def _names(run: Run) -> list[str]:
    return sorted(name for name in run.data.metrics if not name.endswith(("_lower", "_upper")))
