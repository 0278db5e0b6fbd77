"""`cellscan watch` on scans that are in the catalog, with a clock and a wait of the test's own."""

import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from pipeline.errors import ConfigError, ModelError, SourceError
from pipeline.stages import watch_round
from pipeline.stages.watch import watch
from pipeline.stages.watch_round import WatchOptions
from pipeline.tracking.session import connect
from tests.stages.watching import crown, enter, finds_two, play, table

CHAMPION = "cells@champion"


@pytest.fixture
def played(crowned, tmp_path):
    """``played(step, …, option=…)``: a watch of the catalog, into ``out``."""
    chosen = {"hand_out": finds_two(crowned)}
    return lambda *script, **options: play(CHAMPION, "catalog", tmp_path / "out", crowned, *script, **chosen | options)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def paths(told):
    return [sorted(str(scan["path"]) for scan in one.scans) for one in told]


def in_folders(out, *specs):
    return [len(list((out / spec / "geojson").glob("*"))) for spec in specs]


def test_what_is_there_and_then_what_comes_is_detected_on_and_nothing_else_is_told(crowned, played, out):
    enter(crowned, "/a")
    told, waited = played(None, lambda: enter(crowned, "/b"), None)
    assert paths(told) == [["/a"], ["/b"]]
    assert waited == [60.0, 60.0, 60.0]
    assert {path: (row["state"], row["version"]) for path, row in table(out).items()} == {
        "/a": ("done", "cells/1"),
        "/b": ("done", "cells/1"),
    }
    assert int(table(out)["/a"]["detections"]) == told[0].scans[0]["detections"] == 2


def test_round_in_which_nothing_is_new_does_nothing(crowned, played, monkeypatch):
    enter(crowned, "/a")
    asked = []
    for module, name in (
        (watch_round, "found_scans"),
        (watch_round, "standings"),
        (watch_round, "begin_run"),
        (watch_round.Version, "load"),
    ):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, name=name: (asked.append(name), real(*a))[1])
    after_each = []
    played(*[lambda: after_each.append(len(asked))] * 3)
    assert set(asked) == {"found_scans", "standings", "begin_run", "load"}
    assert after_each[0] == after_each[1] == after_each[2]


def test_new_champion_does_what_comes_and_the_rest_stays_as_it_was(crowned, played, out):
    enter(crowned, "/a")
    told, _ = played(lambda: (crown(crowned, 2), enter(crowned, "/b")), None)
    assert [(one.model, one.was, one.by_others) for one in told] == [("cells/1", "", 0), ("cells/2", "cells/1", 1)]
    assert paths(told) == [["/a"], ["/b"]]
    assert {path: row["version"] for path, row in table(out).items()} == {"/a": "cells/1", "/b": "cells/2"}
    assert in_folders(out, "cells-1", "cells-2") == [1, 1]


def test_new_champion_is_told_and_does_nothing_else_without_rerun(crowned, played):
    enter(crowned, "/a")
    told, _ = played(lambda: crown(crowned, 2), None)
    assert [(one.model, one.was, len(one.scans)) for one in told] == [("cells/1", "", 1), ("cells/2", "cells/1", 0)]


def test_with_rerun_a_new_champion_does_all_again_and_every_scan_lies_in_one_place(crowned, played, out):
    enter(crowned, "/a", "/b", "/c")
    told, _ = played(lambda: crown(crowned, 2), None, rerun=True)
    assert [(one.model, len(one.scans), one.done_again) for one in told] == [("cells/1", 3, 0), ("cells/2", 3, 3)]
    assert {row["version"] for row in table(out).values()} == {"cells/2"}
    assert in_folders(out, "cells-1", "cells-2") == [0, 3]
    assert len(pd.read_parquet(out / "cells-1" / "detections.parquet")) == 0
    assert told[1].withdrawn == 0


def test_rollback_brings_the_old_results_back_and_detects_on_nothing(crowned, played, out):
    enter(crowned, "/a", "/b")
    told, _ = played(lambda: crown(crowned, 2), lambda: crown(crowned, 1), None, rerun=True)
    assert (told[2].model, told[2].was, len(told[2].scans)) == ("cells/1", "cells/2", 0)
    assert in_folders(out, "cells-1", "cells-2") == [2, 0]


def test_rerun_in_portions_does_first_what_nobody_has_done(crowned, played, monkeypatch):
    enter(crowned, *"abcde")
    played()
    crown(crowned, 2)
    enter(crowned, "new")
    monkeypatch.setattr(watch_round, "_FIRST_ROUND", 2)
    monkeypatch.setattr(watch_round, "_LARGEST_ROUND", 2)
    told, waited = played(rerun=True)
    assert [(len(one.scans), one.done_again, one.left) for one in told] == [(2, 1, 4), (2, 2, 2), (2, 2, 0)]
    assert "new" in paths(told)[0]
    assert waited == []


def test_version_that_is_not_an_alias_stays_and_redoes_nothing(crowned, played, out):
    enter(crowned, "/a")
    played()
    crown(crowned, 2)
    told, _ = play("cells/1", "catalog", out, crowned, None, rerun=True, hand_out=None)
    assert told == []


def test_deleted_version_leaves_what_it_did_and_the_table_says_whose_it_is(crowned, played, out):
    enter(crowned, "/a")
    played()
    crown(crowned, 2)
    connect(crowned).delete_model_version("cells", "1")
    enter(crowned, "/b")
    told, _ = played()
    assert paths(told) == [["/b"]]
    assert {path: row["version"] for path, row in table(out).items()} == {"/a": "cells/1", "/b": "cells/2"}
    assert in_folders(out, "cells-1", "cells-2") == [1, 1]


def test_failure_is_told_once_and_tried_again_after_growing_pauses(crowned, played):
    connect(crowned).delete_registered_model_alias("cells", "champion")
    enter(crowned, "/a")
    told, waited = played(None, None, None, lambda: crown(crowned, 1), None)
    failed, done = told
    assert (failed.kind, failed.seconds) == ("ModelError", 60.0)
    assert CHAMPION in failed.error
    assert waited == [60.0, 120.0, 240.0, 480.0, 60.0]
    assert (len(done.scans), done.recovered) == (1, True)


def test_pauses_grow_to_an_hour(crowned, out):
    _, waited = play("none@champion", "catalog", out, crowned, *[None] * 9)
    assert waited[-3:] == [3600.0, 3600.0, 3600.0]


def test_disk_that_is_full_while_results_are_written_is_a_failure_that_passes(crowned, played, monkeypatch):
    enter(crowned, "/a")
    real, full = watch_round.Results.bring_up_to_date, [OSError(28, "No space left on device")]

    def once_full(*arguments):
        if full:
            raise full.pop()
        return real(*arguments)

    monkeypatch.setattr(watch_round.Results, "bring_up_to_date", once_full)
    told, _ = played(None, None)
    assert [getattr(one, "error", "") for one in told] == ["[Errno 28] No space left on device", ""]
    assert told[1].recovered


def test_stopped_in_the_middle_of_detecting_it_goes_on(crowned, played):
    enter(crowned, *"abc")

    def stopped(prepared):
        with prepared.run.ledger(crowned) as ledger:
            (claim,) = ledger.claim(prepared.run.volume_ids[:1], prepared.run.began)
            claim.part.write_bytes(b"half a result")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        played(hand_out=stopped)
    told, _ = played()
    assert paths(told) == [["a", "b", "c"]]


def test_killed_while_results_are_written_they_are_whole_after_the_next_start(crowned, played, out, monkeypatch):
    enter(crowned, *"abc")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stages.export.Exported.write_summary", killed)
        with pytest.raises(KeyboardInterrupt):
            played()
    (out / "cells-1" / "detections.csv").write_bytes(b"")
    told, _ = played()
    assert [(len(one.scans), one.done_before) for one in told] == [(0, 3)]
    assert (out / "cells-1" / "summary.json").is_file()
    assert pd.read_csv(out / "cells-1" / "detections.csv")["volume_id"].nunique() == 3


def test_result_that_is_lost_is_made_again(crowned, played):
    enter(crowned, "/a")
    played()
    for path in crowned.detections.rglob("*.parquet"):
        path.unlink()
    told, _ = played()
    assert paths(told) == [["/a"]]


def test_what_fails_for_now_is_told_once_and_tried_again(crowned, played):
    enter(crowned, "/a")
    tries = []

    def out_of_memory_twice(prepared):
        tries.append(prepared)
        if len(tries) == 3:
            finds_two(crowned)(prepared)
            return
        with prepared.run.ledger(crowned) as ledger:
            (claim,) = ledger.claim(prepared.run.volume_ids, prepared.run.began)
            claim.give_back("MemoryError")

    told, _ = played(*[None] * 130, hand_out=out_of_memory_twice)  # a minute each
    assert [(len(one.scans), list(one.unfinished.values())) for one in told] == [(0, ["MemoryError"]), (1, [])]
    assert len(tries) == 3


def test_what_failed_is_given_an_hour(crowned, played):
    enter(crowned, "/a")
    tries = []

    def out_of_memory(prepared):
        tries.append(prepared)
        with prepared.run.ledger(crowned) as ledger:
            (claim,) = ledger.claim(prepared.run.volume_ids, prepared.run.began)
            claim.give_back("MemoryError")

    played(*[None] * 59, hand_out=out_of_memory)
    assert len(tries) == 1
    played(*[None] * 60, hand_out=out_of_memory)
    assert len(tries) == 3


def test_results_of_the_same_version_as_another_bundle_are_made_again(crowned, played, out):
    """As of a starter of another release."""
    enter(crowned, "/a")
    played(None)
    before = table(out)["/a"]["detections"]
    with closing(sqlite3.connect(crowned.catalog_url.removeprefix("sqlite:///"))) as ledger, ledger:
        ledger.execute("UPDATE scan_detection SET model = 'cells/1-01234567'")
    told, _ = played(None)
    assert [len(one.scans) for one in told] == [1]
    assert table(out)["/a"]["detections"] == before


def test_what_is_quarantined_is_told_once_and_a_new_champion_tries_it(crowned, played, out):
    enter(crowned, "/a")

    def bad(prepared):
        with prepared.run.ledger(crowned) as ledger:
            (claim,) = ledger.claim(prepared.run.volume_ids, prepared.run.began)
            claim.fail(f"bad for {prepared.record.spec}")

    told, _ = played(None, lambda: crown(crowned, 2), None, hand_out=bad)
    assert [list(one.quarantined.values()) for one in told] == [["bad for cells/1"], ["bad for cells/2"]]
    assert table(out)["/a"]["reason"] == "bad for cells/2"


def test_what_a_new_champion_cannot_do_again_stays_as_it_was_and_is_left_alone(crowned, played, out):
    enter(crowned, "/a")
    played()
    crown(crowned, 2)
    tries = []

    def bad(prepared):
        tries.append(prepared)
        with prepared.run.ledger(crowned) as ledger:
            (claim,) = ledger.claim(prepared.run.volume_ids, prepared.run.began)
            claim.fail("too bright")

    told, _ = played(None, None, rerun=True, hand_out=bad)
    assert [list(one.quarantined.values()) for one in told] == [["too bright"]]
    row = table(out)["/a"]
    assert (row["state"], row["version"], row["reason"], row["detections"]) == ("done", "cells/1", "too bright", "2")
    assert (len(tries), in_folders(out, "cells-1", "cells-2")) == (1, [1, 0])


def test_once_ends_when_nothing_is_left(crowned, played):
    enter(crowned, "/a")
    told, waited = played(None, once=True)
    assert (paths(told), waited) == ([["/a"]], [])


def test_once_fails_with_the_failure(crowned, out):
    with pytest.raises(ModelError, match="none"):
        play("none@champion", "catalog", out, crowned, once=True)


@pytest.mark.parametrize(
    ("source", "results", "options", "error", "message"),
    [
        ("none", "out", {}, SourceError, "no data at"),
        ("scans", "scans/results", {}, ConfigError, "lies in the folder of the scans"),
        ("scans", "out", {"where": {"Modality": "CT"}}, SourceError, "--where chooses studies"),
        ("scans", "out", {"formats": ("pdf",)}, ConfigError, "a format must be one of"),
    ],
)
def test_wrong_use_ends_it_at_once(crowned, tmp_path, source, results, options, error, message):
    (tmp_path / "scans").mkdir()
    with pytest.raises(error, match=message):
        play(CHAMPION, tmp_path / source, tmp_path / results, crowned, **options)


def test_two_watches_do_not_write_into_one_folder(crowned, played, out):
    enter(crowned, "/a")
    first = watch(CHAMPION, "catalog", out, crowned, WatchOptions())
    next(first)
    with pytest.raises(ConfigError, match="another cellscan watch writes into"):
        played()
    first.close()
