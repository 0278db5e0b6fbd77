"""The database is away for a moment while a worker asks it something."""

import threading

import pytest
import sqlalchemy as sql
from sqlalchemy.exc import OperationalError, ProgrammingError

from pipeline.inference.ledger import Ledger
from pipeline.sources.catalog import away
from pipeline.sources.catalog.engine import open_engine
from tests.sources.catalog.databases import empty_database

MODEL, CONFIG = "lesions/3-89abcdef", "0123456789abcdef"
VOLUMES = ["a", "b"]


@pytest.fixture(params=["postgresql"])
def url(request, tmp_path):
    with empty_database(request, tmp_path) as address:
        yield address


@pytest.fixture
def ledger(url, tmp_path):
    with Ledger(url, MODEL, CONFIG, tmp_path / "results") as ledger:
        ledger.enter(VOLUMES)
        yield ledger


@pytest.fixture
def pauses(monkeypatch):
    """How often it was waited for the database."""
    counted, sleep = [], away.time.sleep
    monkeypatch.setattr(away.time, "sleep", lambda seconds: (counted.append(seconds), sleep(seconds)))
    return counted


@pytest.fixture(params=["before", "after"])
def lose_commit(ledger, request, monkeypatch):
    """The next commit is lost, or its answer is."""
    psycopg = pytest.importorskip("psycopg")
    dialect = ledger._engine.dialect
    commit = dialect.do_commit

    def lost(connection):
        monkeypatch.undo()
        if request.param == "after":
            commit(connection)
        connection.driver_connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    return lambda: monkeypatch.setattr(dialect, "do_commit", lost)


def row(ledger, volume_id="a"):
    return ledger.rows([volume_id])[volume_id]


def test_a_claim_is_given_once_though_its_commit_or_answer_was_lost(ledger, lose_commit):
    began = ledger.time()
    lose_commit()
    (claim,) = ledger.claim(["a"], began)
    assert ledger.claim(["a"], began) == []
    assert ledger.open(["a"], began).count == 0
    assert claim.failures == 0
    claim.part.write_bytes(b"result")
    assert claim.finish(6)
    assert (row(ledger).state, row(ledger).failures) == ("done", 0)


def test_a_result_counts_once_though_its_commit_or_answer_was_lost(ledger, lose_commit):
    (claim,) = ledger.claim(["a"], ledger.time())
    claim.part.write_bytes(b"result")
    lose_commit()
    assert claim.finish(6, windows=2)
    done = row(ledger)
    assert (done.state, done.detections, done.windows, done.attempts) == ("done", 6, 2, 1)
    assert done.result.read_bytes() == b"result"
    assert not claim.part.exists()


def test_a_failure_counts_once_though_its_commit_or_answer_was_lost(ledger, lose_commit):
    (claim,) = ledger.claim(["a"], ledger.time())
    lose_commit()
    claim.give_back("no memory")
    assert (row(ledger).state, row(ledger).failures) == ("pending", 1)


def test_volumes_are_entered_and_runs_cancelled_though_a_commit_or_answer_was_lost(ledger, lose_commit):
    lose_commit()
    ledger.enter(["c"])
    assert row(ledger, "c").state == "pending"
    lose_commit()
    ledger.cancel("run")
    assert ledger.is_cancelled("run")


def test_a_server_that_takes_no_connections_is_waited_for(url, ledger, pauses, caplog):
    server = open_engine(str(sql.make_url(url).set(database="template1")))
    name = sql.make_url(url).database

    def admit(allowed):
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}')
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.exec_driver_sql(others, (name,))

    admit(False)
    back = threading.Timer(0.5, admit, [True])
    back.start()
    (claim,) = ledger.claim(["a"], 0.0)
    back.join()
    server.dispose()
    assert claim.volume_id == "a"
    assert pauses
    assert [one.message for one in caplog.records] == ["the database does not answer; it is asked again for 60 seconds"]


def test_a_worker_begins_though_the_first_connection_is_lost_and_ends_though_the_last_is(
    url, tmp_path, pauses, monkeypatch
):
    psycopg = pytest.importorskip("psycopg")
    connect, lost = psycopg.connect, [True]

    def once_lost(*given, **more):
        if lost:
            lost.clear()
            raise psycopg.OperationalError("connection refused")
        return connect(*given, **more)

    monkeypatch.setattr(psycopg, "connect", once_lost)
    worker = Ledger(url, MODEL, CONFIG, tmp_path / "results")
    assert len(pauses) == 1
    worker.enter(VOLUMES)
    assert worker.claim(["a"], worker.time())
    worker._engine.dispose()
    lost.append(True)
    worker.close()
    with Ledger(url, MODEL, CONFIG, tmp_path / "results") as other:
        assert row(other).state == "claimed"  # until its lease is over


def test_what_is_wrong_with_the_question_is_told_at_once(url, ledger, pauses):
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE scan_detection RENAME TO elsewhere")
    with pytest.raises(ProgrammingError):
        ledger.claim(["a"], 0.0)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO scan_detection")
    engine.dispose()
    assert not pauses


def test_a_database_that_stays_away_is_told_in_the_end(url, tmp_path, pauses, monkeypatch):
    monkeypatch.setattr(away, "_SECONDS", 0.3)
    ledger = Ledger(url, MODEL, CONFIG, tmp_path / "results")
    ledger._engine.dispose()
    nowhere = open_engine(str(sql.make_url(url).set(port=1)))
    monkeypatch.setattr(ledger, "_engine", nowhere)
    with pytest.raises(OperationalError):
        ledger.time()
    assert pauses
