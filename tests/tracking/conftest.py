import sqlite3
from pathlib import Path

import pytest

from pipeline.settings import Settings
from pipeline.tracking.session import prepare


def _settings_in(home: Path) -> Settings:
    return Settings(home, home, "cpu", f"sqlite:///{home / 'catalog.db'}", f"sqlite:///{home / 'mlflow.db'}", None)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A prepared MLflow database to copy: its migrations take seconds."""
    home = tmp_path_factory.mktemp("store")
    prepare(_settings_in(home))
    return home / "mlflow.db"


@pytest.fixture
def settings(tmp_path, empty_store):
    home = tmp_path / "home"
    home.mkdir()
    return _with_store(home, empty_store)


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory, empty_store):
    """One store for all tests of a module that only read it."""
    return _with_store(tmp_path_factory.mktemp("home"), empty_store)


def _with_store(home: Path, empty_store: Path) -> Settings:
    source, copy = sqlite3.connect(empty_store), sqlite3.connect(home / "mlflow.db")
    source.backup(copy)
    source.close()
    copy.close()
    return _settings_in(home)


@pytest.fixture
def unopened(tmp_path):
    """Settings whose store nobody has opened yet."""
    return _settings_in(tmp_path)


@pytest.fixture
def bundle_folder(tmp_path):
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(bytes(range(256)))
    (folder / "bundle.json").write_text("{}")
    return folder
