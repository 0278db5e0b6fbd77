"""Both kinds of database, empty."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sql

BACK_ENDS = ["sqlite", "postgresql"]


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The URL of a database without tables; ``request.param`` is one of `BACK_ENDS`."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'catalog.db'}"
        return
    url = f"{request.getfixturevalue('cluster')}/postgres"
    yield url
    engine = sql.create_engine(url, poolclass=sql.NullPool)
    with engine.begin() as connection:
        connection.execute(sql.text("DROP SCHEMA public CASCADE"))
        connection.execute(sql.text("CREATE SCHEMA public"))
