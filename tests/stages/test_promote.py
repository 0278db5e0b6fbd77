"""Promotion on a real store, with versions whose evaluations were made by hand."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config import Policy, load_policy
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle
from pipeline.errors import TrackingError
from pipeline.evaluation import evaluate
from pipeline.stages import compare, promote
from pipeline.stages.promote import promote_version
from pipeline.stages.rollback import rollback_champion
from pipeline.stages.scoring import own_evaluation
from pipeline.tracking import registry
from pipeline.tracking.champions import champions, change_champion
from pipeline.tracking.history import RUN_TAG, Change
from pipeline.tracking.session import connect
from tests.made_versions import cells_case


def _tags(tracked, version):
    return connect(tracked).get_model_version("cells", version).tags


def _compared(tracked):
    """How many comparisons were kept."""
    experiment = connect(tracked).get_experiment_by_name("cells").experiment_id
    return len(connect(tracked).search_runs([experiment], "tags.`cellscan.kind` = 'compare'"))


def test_policy_promotes_the_better_and_refuses_the_worse_with_the_reason_in_mlflow(tracked, register):
    for found in (7, 9, 5):
        register(found)
    first = promote_version("cells", "1", tracked)
    assert (first.promoted, first.champion) == (True, "1")
    assert first.reason.startswith("there is no champion to be worse than, and cells/1 has f1 0.824 [")
    better = promote_version("cells", "2", tracked)
    # f1 = 2 * 9 / (9 + 10) against 2 * 7 / (7 + 10); each by one more and one less, so that it varies by patient.
    assert (better.promoted, better.previous, better.champion) == (True, "1", "2")
    assert better.reason.startswith("f1 0.947 against 0.824 of cells/1 (difference +0.124 [+0.1")
    assert "6 patients, margin 0.02); " in better.reason
    worse = promote_version("cells", "3", tracked)
    assert (worse.promoted, worse.champion) == (False, "2")
    assert registry.champion(tracked, "cells") == "2"
    kept = _tags(tracked, "3")
    assert kept["cellscan.promotion"] == "refused"
    assert kept["cellscan.promotion_reason"] == f"not promoted: {worse.reason}"
    assert worse.reason.startswith("f1 0.667 against 0.947 of cells/2")
    assert kept["cellscan.promotion_policy"] == f"default {worse.policy}"
    assert worse.policy == Policy().digest()
    assert _tags(tracked, "2")["cellscan.promotion_reason"] == better.reason
    assert (_tags(tracked, "1")["cellscan.promotion"], _tags(tracked, "1")["cellscan.replaced_by"]) == (
        "replaced",
        "cells/2",
    )
    assert _compared(tracked) == 2


def test_reason_says_on_which_test_set_and_after_how_many_tries(tracked, register):
    for found in (7, 9, 8):
        register(found)
    register(9, patients=range(7))  # on another test set
    test_set = own_evaluation(registry.resolve(tracked, "cells/1"), tracked).test_set
    tries = [promote_version("cells", version, tracked).reason for version in "12"]
    told = f"judged on the test set of cells/1 ({test_set}), one of 3 versions of cells judged on it"
    assert [reason.rpartition("; ")[2] for reason in tries] == [told, told]


def test_only_version_on_a_test_set_is_told_as_the_first(tracked, register):
    register(7)
    assert promote_version("cells", "1", tracked).reason.endswith("), the first version of cells judged on it")


def test_margin_is_the_policys_alone(tracked, register):
    register(8)
    register(7)
    promote_version("cells", "1", tracked)
    refused = promote_version("cells", "2", tracked)
    assert (refused.promoted, "margin 0.02" in refused.reason) == (False, True)  # 0.824 against 0.889
    assert promote_version("cells", "2", tracked, policy=Policy.model_validate({"primary": {"margin": 0.2}})).promoted


def test_policy_is_kept_with_the_history_word_for_word(tracked, register):
    register(8)
    register(7)
    lax = Policy.model_validate({"name": "lax", "primary": {"margin": 0.2}})
    promote_version("cells", "1", tracked, policy=lax)
    promote_version("cells", "2", tracked)
    run_id = connect(tracked).get_registered_model("cells").tags[RUN_TAG]
    kept = Path(connect(tracked).download_artifacts(run_id, "policies"))
    assert {path.name: load_policy(path) for path in kept.iterdir()} == {
        f"{policy.digest()}.yaml": policy for policy in (lax, Policy())
    }
    assert champions(tracked, "cells").changes[0].policy == _tags(tracked, "1")["cellscan.promotion_policy"]
    assert _tags(tracked, "1")["cellscan.promotion_policy"] == f"lax {lax.digest()}"


@pytest.fixture
def scored_again(monkeypatch):
    """``scored_again(found)``: so many a version finds where it is scored again. Gives the rules by which it was."""
    rules = []

    def make(found):
        def data_of(record, config, settings):
            cases = [SimpleNamespace(patient_key=f"patient {n}", volume=_Volume(f"{n:016x}")) for n in range(8)]
            rules.append(record.spec)
            return SimpleNamespace(split=SimpleNamespace(test=cases))

        def score(record, bundle, cases, config, settings, progress=None):
            scored = [cells_case(int(case.volume.volume_id, 16), found[record.spec]) for case in cases]
            rules.append((record.spec, config.match.distance))
            return evaluate(scored, config, ("cell",), record.spec, 0.5)

        monkeypatch.setattr(compare, "data_of", data_of)
        monkeypatch.setattr(compare, "score_version", score)
        return rules

    return make


@dataclass(frozen=True)
class _Volume:
    volume_id: str


def test_where_two_have_no_test_set_in_common_the_champions_counts_and_its_match_rule(tracked, register, scored_again):
    """Else a challenger would choose by what it is judged: here by a rule that finds anything anywhere."""
    register(8, patients=range(8))
    register(10, seen=[7], match={"kind": "centre_distance", "distance": 600})
    rules = scored_again({"cells/1": 8, "cells/2": 5})
    promote_version("cells", "1", tracked)
    own = own_evaluation(registry.resolve(tracked, "cells/1"), tracked)
    refused = promote_version("cells", "2", tracked)
    assert rules == ["cells/1", ("cells/1", 6.0), ("cells/2", 6.0)]
    assert not refused.promoted
    assert refused.reason.startswith("f1 0.6")
    assert (
        f"judged on the test set of cells/1 ({own.test_set}), of which 7 of 8 patients shaped neither version ("
        in refused.reason
    )
    assert refused.reason.endswith("one of 2 versions of cells judged on it")


def test_without_a_holder_of_the_alias_the_last_champion_counts_that_still_exists(tracked, register):
    for found in (8, 7, 5):
        register(found)
    promote_version("cells", "1", tracked)
    connect(tracked).delete_registered_model_alias("cells", "champion")
    refused = promote_version("cells", "2", tracked)
    assert (refused.promoted, refused.champion) == (False, None)
    assert refused.reason.startswith("f1 0.824 against 0.889 of cells/1")
    assert refused.reason.endswith("no version is the champion: cells/1 is the last one that still exists")
    connect(tracked).delete_model_version("cells", "1")
    assert promote_version("cells", "2", tracked).champion == "2"


def test_deleted_champion_gives_way_to_the_one_before(tracked, register):
    for found in (8, 9, 5):
        register(found)
    for version in "12":
        promote_version("cells", version, tracked)
    connect(tracked).delete_model_version("cells", "2")
    refused = promote_version("cells", "3", tracked)
    assert refused.reason.startswith("f1 0.667 against 0.889 of cells/1")


def test_challenger_is_held_to_the_best_earlier_champion_unless_that_was_rolled_back(tracked, register):
    for found in (9, 8, 8):
        register(found)
    lax = Policy.model_validate({"primary": {"margin": 0.06, "judged_by": "value"}})
    promote_version("cells", "1", tracked)
    promote_version("cells", "2", tracked, force=True)
    refused = promote_version("cells", "3", tracked)  # f1 0.889 against 0.889, and 0.947 of the first
    assert refused.reason.startswith("f1 0.889 against 0.947 of cells/1, the best earlier champion (margin 0.02)")
    assert promote_version("cells", "3", tracked, policy=lax).promoted


def test_champion_that_was_rolled_back_holds_nobody_back(tracked, register):
    for found in (7, 9, 8):
        register(found)
    for version in "12":
        promote_version("cells", version, tracked)
    rollback_champion("cells", tracked)
    assert promote_version("cells", "3", tracked).promoted


def test_first_version_that_finds_nothing_becomes_champion_by_force_alone(tracked, register):
    register(0)
    refused = promote_version("cells", "1", tracked)
    assert (refused.promoted, refused.champion) == (False, None)
    assert "a first champion must have a figure above 0" in refused.reason
    forced = promote_version("cells", "1", tracked, force=True)
    assert (forced.promoted, forced.forced, forced.champion) == (True, True, "1")


def test_force_is_recorded_with_what_the_policy_says(tracked, register):
    register(8)
    register(5)
    promote_version("cells", "1", tracked)
    forced = promote_version("cells", "2", tracked, force=True)
    assert (forced.promoted, forced.forced, forced.champion) == (True, True, "2")
    assert forced.reason.startswith("forced; the policy does not hold: f1 0.667 against 0.889 of cells/1")
    tags = _tags(tracked, "2")
    assert (tags["cellscan.promotion"], tags["cellscan.promotion_forced"]) == ("forced", "true")
    assert tags["cellscan.previous_champion"] == "1"


def test_force_needs_no_evaluation(tracked, register, monkeypatch):
    register(8)
    register(5)
    promote_version("cells", "1", tracked)

    def gone(*arguments):
        raise TrackingError("run has no artifact 'evaluation'")

    monkeypatch.setattr(promote, "own_evaluation", gone)
    with pytest.raises(TrackingError):
        promote_version("cells", "2", tracked)
    assert promote_version("cells", "2", tracked, force=True).reason.endswith(
        "it cannot be judged: run has no artifact 'evaluation'"
    )


def test_champion_is_promoted_again_without_a_change(tracked, register):
    register(8)
    promote_version("cells", "1", tracked)
    again = promote_version("cells", "1", tracked, force=True)
    assert (again.promoted, again.reason) == (True, "it is the champion already")
    assert len(champions(tracked, "cells").changes) == 1


@pytest.mark.parametrize("who", ["champion", "challenger"])
def test_test_set_of_which_a_patient_was_trained_on_is_refused_with_counts(tracked, register, who):
    register(5, seen=[1, 9] if who == "champion" else [])
    register(9, seen=[1, 9] if who == "challenger" else [])
    change_champion(tracked, champions(tracked, "cells"), Change.now("promoted", "1", None, "by hand"))
    refused = promote_version("cells", "2", tracked)
    shaped = {"champion": "cells/1", "challenger": "cells/2"}[who]
    assert not refused.promoted
    assert refused.reason == (
        f"the test set of cells/2 was trained on: 1 of its 6 patients (1 of 6 cases) shaped {shaped}"
    )
    assert _compared(tracked) == 0


def test_first_version_is_refused_on_a_test_set_that_it_was_trained_on(tracked, register):
    register(9, seen=[0])
    refused = promote_version("cells", "1", tracked)
    assert (refused.promoted, refused.champion) == (False, None)


def test_scan_that_was_trained_on_counts_where_its_patient_is_not_known(tracked, register, monkeypatch):
    register(9)
    seen = Seen(volumes=frozenset({f"{2:016x}"}))
    load = Bundle.load
    monkeypatch.setattr(Bundle, "load", lambda folder: replace(load(folder), seen=seen))
    assert "1 of its 6 patients (1 of 6 cases) shaped cells/1" in promote_version("cells", "1", tracked).reason


def test_another_promotion_meanwhile_is_told_and_kept(tracked, register, monkeypatch):
    for found in (7, 8, 9):
        register(found)
    promote_version("cells", "1", tracked)
    judge = promote._judge

    def slow(*arguments):
        decision = judge(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(promote, "_judge", judge)
            assert promote_version("cells", "3", tracked).promoted
        return decision

    monkeypatch.setattr(promote, "_judge", slow)
    late = promote_version("cells", "2", tracked)
    assert (late.promoted, late.champion) == (False, "3")
    assert late.reason.startswith("cells/3 was made the champion meanwhile (promoted at ")
    assert registry.champion(tracked, "cells") == "3"
    assert _tags(tracked, "2")["cellscan.promotion_reason"] == f"not promoted: {late.reason}"


def test_the_same_version_promoted_twice_at_once_is_the_champion_for_both(tracked, register, monkeypatch):
    register(7)
    register(9)
    promote_version("cells", "1", tracked)
    judge = promote._judge

    def slow(*arguments):
        decision = judge(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(promote, "_judge", judge)
            assert promote_version("cells", "2", tracked, force=True).forced
        return decision

    monkeypatch.setattr(promote, "_judge", slow)
    late = promote_version("cells", "2", tracked)
    assert (late.promoted, late.reason, late.champion) == (True, "it is the champion already", "2")
    assert _tags(tracked, "2")["cellscan.promotion"] == "forced"


def test_version_that_is_forced_while_it_is_refused_stays_forced(tracked, register, monkeypatch):
    register(9)
    register(5)
    promote_version("cells", "1", tracked)
    decide = promote._decide

    def slow(*arguments):
        decision = decide(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(promote, "_decide", decide)
            promote_version("cells", "2", tracked, force=True)
        return decision

    monkeypatch.setattr(promote, "_decide", slow)
    assert promote_version("cells", "2", tracked).reason == "it is the champion already"
    assert _tags(tracked, "2")["cellscan.promotion"] == "forced"
    assert _tags(tracked, "2")["cellscan.promotion_reason"].startswith("forced; the policy does not hold")


def test_what_was_rolled_back_comes_back_by_force_alone(tracked, register):
    register(7)
    register(8)
    for version in "12":
        promote_version("cells", version, tracked)
    rollback_champion("cells", tracked)
    again = promote_version("cells", "2", tracked)
    assert (again.promoted, again.champion) == (False, "1")
    assert again.reason.startswith("cells/2 was the champion before and was rolled back to cells/1 at ")
    assert promote_version("cells", "2", tracked, force=True).champion == "2"


def test_what_was_replaced_does_not_come_back_within_the_margin(tracked, register):
    """Else a nightly run that promotes all versions in order would go to and fro."""
    register(8)
    register(8)
    for version in "12":
        assert promote_version("cells", version, tracked).promoted
    again = promote_version("cells", "1", tracked)
    assert (again.promoted, again.champion) == (False, "2")
    assert "was replaced by cells/2" in again.reason
