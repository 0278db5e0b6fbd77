"""Everything that flows need around them: a Prefect server, and a screen that stays clean.

``with prefect_session(settings) as address:`` before the flows are imported, so that the server starts while Prefect
is being imported.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock

from flows.surroundings import reporting_to
from pipeline.errors import TrackingError
from pipeline.progress import Progress
from pipeline.settings import Settings

_START_SECONDS = 180
_STOP_SECONDS = 15
_WHAT = "starting Prefect"


@contextmanager
def prefect_session(
    settings: Settings, progress: Progress | None = None, quiet: bool = True, schedules: bool = False
) -> Iterator[str]:
    """Flows inside the block run against the server whose API address is given.

    With ``settings.prefect_api_url`` that is the user's server. Without, one is started on a free port of
    127.0.0.1, in a process group of its own, with its database and log in ``<home>/prefect``, and is always stopped.

    Args:
        settings: where things are.
        progress: called while the server starts, and by the work inside the block.
        quiet: nothing that Prefect logs reaches the screen; its pages still show it.
        schedules: a server of our own also starts what is scheduled and shows its pages, which takes it longer.

    Raises:
        TrackingError: the user's server does not answer, or ours did not come up; the message names its log.
    """
    if quiet:
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    with ExitStack() as stack:
        stack.enter_context(_environment(**_no_proxy_here()))
        if settings.prefect_api_url:
            address = settings.prefect_api_url
            _check(address)
        else:
            address = stack.enter_context(_own_server(settings.home / "prefect", progress, schedules))
        stack.enter_context(_talk_to(address, quiet))
        stack.enter_context(reporting_to(progress))
        yield address


def pages(settings: Settings) -> str:
    """How to look at the runs afterwards."""
    if settings.prefect_api_url:
        return settings.prefect_api_url.removesuffix("/api")
    return f"PREFECT_HOME={settings.home / 'prefect'} prefect server start"


@contextmanager
def _own_server(home: Path, progress: Progress | None, schedules: bool) -> Iterator[str]:
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    address = f"http://127.0.0.1:{port}/api"
    log = home / "server.log"
    # The first start builds the database; two at once would build it twice.
    with FileLock(home / "start.lock", timeout=_START_SECONDS), _environment(PREFECT_HOME=str(home)):
        server = _start(port, log, schedules)
        try:
            import prefect  # noqa: F401 - takes seconds, which the server needs as well

            _wait(server, address, log, progress)
        except BaseException:
            _stop(server)
            raise
    try:
        yield address
    finally:
        _stop(server)


def _start(port: int, log: Path, schedules: bool) -> subprocess.Popen[bytes]:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{log.parent / 'prefect.db'}",
        "PREFECT__SERVER_FINAL": "1",
    }
    if not schedules:
        environment["PREFECT__SERVER_EPHEMERAL"] = "1"
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(port)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait(server: subprocess.Popen[bytes], address: str, log: Path, progress: Progress | None) -> None:
    began = time.monotonic()
    while not _answers(address):
        waited = time.monotonic() - began
        if progress:
            progress(0, 1, f"{_WHAT} ({waited:.0f} s)")
        if server.poll() is not None or waited > _START_SECONDS:
            why = "ended" if server.poll() is not None else f"did not answer in {_START_SECONDS} s"
            raise TrackingError(f"Prefect's server {why}; its last words are in {log}:\n{_last_lines(log)}")
        time.sleep(0.2)
    if progress:
        progress(1, 1, _WHAT)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """The server ends by itself when its standard input closes; if it does not, it is ended."""
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@contextmanager
def _talk_to(address: str, quiet: bool) -> Iterator[None]:
    from prefect import tags
    from prefect.logging.configuration import setup_logging
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings

    from flows.best_effort import best_effort
    from flows.reaper import crash_dead_runs, drain, process_tags

    updates = {PREFECT_API_URL: address, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}
    with temporary_settings(updates=updates):
        if quiet:
            setup_logging(incremental=True)
        best_effort(crash_dead_runs)
        with tags(*process_tags()):
            try:
                yield
            finally:
                best_effort(drain)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _no_proxy_here() -> dict[str, str]:
    """A proxy knows no server of this machine; urllib, httpx and websockets all heed these names."""
    known = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    here = known if known == "*" else ",".join(filter(None, [known, "127.0.0.1", "localhost"]))
    return {"no_proxy": here, "NO_PROXY": here}


def _check(address: str) -> None:
    if not _answers(address, seconds=10):
        raise TrackingError(
            f"no Prefect server answers at {address}; start it, or unset PREFECT_API_URL to have one started"
        )


def _answers(address: str, seconds: float = 2) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=seconds) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
