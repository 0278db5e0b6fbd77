import subprocess
import sys

import pytest
import sqlalchemy as sql

from pipeline.errors import ConfigError
from pipeline.inference.ledger import Ledger
from pipeline.sources.catalog import Catalog, open_engine
from pipeline.sources.catalog.tables import SCHEMA
from tests.sources.catalog.rows import a_file

_OLD_LAYOUT = (
    "CREATE TABLE file (path TEXT PRIMARY KEY, size BIGINT, mtime_ns BIGINT, reader INTEGER, kind VARCHAR(16), "
    "outcome VARCHAR(16), reason TEXT, volume_id VARCHAR(64), series VARCHAR(64), annotated_by TEXT)",
    "CREATE INDEX ix_file_volume_id ON file (volume_id)",
    "INSERT INTO file VALUES ('/d/1', 1, 1, 1, 'image', 'ingested', '', 'v', NULL, NULL)",
    "CREATE TABLE volume (volume_id VARCHAR(64) PRIMARY KEY, store TEXT)",
)


def _run(url: str, *statements: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sql.text(statement))
    engine.dispose()


def _save_one(url: str, path: str) -> list[str]:
    catalog = Catalog(url)
    catalog.save([a_file(path)])
    paths = list(catalog.records())
    catalog.close()
    return paths


def test_tables_of_the_first_layout_are_replaced_and_those_of_others_stay(url, tmp_path):
    _run(url, *_OLD_LAYOUT)
    ledger = Ledger(url, "lesions/1", "", tmp_path)
    ledger.enter(["v"])
    assert _save_one(url, "/d/2") == ["/d/2"]
    assert set(ledger.rows(["v"])) == {"v"}
    ledger.close()


def test_tables_of_an_earlier_version_are_replaced(url):
    _save_one(url, "/d/1")
    _run(url, "UPDATE catalog_schema SET version = 1")
    assert _save_one(url, "/d/2") == ["/d/2"]


def test_tables_of_a_newer_release_are_refused_and_left_as_they_are(url):
    _save_one(url, "/d/1")
    _run(url, "UPDATE catalog_schema SET version = 99")
    with pytest.raises(ConfigError, match=r"newer cellscan \(its tables are of version 99.*upgrade cellscan, or name"):
        Catalog(url)
    _run(url, f"UPDATE catalog_schema SET version = {SCHEMA}")
    assert _save_one(url, "/d/2") == ["/d/1", "/d/2"]


def test_a_table_of_another_program_is_refused(url):
    _run(url, "CREATE TABLE series (name TEXT)")
    with pytest.raises(ConfigError, match="already holds a table 'series' that is not cellscan's"):
        Catalog(url)


def test_opening_again_keeps_the_rows(url):
    _save_one(url, "/d/1")
    assert _save_one(url, "/d/2") == ["/d/1", "/d/2"]


def test_several_processes_may_open_a_fresh_catalog_at_once(url):
    program = (
        "import sys\n"
        "from pipeline.sources.catalog import Catalog, FileRecord\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "catalog = Catalog(sys.argv[1])\n"
        "catalog.save([FileRecord(sys.argv[2], 1, 1, '1', 'other', 'ignored')])\n"
        "catalog.close()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([sys.executable, "-c", program, url, f"/d/{n}"], **pipes) for n in range(3)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0] * 3
    assert _save_one(url, "/d/3") == [f"/d/{n}" for n in range(4)]


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match="needs the package psycopg: pip install psycopg"):
        open_engine("postgresql://nobody@localhost/none")
