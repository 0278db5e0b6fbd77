"""What is worth trying again: a server that did not answer. A bad scan or configuration stays bad."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from pipeline.errors import TrackingError

P = ParamSpec("P")
R = TypeVar("R")
_DELAYS_SECONDS = [5.0, 30.0]


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the same work may succeed a little later."""
    error = state.result(raise_on_failure=False)
    if not isinstance(error, TrackingError):
        return False
    from pipeline.tracking import asking

    return asking.may_pass(error)


def stage(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """One step of the way. Every stage keeps its own account of what is done, so Prefect is not to cache anything."""
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)


def tracked_stage(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A step that talks to the tracking server, and is tried again when that did not answer."""
    return task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(_DELAYS_SECONDS),
        retry_delay_seconds=_DELAYS_SECONDS,
        retry_condition_fn=may_pass,
    )
