"""MLflow stores for tests: prepared once and copied, since their migrations take seconds."""

import sqlite3
from pathlib import Path

from pipeline.settings import Settings


def settings_in(home: Path) -> Settings:
    """A home of its own for everything."""
    return Settings(home, home, "cpu", f"sqlite:///{home / 'catalog.db'}", f"sqlite:///{home / 'mlflow.db'}", None)


def copy_store(empty_store: Path, home: Path) -> Settings:
    """The settings of ``home``, whose store is there and empty."""
    home.mkdir(parents=True, exist_ok=True)
    source, copy = sqlite3.connect(empty_store), sqlite3.connect(home / "mlflow.db")
    copy.execute("PRAGMA synchronous=OFF")
    source.backup(copy)
    source.close()
    copy.close()
    return settings_in(home)
