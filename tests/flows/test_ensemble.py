"""Versions from several seeds as one version, on the tiny archive of the flows."""

import pytest

from flows.ensemble import ensemble as flow
from flows.parameters import Experiment
from pipeline.cli import main
from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ConfigError, DatasetError, ModelError
from pipeline.stages import ensemble as stage
from pipeline.stages.compare import compare_versions
from pipeline.stages.ensemble import _check_alike, ensemble_versions
from pipeline.stages.evaluate import evaluate_version
from pipeline.stages.make_starter import make_starter
from pipeline.stages.scoring import own_evaluation
from pipeline.stages.train_group import train_group
from pipeline.tracking.registry import resolve
from pipeline.tracking.session import connect
from tests.experiments import tiny_2d


@pytest.fixture(scope="module")
def members(place):
    config = Experiment(path=place.experiment, overrides=["name=seeded"]).load()
    return train_group(config, place.settings, None, [0, 1]).versions


@pytest.fixture(scope="module")
def made(place, members):
    return ensemble_versions("both", members, place.settings)


def test_it_is_a_version_of_its_own_judged_on_the_members_test_scans(place, members, made):
    assert (made.spec, made.members, made.reused) == ("both/1", ("seeded/1", "seeded/2"), False)
    record = resolve(place.settings, "both/1")
    bundle = Bundle.load(record.bundle_folder)
    assert len(bundle.network.members) == 2
    assert (bundle.config.name, bundle.threshold) == ("both", made.threshold)
    assert record.tags["cellscan.members"] == "seeded/1, seeded/2"
    member = own_evaluation(resolve(place.settings, members[0]), place.settings)
    assert own_evaluation(record, place.settings).test_set == made.evaluation.test_set == member.test_set
    assert connect(place.settings).get_run(record.run_id).data.metrics["f1"] == made.evaluation.metrics["f1"].value


def test_it_is_compared_and_evaluated_like_any_other(place, members, made):
    comparison = compare_versions(members[0], made.spec, place.settings)
    assert (comparison.version_b, comparison.test_set) == (made.spec, made.evaluation.test_set)
    again = evaluate_version(made.spec, None, place.settings)
    assert again.metrics["f1"].value == made.evaluation.metrics["f1"].value


def test_given_again_nothing_is_done(place, members, made):
    again = ensemble_versions("both", members, place.settings)
    assert (again.spec, again.reused, again.threshold) == (made.spec, True, made.threshold)


def test_the_flow_makes_the_same(place, server, members, made):
    assert flow("both", list(members)) == made.spec


def test_the_command_says_what_was_made_and_how_it_scores(place, members, made, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ensemble", "both", *members])
    assert not ended.value.code
    told = capsys.readouterr().out
    assert "both/1 was there before, nothing was done again; threshold" in told
    assert "f1" in told


def test_stopped_after_its_threshold_was_chosen_it_goes_on_with_that(place, members, made, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "registered", stopped)
        with pytest.raises(KeyboardInterrupt):
            ensemble_versions("stopped", members, place.settings)
    monkeypatch.setattr(stage, "with_thresholds", lambda *_: pytest.fail("chosen again"))
    again = ensemble_versions("stopped", members, place.settings)
    assert (again.spec, again.threshold) == ("stopped/1", made.threshold)
    assert Bundle.load(resolve(place.settings, "stopped/1").bundle_folder).threshold == made.threshold


def test_versions_of_other_divisions_of_the_data_are_refused(place):
    config = Experiment(path=place.experiment, overrides=["name=folded"]).load()
    folds = train_group(config, place.settings, [0, 1]).versions
    with pytest.raises(DatasetError, match="the data of folded/1 and folded/2 were divided differently"):
        ensemble_versions("all_folds", folds, place.settings)


def test_an_ensemble_is_no_member_and_no_starter(place, members, made):
    with pytest.raises(ModelError, match="both/1 is an ensemble itself: name its members, seeded/1, seeded/2"):
        ensemble_versions("more", [members[0], made.spec], place.settings)
    with pytest.raises(ModelError, match="both/1 is an ensemble of several networks"):
        make_starter(made.spec, "fields-2d", place.settings)


@pytest.mark.parametrize("name", ["Both", "two-seeds", ""])
def test_a_name_that_no_model_can_have_is_refused(place, members, name):
    with pytest.raises(ConfigError, match=f"small letters, digits and _, such as cells_of_three, got '{name}'"):
        ensemble_versions(name, members, place.settings)


def test_two_different_trained_versions_are_asked_for(place, members):
    for versions in (members[:1], [members[0], members[0]]):
        with pytest.raises(ModelError, match="of two or more different versions, got seeded/1"):
            ensemble_versions("one", versions, place.settings)
    with pytest.raises(ModelError, match="starter/nuclei-2d brings no record of its data"):
        ensemble_versions("mixed", [members[0], "starter/nuclei-2d"], place.settings)


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("detector", {"decoder_width": 8}, "detector is"),
        ("data", {"classes": ["cell", "other"]}, r"data.classes is \('cell',\) in one and \('cell', 'other'\)"),
        ("preprocessing", {"intensity": {"kind": "window", "lower": 0, "upper": 255}}, "preprocessing is"),
        ("training", {"learning_rate": 0.1, "seed": 4}, None),
        ("inference", {"score_floor": 0.2}, None),
    ],
)
def test_only_networks_that_are_alike_but_for_their_weights_are_averaged(part, change, told):
    tree = tiny_2d().model_dump()
    tree[part] |= change
    other = ExperimentConfig.model_validate(tree)
    if told is None:
        _check_alike("a/1", tiny_2d(), "a/2", other)
        return
    with pytest.raises(ModelError, match=f"a/1 and a/2 are different networks: {told}"):
        _check_alike("a/1", tiny_2d(), "a/2", other)
