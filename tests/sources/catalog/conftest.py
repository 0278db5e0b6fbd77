"""The same tests on both databases: SQLite, and a PostgreSQL cluster that is thrown away afterwards."""

from collections.abc import Iterator

import pytest

from pipeline.sources.catalog import Catalog
from tests.sources.catalog.databases import BACK_ENDS, empty_database


@pytest.fixture(params=BACK_ENDS)
def url(request, tmp_path) -> Iterator[str]:
    with empty_database(request, tmp_path) as address:
        yield address


@pytest.fixture
def catalog(url) -> Iterator[Catalog]:
    opened = Catalog(url)
    yield opened
    opened.close()
