"""The history of champions: one at a time, whoever asks at once, and every step back."""

import subprocess
import sys
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.config import Policy
from pipeline.errors import TrackingError
from pipeline.tracking import registry
from pipeline.tracking.champions import (
    ChampionMoved,
    Champions,
    champions,
    change_champion,
    refuse,
)
from pipeline.tracking.history import CHAMPION, RUN_TAG, Change, alias_holder, new_history
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import connect, prepare


@pytest.fixture
def three(settings):
    """Three versions of cells, without files, and no champion."""
    prepare(settings)
    client = connect(settings)
    history = new_history(client, "cells", client.create_experiment("cells", artifact_location=settings.home.as_uri()))
    client.create_registered_model("cells", tags={RUN_TAG: history})
    for _ in range(3):
        client.create_model_version("cells", "file:///nowhere")
    return settings


def _promote(settings, version, action="promoted", reason="better", known=None):
    known = known or champions(settings, "cells")
    change_champion(settings, known, Change.now(action, version, known.current, reason, "policy"))


def _tags(settings, version):
    return connect(settings).get_model_version("cells", version).tags


def _history_run(settings):
    return connect(settings).get_run(connect(settings).get_registered_model("cells").tags[RUN_TAG])


def test_name_without_champion_has_an_empty_history(three):
    assert champions(three, "cells") == Champions("cells", ())
    assert champions(three, "nobody") == Champions("nobody", ())


def test_change_moves_the_alias_and_is_kept_in_history_and_on_the_version(three):
    _promote(three, "1", reason="the first")
    _promote(three, "2", "forced", "f1 0.8 against 0.7")
    known = champions(three, "cells")
    assert registry.champion(three, "cells") == known.current == "2"
    told = [(one.action, one.version, one.previous, one.reason, one.policy) for one in known.changes]
    assert told == [
        ("promoted", "1", None, "the first", "policy"),
        ("forced", "2", "1", "f1 0.8 against 0.7", "policy"),
    ]
    tags = _tags(three, "2")
    assert tags["cellscan.promotion"] == "forced"
    assert tags["cellscan.promotion_reason"] == "f1 0.8 against 0.7"
    assert tags["cellscan.promotion_forced"] == "true"
    assert tags["cellscan.promotion_policy"] == "policy"
    assert tags["cellscan.previous_champion"] == "1"
    assert tags["cellscan.promotion_at"] == known.changes[1].at
    assert _tags(three, "1")["cellscan.promotion_forced"] == "false"


def test_no_name_of_a_host_or_person_is_kept(three, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.history.host", lambda: "ward-7-of-dr-jones")
    _promote(three, "1")
    kept = [*_tags(three, "1").values(), *_history_run(three).data.params.values()]
    assert not [value for value in kept if "jones" in value]
    assert len(_tags(three, "1")["cellscan.promotion_host"]) == 12


def test_who_knows_an_older_champion_changes_nothing(three):
    _promote(three, "1")
    known = champions(three, "cells")
    _promote(three, "2", known=known)
    with pytest.raises(ChampionMoved, match=r"cells/2 was made the champion meanwhile .* where cells/1 was before"):
        _promote(three, "3", known=known)
    assert registry.champion(three, "cells") == "2"
    assert len(champions(three, "cells").changes) == 2
    assert "cellscan.promotion" not in _tags(three, "3")


_PROMOTE = """
import sys
from pathlib import Path
from pipeline.settings import Settings
from pipeline.tracking.champions import ChampionMoved, champions, change_champion
from pipeline.tracking.history import Change
home, version = Path(sys.argv[1]), sys.argv[2]
while own := sys.stdin.readline().strip():
    settings = Settings(Path(own), Path(own), "cpu", "", f"sqlite:///{home / 'mlflow.db'}", None)
    known = champions(settings, "cells")
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        change_champion(settings, known, Change.now("promoted", version, known.current, "better"))
        print("promoted", flush=True)
    except ChampionMoved as error:
        print(error, flush=True)
"""


@pytest.fixture
def rivals(three):
    """Two processes that each promote a version, 2 and 3, when they are told to."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = {
        version: subprocess.Popen([sys.executable, "-c", _PROMOTE, str(three.home), version], text=True, **pipes)
        for version in "23"
    }
    yield started
    for process in started.values():
        process.communicate()


def test_of_two_processes_that_promote_at_once_one_does_and_the_other_is_told(three, rivals, tmp_path):
    """With two homes there is no lock that both see, as on two machines with one MLflow server."""
    expected = []
    for homes in ([three.home] * 2, [tmp_path / "second", tmp_path / "third"]):
        _promote(three, "1")
        for process, own in zip(rivals.values(), homes, strict=True):
            _tell(process, str(own))
        for process in rivals.values():
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        for process in rivals.values():
            _tell(process, "go")
        said = {version: process.stdout.readline().strip() for version, process in rivals.items()}
        champion = registry.champion(three, "cells")
        loser = {"2": "3", "3": "2"}[champion]
        assert said[champion] == "promoted"
        assert said[loser].startswith(f"cells/{champion} was made the champion meanwhile")
        expected += ["1", champion]
        assert [one.version for one in champions(three, "cells").changes] == expected


def _tell(process, words):
    process.stdin.write(f"{words}\n")
    process.stdin.flush()


def test_an_answer_that_got_lost_is_not_taken_for_another_champion(three, monkeypatch):
    written = MlflowClient.log_param

    def lose_the_answer(client, *arguments):
        written(client, *arguments)
        raise MlflowException("API request failed: connection reset")

    known = champions(three, "cells")
    monkeypatch.setattr(MlflowClient, "log_param", lose_the_answer)
    _promote(three, "1", known=known)
    assert registry.champion(three, "cells") == "1"


def test_killed_between_history_and_alias_the_alias_follows_at_the_next_look(three, monkeypatch):
    _promote(three, "1")
    known = champions(three, "cells")

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            _promote(three, "2", known=known)
    assert alias_holder(connect(three), "cells") == "1"
    assert registry.champion(three, "cells") == "2"
    assert champions(three, "cells").current == "2"
    assert _tags(three, "2")["cellscan.previous_champion"] == "1"


def test_alias_that_was_moved_by_hand_is_taken_into_the_history(three):
    _promote(three, "1")
    connect(three).set_registered_model_alias("cells", CHAMPION, "3")
    known = champions(three, "cells")
    assert (known.current, known.changes[-1].action) == ("3", "moved outside of cellscan")
    connect(three).delete_registered_model_alias("cells", CHAMPION)
    known = champions(three, "cells")
    assert (known.current, known.changes[-1].previous, known.earlier) == (None, "3", ("3", "1"))
    assert champions(three, "cells") == known


def test_champion_of_an_older_cellscan_begins_the_history(three):
    client = connect(three)
    client.delete_registered_model_tag("cells", RUN_TAG)
    client.set_registered_model_alias("cells", CHAMPION, "1")
    assert champions(three, "cells").current == "1"
    _promote(three, "2")
    assert [one.version for one in champions(three, "cells").changes] == ["1", "2"]


def test_name_of_an_older_cellscan_without_champion_gets_a_history(three):
    connect(three).delete_registered_model_tag("cells", RUN_TAG)
    _promote(three, "1")
    assert champions(three, "cells").current == "1"


def test_champion_that_was_deleted_is_no_champion(three):
    _promote(three, "1")
    connect(three).delete_model_version("cells", "1")
    known = champions(three, "cells")
    assert (known.current, known.earlier) == (None, ("1",))


def test_replaced_champion_says_by_whom_and_when_and_keeps_why_it_was_promoted(three):
    _promote(three, "1", reason="the first")
    _promote(three, "2")
    tags = _tags(three, "1")
    assert (tags["cellscan.promotion"], tags["cellscan.replaced_by"]) == ("replaced", "cells/2")
    assert tags["cellscan.replaced_at"] == champions(three, "cells").changes[1].at
    assert tags["cellscan.promotion_reason"] == "the first"
    _promote(three, "1", "forced")
    assert (_tags(three, "1")["cellscan.promotion"], _tags(three, "1")["cellscan.replaced_by"]) == ("forced", "")


def test_champion_whose_alias_was_taken_by_hand_is_replaced_by_no_version(three):
    _promote(three, "1")
    connect(three).delete_registered_model_alias("cells", CHAMPION)
    champions(three, "cells")
    assert _tags(three, "1")["cellscan.replaced_by"] == "no version"


class TestHistoryRunInMlflow:
    """Anybody can delete it on MLflow's page, or write into it."""

    def test_deleted_it_is_restored(self, three):
        _promote(three, "1")
        connect(three).delete_run(_history_run(three).info.run_id)
        _promote(three, "2")
        assert [one.version for one in champions(three, "cells").changes] == ["1", "2"]
        assert _history_run(three).info.lifecycle_stage == "active"

    def test_deleted_for_good_a_new_one_begins_with_the_holder_of_the_alias(self, three):
        _promote(three, "1")
        lost = _history_run(three).info.run_id
        connect(three).delete_run(lost)
        connect(three)._tracking_client.store._hard_delete_run(lost)
        (begun,) = champions(three, "cells").changes
        assert (begun.action, begun.version, begun.previous) == ("history lost", "1", None)
        assert begun.reason == f"run {lost}, which held the earlier history, was deleted for good"
        assert registry.champion(three, "cells") == "1"
        _promote(three, "2")
        assert champions(three, "cells").earlier == ("1",)

    def test_deleted_for_good_between_look_and_change_nothing_is_changed(self, three):
        _promote(three, "1")
        known = champions(three, "cells")
        lost = _history_run(three).info.run_id
        connect(three).delete_run(lost)
        connect(three)._tracking_client.store._hard_delete_run(lost)
        _promote(three, "2")
        _promote(three, "3")
        known = replace(known, changes=known.changes * 9)
        with pytest.raises(ChampionMoved, match="was lost meanwhile"):
            _promote(three, "1", known=known)
        assert registry.champion(three, "cells") == "3"

    def test_parameters_of_somebody_else_are_no_changes(self, three):
        _promote(three, "1")
        for name in ("note", "0001", "000009"):
            connect(three).log_param(_history_run(three).info.run_id, name, "by hand")
        _promote(three, "2")
        assert [one.version for one in champions(three, "cells").changes] == ["1", "2"]

    def test_something_else_under_the_number_of_a_change_is_told(self, three):
        _promote(three, "1")
        connect(three).log_param(_history_run(three).info.run_id, "000002", "by hand")
        with pytest.raises(TrackingError, match="a change of champion was expected, got 'by hand'"):
            champions(three, "cells")


def test_killed_between_history_and_alias_the_version_that_is_asked_for_is_the_historys(three, monkeypatch):
    _promote(three, "1")
    known = champions(three, "cells")

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            _promote(three, "2", known=known)
    found = []
    monkeypatch.setattr(registry, "_fetch", lambda settings, version: found.append(str(version.version)))
    registry.resolve(three, "cells@champion")
    assert found == ["2"]


def test_history_is_one_run_that_nobody_ends(three):
    _promote(three, "1")
    run = _history_run(three)
    assert run.info.status == "FINISHED"
    assert run.data.tags["cellscan.kind"] == "champions"
    assert list(run.data.params) == ["000001"]


def test_name_registered_at_once_on_another_machine_keeps_its_history(settings, bundle_folder, monkeypatch):
    """The second creation is refused, and its empty history goes."""
    create = MlflowClient.create_registered_model

    def another_is_faster(client, name, **options):
        create(client, name, tags={RUN_TAG: "theirs"})
        return create(client, name, **options)

    monkeypatch.setattr(MlflowClient, "create_registered_model", another_is_faster)
    with tracked_run(settings, "cells", "key", {}) as run:
        registry.register(settings, run.run_id, bundle_folder, "cells", "a", {})
    assert connect(settings).get_registered_model("cells").tags[RUN_TAG] == "theirs"
    experiment = connect(settings).get_run(run.run_id).info.experiment_id
    assert connect(settings).search_runs([experiment], "tags.`cellscan.kind` = 'champions'") == []


def test_long_reason_is_whole_on_the_version_and_shortened_in_the_history(three):
    _promote(three, "1", reason="ä" * 50_000)
    assert len(champions(three, "cells").changes[0].reason) < 2100
    assert connect(three).get_model_version("cells", "1").tags["cellscan.promotion_reason"].startswith("ää")


def test_refusal_is_kept_on_the_version_and_not_in_the_history(three):
    _promote(three, "1")
    policy = Policy(name="harsh", min_patients=50)
    refuse(three, "cells", "2", "not promoted: worse", policy)
    tags = _tags(three, "2")
    assert (tags["cellscan.promotion"], tags["cellscan.promotion_reason"]) == ("refused", "not promoted: worse")
    assert tags["cellscan.promotion_policy"] == policy.title
    assert len(champions(three, "cells").changes) == 1


def test_refusal_that_comes_too_late_leaves_the_champion_as_it_is(three):
    _promote(three, "1", "forced", "by hand")
    refuse(three, "cells", "1", "not promoted: worse")
    assert (_tags(three, "1")["cellscan.promotion"], _tags(three, "1")["cellscan.promotion_reason"]) == (
        "forced",
        "by hand",
    )


def test_refusal_that_crosses_a_promotion_on_another_machine_does_not_stay(three, tmp_path, monkeypatch):
    known, other = champions(three, "cells"), replace(three, home=tmp_path / "other")
    tag = MlflowClient.set_model_version_tag

    def late(client, *arguments):
        monkeypatch.setattr(MlflowClient, "set_model_version_tag", tag)
        change_champion(other, known, Change.now("forced", "1", None, "by hand"))
        tag(client, *arguments)

    monkeypatch.setattr(MlflowClient, "set_model_version_tag", late)
    refuse(three, "cells", "1", "not promoted: worse")
    assert (_tags(three, "1")["cellscan.promotion"], _tags(three, "1")["cellscan.promotion_reason"]) == (
        "forced",
        "by hand",
    )


def test_a_process_that_holds_the_lock_too_long_is_told_of(three, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.champions._LOCK_SECONDS", 0.1)
    code = "import sys; from filelock import FileLock as L; l = L(sys.argv[1]); l.acquire(); print('held'); input()"
    path = three.home / "locks" / "champion-cells.lock"
    holder = subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(TrackingError, match="another cellscan process has been changing the champion of 'cells'"):
        champions(three, "cells")
    holder.communicate("\n")


class TestEarlier:
    """By hand: whom a rollback goes back to."""

    def _after(self, *steps):
        changes, current = [], None
        for action, version in steps:
            changes.append(Change.now(action, version, current, ""))
            current = version
        return Champions("cells", tuple(changes))

    def test_each_step_goes_one_champion_back(self):
        known = self._after(("promoted", "1"), ("promoted", "2"), ("promoted", "3"))
        assert known.earlier == ("2", "1")
        known = self._after(("promoted", "1"), ("promoted", "2"), ("promoted", "3"), ("restored", "2"))
        assert (known.current, known.earlier) == ("2", ("1",))
        known = Champions("cells", (*known.changes, Change.now("restored", "1", "2", "")))
        assert (known.current, known.earlier) == ("1", ())

    def test_version_that_was_champion_twice_is_gone_back_to_twice(self):
        known = self._after(("promoted", "1"), ("promoted", "2"), ("forced", "1"))
        assert known.earlier == ("2", "1")

    def test_promotion_after_a_rollback_goes_back_to_the_restored(self):
        known = self._after(("promoted", "1"), ("promoted", "2"), ("restored", "1"), ("promoted", "3"))
        assert known.earlier == ("1",)

    def test_a_champion_that_was_rolled_back_or_replaced_is_known_as_such(self):
        known = self._after(("promoted", "1"), ("promoted", "2"), ("restored", "1"), ("promoted", "3"))
        assert known.replaced("2").action == "restored"
        assert known.replaced("1").version == "3"
        assert known.replaced("3") is None
        assert known.replaced("4") is None
