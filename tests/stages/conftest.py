import sqlite3

import pytest

from pipeline.settings import Settings
from pipeline.tracking.session import prepare


def _settings_in(home):
    return Settings(home, home, "cpu", f"sqlite:///{home / 'catalog.db'}", f"sqlite:///{home / 'mlflow.db'}", None)


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A prepared MLflow database to copy: its migrations take seconds."""
    home = tmp_path_factory.mktemp("store")
    prepare(_settings_in(home))
    return home / "mlflow.db"


@pytest.fixture
def tracked(tmp_path, tables):
    """Settings whose MLflow store is there and empty."""
    home = tmp_path / "tracked"
    home.mkdir()
    source, copy = sqlite3.connect(tables), sqlite3.connect(home / "mlflow.db")
    source.backup(copy)
    source.close()
    copy.close()
    settings = _settings_in(home)
    prepare(settings)
    return settings
