"""Flow runs whose process is gone are not running."""

import inspect

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.states import Crashed
from prefect.utilities.asyncutils import run_coro_as_sync

from pipeline.process import is_alive, machine, this_process

_MACHINE, _PROCESS = "machine:", "process:"
_PAGE = 200


def process_tags() -> tuple[str, str]:
    """Tags that say that this process runs a flow."""
    return f"{_MACHINE}{machine()}", f"{_PROCESS}{this_process()}"


def crash_dead_runs() -> int:
    """Mark runs as crashed that a killed process of this machine left running; how many there were."""
    with get_client(sync_client=True) as client:
        dead = [run for run in _running_here(client) if not _is_alive(run)]
        for run in dead:
            state: State = Crashed(message="its process ended without a word; started again, the work continues")
            client.set_flow_run_state(run.id, state, force=True)
    return len(dead)


def drain() -> None:
    """Send what Prefect still has to say, while there is somebody to hear it."""
    run_coro_as_sync(_drain())


async def _drain() -> None:
    for worker in (lambda: APILogWorker.instance().drain(), EventsWorker.drain_all):
        answer = worker()
        if inspect.isawaitable(answer):
            await answer


def _running_here(client: SyncPrefectClient) -> list[FlowRun]:
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[f"{_MACHINE}{machine()}"]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])),
    )
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.START_TIME_DESC, limit=_PAGE, offset=len(found)
        )
        found.extend(page)
        if len(page) < _PAGE:
            return found


def _is_alive(run: FlowRun) -> bool:
    return any(is_alive(tag.removeprefix(_PROCESS)) for tag in run.tags if tag.startswith(_PROCESS))
