"""Promotion on a real store, with versions whose evaluations were made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import ExperimentConfig, Policy
from pipeline.datasets.seen import Seen
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.errors import TrackingError
from pipeline.evaluation import ScoredCase, evaluate
from pipeline.geometry import Boxes, Grid
from pipeline.stages import promote
from pipeline.stages.pairs import champions_in_order, pairs_to_compare, report_targets
from pipeline.stages.promote import promote_version
from pipeline.stages.rollback import rollback_champion
from pipeline.tracking import registry
from pipeline.tracking.champions import Change, champions, change_champion
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import connect
from pipeline.volumes import Annotations

_GRID = Grid.of_pixels((1000, 100))
_PATIENTS = 4


def _config(**changes):
    return ExperimentConfig.model_validate(
        {
            "name": "cells",
            "data": {"source": "cells", "dims": 2, "classes": ["cell"]},
            "preprocessing": {"intensity": {"kind": "window", "lower": 0, "upper": 255}},
            "sampling": {"patch": [32, 32], "samples_per_epoch": 4},
            "detector": {
                "backbone": {"kind": "residual_unet", "widths": [4, 8], "strides": [2]},
                "decoder_width": 4,
            },
            "training": {"max_epochs": 1},
            "inference": {"window": [48, 48]},
            "evaluation": {
                "match": {"kind": "centre_distance", "distance": 6},
                "bootstrap_rounds": 100,
                "strata": [],
            }
            | changes,
        }
    )


def _case(patient, found):
    """Ten cells in a column, the first ``found`` of which are detected."""
    places = Boxes.around(np.stack([np.arange(50.0, 1000, 100), np.full(10, 50.0)], 1), np.full(2, 10.0), _GRID)
    annotations = Annotations(places, ("cell",) * 10, np.zeros(10, dtype=bool), False)
    scores, labels = np.full(found, 0.9), np.zeros(found, dtype=np.int64)
    detections = Detections(f"{patient:016x}", places[np.arange(found)], scores, labels, ("cell",))
    return ScoredCase(f"{patient:016x}", f"patient {patient}", annotations, detections)


@pytest.fixture
def register(tracked, tmp_path):
    """``register(found)`` makes a version that finds ``found`` of the ten cells of each patient."""

    def make(found, seen=(), patients=range(_PATIENTS), **changes):
        config = _config(**changes)
        key = f"version {len(list(tmp_path.glob('bundle*')))}"
        folder = tmp_path / f"bundle {key}"
        shaped_by = Seen(frozenset(f"patient {number}" for number in seen), frozenset())
        Bundle(config, seeded_network(config), 0.5, shaped_by).save(folder)
        cases = [_case(number, found) for number in patients]
        evaluation = evaluate(cases, config.evaluation, ("cell",), "cells", 0.5)
        with tracked_run(tracked, "cells", key, {}) as run:
            number = registry.register(tracked, run.run_id, folder, "cells", key, {})
            run.log_evaluation(replace(evaluation, version=f"cells/{number}"))
        return number

    return make


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
    assert (first.promoted, first.reason, first.champion) == (True, "there is no champion to be worse than", "1")
    better = promote_version("cells", "2", tracked)
    # f1 = 2 * 9 / (9 + 10) against 2 * 7 / (7 + 10); patients are alike, so that nothing varies.
    told = "f1 0.947 against 0.824 of cells/1 (difference +0.124 [+0.124, +0.124], 4 patients, margin 0)"
    assert (better.promoted, better.previous, better.champion) == (True, "1", "2")
    assert better.reason == told
    worse = promote_version("cells", "3", tracked)
    assert (worse.promoted, worse.champion) == (False, "2")
    assert registry.champion(tracked, "cells") == "2"
    kept = _tags(tracked, "3")
    assert kept["cellscan.promotion"] == "refused"
    assert kept["cellscan.promotion_reason"] == f"not promoted: {worse.reason}"
    assert "f1 0.667 against 0.947 of cells/2" in worse.reason
    assert kept["cellscan.promotion_policy"] == worse.policy == Policy().with_margin(0.0).digest()
    assert _tags(tracked, "2")["cellscan.promotion_reason"] == told
    assert _compared(tracked) == 2


def test_margin_is_the_challengers_experiments_unless_the_policy_names_one(tracked, register):
    register(8)
    register(7, promotion_margin=0.2)
    promote_version("cells", "1", tracked)
    policy = Policy.model_validate({"primary": {"margin": 0.0}})
    assert not promote_version("cells", "2", tracked, policy=policy).promoted
    assert promote_version("cells", "2", tracked).promoted


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
        f"the test set of cells/2 was trained on: 1 of its 4 patients (1 of 4 cases) shaped {shaped}"
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
    assert "1 of its 4 patients (1 of 4 cases) shaped cells/1" in promote_version("cells", "1", tracked).reason


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
    register(8, promotion_margin=0.5)
    register(8, promotion_margin=0.5)
    for version in "12":
        assert promote_version("cells", version, tracked).promoted
    again = promote_version("cells", "1", tracked)
    assert (again.promoted, again.champion) == (False, "2")
    assert "was replaced by cells/2" in again.reason


def test_successive_versions_of_a_name_are_compared():
    versions = ["cells/1", "lesions/4", "cells/2", "cells/2", "cells/3"]
    champions = champions_in_order(["cells/1", "lesions/3", "cells/1", "cells/1", "cells/3"])
    assert champions == {"cells": "cells/3", "lesions": "lesions/3"}
    assert pairs_to_compare(versions, champions) == [
        ("cells/1", "cells/2"),
        ("cells/2", "cells/3"),
        ("lesions/3", "lesions/4"),
    ]
    assert report_targets(versions, champions) == ["cells/2..cells/3", "lesions/3..lesions/4"]


def test_single_first_version_is_compared_with_nothing():
    assert pairs_to_compare(["cells/1"], {"cells": "cells/1"}) == []
    assert report_targets(["cells/1"], {"cells": "cells/1"}) == ["cells/1"]
