import dataclasses

import pytest

from pipeline.inference.archive import begin_run
from pipeline.inference.following import Following
from pipeline.inference.ledger import Ledger
from pipeline.settings import Settings

VOLUMES = ["a", "b", "c", "d"]


@pytest.fixture
def settings(tmp_path):
    return dataclasses.replace(Settings.from_environment(), home=tmp_path, catalog_url=f"sqlite:///{tmp_path / 'l.db'}")


def finish(ledger, run):
    (claim,) = ledger.claim(run.wanted, run.began)
    claim.part.write_bytes(b"result")
    claim.finish(0)


def test_what_all_workers_have_done_is_told(settings):
    told = []
    run = begin_run("m/1", "config", VOLUMES, settings)
    with run.ledger(settings) as one, run.ledger(settings) as other:
        finish(one, run)
        with Following(run, settings, lambda done, total, what: told.append((done, total))) as following:
            finish(one, run)
            finish(other, run)
            following.tell()
            (claim,) = other.claim(run.wanted, run.began)
            following.tell()
            claim.give_back("what a later run may do is not waited for")
            assert following.tell() == 0
    assert told == [(1, 4), (3, 4), (3, 4), (4, 4)]


def test_who_stops_following_by_an_error_stops_the_workers(settings):
    run = begin_run("m/1", "config", VOLUMES, settings)
    with Following(run, settings, None):
        pass
    with run.ledger(settings) as ledger:
        assert not ledger.is_cancelled(run.name)
        with pytest.raises(KeyboardInterrupt), Following(run, settings, None):
            raise KeyboardInterrupt
        assert ledger.is_cancelled(run.name)


def test_the_longer_a_look_takes_the_rarer_they_are(settings, monkeypatch):
    clock, took = [100.0], [0.0]
    look = Ledger.open

    def slow(*given):
        clock[0] += took[0]
        return look(*given)

    monkeypatch.setattr(Ledger, "open", slow)
    run = begin_run("m/1", "config", VOLUMES, settings)
    with Following(run, settings, None, lambda: clock[0]) as following:
        assert following.is_due()
        took[0] = 0.25
        following.tell()
        clock[0] += 12.4
        assert not following.is_due()
        clock[0] += 0.2
        assert following.is_due()
