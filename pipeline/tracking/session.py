"""Open the tracking store: once for all processes, quietly, and with dead runs put away."""

import logging
import os
import sqlite3
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import mlflow.exceptions
from filelock import FileLock
from mlflow import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import TrackingError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.tracking.asking import first_line
from pipeline.tracking.reaper import end_dead_runs

_LOCK_SECONDS = 300
_SERVER_SECONDS = 10
_opened: set[tuple[str, int]] = set()  # address and process: a forked child opens its own


def prepare(settings: Settings, progress: Progress | None = None) -> None:
    """Make the tracking store ready for this process; a second call costs nothing.

    A SQLite database that does not exist yet is built beside its place and renamed into it, by one process while
    the others wait: MLflow's own first opening fails when several processes do it at once, and leaves half a
    database when it is killed. Runs that are RUNNING although their process on this host is gone become KILLED.

    Raises:
        TrackingError: the address is a folder or in-memory database, the server does not answer, or the database
            has another version's tables.
    """
    _open(settings.tracking_uri, settings.artifacts, settings.home, progress)


def connect(settings: Settings) -> MlflowClient:
    """A client of the prepared store. Nothing global is set, so two settings can live in one process."""
    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def artifact_root(settings: Settings) -> Path | None:
    """Where artifacts go when cellscan decides it: not with a tracking server, which has its own place."""
    return None if _is_server(settings.tracking_uri) else settings.artifacts


def address(settings: Settings) -> str:
    """What to tell the user about where runs are to be seen."""
    uri = settings.tracking_uri
    return uri if _is_server(uri) else f"mlflow ui --backend-store-uri {uri}"


def _open(uri: str, artifacts: Path, home: Path, progress: Progress | None) -> None:
    key = (uri, os.getpid())
    if key in _opened:
        return
    _quiet()
    scheme = urlsplit(uri).scheme
    if scheme in ("", "file"):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI is {uri!r}, a folder, which MLflow 3 refuses; "
            "use sqlite:////path/to/mlflow.db or the http address of a server"
        )
    if _is_server(uri):
        _check_server(uri)
    elif scheme.startswith("sqlite"):
        _create_sqlite(_sqlite_path(uri), artifacts, progress)
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / "mlflow-opening.lock", timeout=_LOCK_SECONDS):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            end_dead_runs(client)
    except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
        raise TrackingError(f"the MLflow store at {_shown(uri)} cannot be opened: {first_line(error)}") from error
    _opened.add(key)


def _create_sqlite(path: Path, artifacts: Path, progress: Progress | None) -> None:
    if path.exists() and path.stat().st_size > 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock"), timeout=_LOCK_SECONDS):
        if path.exists() and path.stat().st_size > 0:
            return
        what = "preparing the MLflow database (once, some seconds)"
        if progress:
            progress(0, 1, what)
        _build_and_rename(path, artifacts)
        if progress:
            progress(1, 1, what)


def _build_and_rename(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    store = SqlAlchemyStore(f"sqlite:///{fresh}", artifacts.as_uri())
    store.engine.dispose()
    # Readers then do not block the writer (Prefect's workers log while the page is open).
    connection = sqlite3.connect(fresh)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    fresh.replace(path)


def _check_server(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_SERVER_SECONDS):
            return
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise TrackingError(
            f"no MLflow server answers at {_shown(uri)} ({error}); start it, or unset MLFLOW_TRACKING_URI "
            "to keep runs in the home folder"
        ) from error


def _is_server(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def _sqlite_path(uri: str) -> Path:
    name = uri.partition(":///")[2]
    if not name or name == ":memory:":
        raise TrackingError(f"MLFLOW_TRACKING_URI is {uri!r}: a database in memory is lost; name a file")
    return Path(name)


def _shown(uri: str) -> str:
    """The address without a password."""
    parts = urlsplit(uri)
    return uri if parts.password is None else uri.replace(f":{parts.password}@", ":***@")


@lru_cache(maxsize=1)
def _quiet() -> None:
    for name in ("mlflow", "alembic", "sqlalchemy.engine"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It prints a traceback of what it then raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # Every artifact folder would otherwise draw its own bar over ours.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
