"""Tests run with the array vocabulary checked: a wrong shape or axis fails where it enters, not where it hurts."""

import os

# Before torch is imported: on tensors as small as here a second thread costs more than it gives, waits for its turn
# on a busy machine, and rounds in another order. Programs that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sqlite3
from contextlib import suppress

import pytest
from jaxtyping import install_import_hook
from sqlalchemy import event
from sqlalchemy.pool import Pool

_CHECKED = ["pipeline.geometry", "pipeline.detections", "pipeline.inference.suppression", "pipeline.datasets.cases"]

install_import_hook(_CHECKED, "beartype.beartype")

pytest_plugins = ["tests.postgresql"]


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits_for_the_disk():
    """No test pulls the plug, and what a killed process wrote is there without it: thousands of waits are minutes."""

    def off(connection, _record, _proxy):
        if isinstance(connection, sqlite3.Connection):
            with suppress(sqlite3.Error):  # of a file that is no database, or is locked: the test's own query tells
                connection.execute("PRAGMA synchronous=OFF")

    event.listen(Pool, "checkout", off)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
    event.remove(Pool, "checkout", off)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A prepared MLflow database for `tests.stores.copy_store`."""
    from pipeline.tracking.session import prepare
    from tests.stores import settings_in

    settings = settings_in(tmp_path_factory.mktemp("store"))
    prepare(settings)
    return settings.home / "mlflow.db"
