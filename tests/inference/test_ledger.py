import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sql

from pipeline import process
from pipeline.errors import ConfigError
from pipeline.inference.claims import claims
from pipeline.inference.heartbeat import Heartbeat
from pipeline.inference.ledger import MAX_FAILURES, Ledger
from pipeline.sources.catalog.engine import open_engine
from tests.sources.catalog.databases import BACK_ENDS, empty_database

MODEL, CONFIG = "lesions/3-89abcdef", "0123456789abcdef"
VOLUMES = ["a", "b", "c", "d"]


@pytest.fixture(params=BACK_ENDS)
def url(request, tmp_path):
    with empty_database(request, tmp_path) as address:
        yield address


@pytest.fixture
def worker(url, tmp_path):
    """Makes workers, each a ledger of its own, on four volumes."""
    opened = []

    def make(config=CONFIG, **options):
        opened.append(Ledger(url, MODEL, config, tmp_path / "results", **options))
        opened[-1].enter(VOLUMES)
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def change(url):
    """Changes rows behind the ledger's back, as time and other machines do."""
    engine = open_engine(url)

    def execute(statement, **values):
        with engine.begin() as connection:
            return connection.execute(sql.text(statement), values)

    yield execute
    engine.dispose()


def take(ledger, volume_id="a"):
    (claim,) = ledger.claim([volume_id], ledger.time())
    return claim


def finish(claim, content=b"result"):
    claim.part.write_bytes(content)
    return claim.finish(len(content))


def row(ledger, volume_id="a"):
    return ledger.rows([volume_id])[volume_id]


def test_what_one_worker_has_no_other_gets(worker):
    one, other = worker(), worker()
    began = one.time()
    assert [claim.volume_id for claim in one.claim(VOLUMES, began, limit=3)] == ["a", "b", "c"]
    assert [claim.volume_id for claim in other.claim(VOLUMES, began, limit=3)] == ["d"]
    assert other.claim(VOLUMES, began) == []


def test_a_claim_passes_over_a_row_that_another_is_just_claiming(url, worker, change):
    if url.startswith("sqlite"):
        pytest.skip("SQLite lets one transaction write at a time")
    ledger = worker()
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.text("SELECT * FROM scan_detection WHERE volume_id IN ('a', 'c') FOR UPDATE"))
        assert [claim.volume_id for claim in ledger.claim(VOLUMES, ledger.time(), limit=4)] == ["b", "d"]
    engine.dispose()


def test_a_finished_volume_has_its_result_and_a_row_that_says_so(worker, tmp_path):
    ledger = worker()
    assert finish(take(ledger), b"four")
    found = row(ledger)
    assert (found.state, found.detections, found.attempts) == ("done", 4, 1)
    assert found.result == tmp_path / "results" / "lesions-3-89abcdef-01234567" / "a.parquet"
    assert found.result.read_bytes() == b"four"
    assert ledger.claim(["a"], ledger.time()) == []


def test_a_row_is_not_done_where_the_result_could_not_be_put_in_its_place(worker):
    ledger = worker()
    claim = take(ledger)
    (claim.part.parent / "a.parquet" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"a\.parquet"):
        finish(claim)
    assert row(ledger).state == "claimed"


def test_a_worker_whose_lease_is_over_loses_its_volume_and_cannot_write_a_second_result(worker, change):
    slow, fast = worker(), worker()
    mine = take(slow)
    mine.part.write_bytes(b"of the slow one")
    change("UPDATE scan_detection SET lease_until = 1 WHERE volume_id = 'a'")
    theirs = take(fast)
    assert (mine.attempt, theirs.attempt) == (1, 2)
    assert not mine.part.exists()  # whoever takes it up clears away what is left of the one before
    assert not mine.finish(1)
    assert not finish(mine, b"of the slow one")
    assert not mine.part.exists()
    assert row(fast).state == "claimed"
    assert finish(theirs, b"of the fast one")
    assert not finish(mine, b"of the slow one")
    mine.fail("too late to say so")
    mine.release()
    assert row(fast).state == "done"
    assert row(fast).result.read_bytes() == b"of the fast one"
    assert [path.name for path in row(fast).result.parent.iterdir()] == ["a.parquet"]


def test_a_worker_that_was_slow_but_was_not_replaced_still_finishes(worker, change):
    ledger = worker()
    claim = take(ledger)
    change("UPDATE scan_detection SET lease_until = 1")
    assert finish(claim)


def test_a_sign_of_life_keeps_a_volume(worker, change):
    one, other = worker(), worker()
    take(one)
    change("UPDATE scan_detection SET lease_until = 1 WHERE volume_id = 'a'")
    one.beat()
    assert other.claim(["a"], other.time()) == []


def test_leases_are_by_the_clock_of_the_database(worker, change, monkeypatch):
    one, other = worker(lease_seconds=60), worker()
    monkeypatch.setattr("time.time", lambda: 4e9)  # this machine lives in the year 2096
    began = one.time()
    take(one)
    until = change("SELECT lease_until FROM scan_detection WHERE volume_id = 'a'").scalar_one()
    assert until == pytest.approx(began + 60, abs=30)
    assert other.claim(["a"], other.time()) == []


def test_the_heartbeat_beats_until_it_is_stopped_and_survives_a_database_that_is_away():
    beats, twice = [], threading.Event()

    def beat():
        beats.append(1)
        if len(beats) == 1:
            raise sql.exc.OperationalError("UPDATE", {}, Exception("the server went away"))
        twice.set()

    heart = Heartbeat(beat, 0.001)
    heart.start()
    heart.start()
    assert twice.wait(30)
    heart.stop()
    assert len([one for one in threading.enumerate() if one.name == "heartbeat"]) == 0


def dead_owner():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return f"{process.machine()}|{child.pid}:1|abcd"


def test_a_volume_whose_worker_died_here_is_taken_at_once_and_after_three_deaths_quarantined(worker, change):
    ledger, dead = worker(), dead_owner()
    for failures in range(MAX_FAILURES):
        claim = take(ledger)
        assert (claim.attempt, claim.failures) == (failures + 1, failures)
        change("UPDATE scan_detection SET owner = :dead WHERE volume_id = 'a'", dead=dead)
        assert ledger.claim(["a"], ledger.time()) == []
        assert ledger.expire_dead() == 1
    assert ledger.claim(["a"], ledger.time()) == []
    assert (row(ledger).state, row(ledger).reason) == ("quarantined", "its worker died (tried 3 times)")


def test_nobody_but_the_lease_says_whether_a_worker_of_another_machine_lives(worker, change):
    ledger = worker()
    take(ledger)
    for other in ("elsewhere,1a2b3c4d,pid:[1]|7:1|abcd", f"{process.host()},another boot,pid:[1]|7:1|abcd"):
        change("UPDATE scan_detection SET owner = :other WHERE volume_id = 'a'", other=other)
        assert ledger.expire_dead() == 0
    change("UPDATE scan_detection SET lease_until = 1 WHERE volume_id = 'a'")
    assert take(ledger).attempt == 2


def test_living_workers_of_this_machine_keep_their_volumes(worker):
    one, other = worker(), worker()
    take(one)
    assert other.expire_dead() == 0


def test_what_failed_in_a_run_is_left_to_a_later_one(worker):
    ledger = worker()
    began = ledger.time()
    (claim,) = ledger.claim(["a"], began)
    claim.part.write_bytes(b"half")
    claim.give_back("no memory")
    assert ledger.claim(["a"], began) == []
    assert ledger.open(VOLUMES, began).pending == ("b", "c", "d")
    assert (row(ledger).state, row(ledger).reason, row(ledger).failures) == ("pending", "no memory", 1)
    assert not claim.part.exists()
    assert take(ledger).attempt == 2


def test_what_is_released_or_open_when_its_worker_closes_is_no_failure(worker):
    one, other = worker(), worker()
    take(one, "a").release()
    take(one, "b")
    one.close()
    assert [claim.attempt for claim in other.claim(VOLUMES, other.time(), limit=4)] == [2, 2, 1, 1]
    assert {row.failures for row in other.rows(VOLUMES).values()} == {0}


def test_quarantined_volumes_are_tried_again_when_asked_for(worker):
    ledger = worker()
    take(ledger).fail("SourceError: cannot be read")
    assert ledger.claim(["a"], ledger.time()) == []
    ledger.retry(["a"])
    assert (row(ledger).reason, row(ledger).failures) == ("", 0)
    assert take(ledger).attempt == 2


def test_another_experiment_of_the_same_model_has_rows_and_results_of_its_own(worker):
    one, other = worker(), worker(config="fedcba9876543210")
    assert finish(take(one), b"one")
    assert finish(take(other), b"other")
    assert row(one).result.read_bytes() == b"one"
    assert row(other).result.read_bytes() == b"other"


def test_claims_come_until_nothing_is_left_and_are_then_taken_from_the_dead(worker, change):
    ledger, dead = worker(), dead_owner()
    take(worker(), "b")
    change("UPDATE scan_detection SET owner = :dead WHERE volume_id = 'b'", dead=dead)
    done = []
    for claim in claims(ledger, VOLUMES, ledger.time(), wait=pytest.fail):
        finish(claim)
        done.append((claim.volume_id, claim.attempt))
    assert done == [("a", 1), ("c", 1), ("d", 1), ("b", 2)]


def test_claims_of_other_living_workers_are_waited_for(worker):
    ledger, other = worker(), worker()
    theirs = [take(other, "b"), take(other, "d")]
    waited = []

    def wait():
        waited.append(1)
        finish(theirs[0]) if len(waited) == 1 else theirs[1].release()

    assert [claim.volume_id for claim in claims(ledger, VOLUMES, ledger.time(), wait) if finish(claim)] == [
        "a",
        "c",
        "d",
    ]
    assert len(waited) == 2


def test_a_worker_does_not_wait_for_what_it_holds_itself(worker):
    ledger = worker()
    ahead = list(claims(ledger, VOLUMES, ledger.time(), wait=pytest.fail))
    assert [claim.volume_id for claim in ahead] == VOLUMES


def test_no_worker_of_a_cancelled_run_claims_any_more(worker):
    ledger, other = worker(), worker()
    coming = claims(ledger, VOLUMES, ledger.time(), pytest.fail, lambda: ledger.is_cancelled("this run"))
    assert finish(next(coming))
    other.cancel("another run")
    assert finish(next(coming))
    other.cancel("this run")
    assert list(coming) == []
    assert ledger.open(VOLUMES, ledger.time()).pending == ("c", "d")


OLD = (
    "CREATE TABLE detection_ledger (volume_id VARCHAR(64), model VARCHAR(200), status VARCHAR(16), reason TEXT, "
    "detections INTEGER, attempts INTEGER, worker VARCHAR(200), changed_at TIMESTAMP, PRIMARY KEY (volume_id, model))",
    "INSERT INTO detection_ledger VALUES "
    f"('a', '{MODEL}', 'done', '', 5, 1, 'h|1:1', NULL), ('b', '{MODEL}', 'running', '', 0, 2, 'h|1:1', NULL), "
    f"('c', '{MODEL}', 'quarantined', 'bad', 0, 1, 'h|1:1', NULL), "
    f"('d', '{MODEL}', 'pending', 'full', 0, 2, '', NULL), "
    "('a', 'lesions/2-00000000', 'done', '', 5, 1, 'h|1:1', NULL)",
)


def test_the_ledger_of_an_earlier_release_is_taken_over(worker, change, tmp_path):
    for statement in OLD:
        change(statement)
    ledger = worker()
    rows = ledger.rows(VOLUMES)
    assert [one.state for one in rows.values()] == ["done", "pending", "quarantined", "pending"]
    assert rows["a"].result == tmp_path / "results" / "lesions-3-89abcdef" / "a.parquet"
    assert [(one.reason, one.failures) for one in rows.values()] == [("", 0), ("", 1), ("bad", 1), ("full", 2)]
    assert [claim.attempt for claim in ledger.claim(VOLUMES, ledger.time(), limit=4)] == [3, 3]
    assert worker().rows(["a"])["a"].state == "done"
    with pytest.raises(sql.exc.DBAPIError):
        change("SELECT * FROM detection_ledger")


def test_the_ledger_of_a_newer_release_is_refused(worker, change, url):
    worker()
    change("UPDATE scan_detection_schema SET version = 99")
    with pytest.raises(ConfigError, match=r"newer cellscan \(its tables are of version 99"):
        Ledger(url, MODEL, CONFIG, Path("results"))


PROGRAM = """
import sys
from pathlib import Path
from pipeline.inference.claims import claims
from pipeline.inference.ledger import Ledger
ids = [f"{n:02d}" for n in range(40)]
print("ready", flush=True)
sys.stdin.readline()
with Ledger(sys.argv[1], "m/1", "", Path(sys.argv[2])) as ledger:
    ledger.enter(ids)
    for claim in claims(ledger, ids, ledger.time()):
        claim.part.write_text(claim.volume_id)
        print(claim.volume_id, claim.finish(1))
"""


def test_several_processes_share_the_volumes_and_none_is_done_twice(url, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", PROGRAM, url, str(tmp_path / "results")]
    children = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
    told = []
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        told += child.communicate()[0].splitlines()
    assert [child.returncode for child in children] == [0] * 3
    assert sorted(told) == [f"{n:02d} True" for n in range(40)]
    assert sorted(path.name for path in (tmp_path / "results" / "m-1").iterdir()) == [
        f"{n:02d}.parquet" for n in range(40)
    ]
