import dataclasses
import threading
from pathlib import Path

import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.seen import Seen
from pipeline.datasets.split import split_cases
from pipeline.detectors.bundle import Bundle
from pipeline.errors import DatasetError
from pipeline.evaluation import primary_value
from pipeline.inference.detect import VolumeDetector, score_cases
from pipeline.settings import Settings
from pipeline.training.module import VALIDATION_METRIC, rate_at
from pipeline.training.train import train
from tests.experiments import tiny_2d, tiny_star
from tests.phantoms import field_of_cells, field_with_masks


def test_discs_are_learnt_within_seconds(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=12)
    split = split_cases(config.data, volumes, 0)
    result = train(config, split, tmp_path / "run", settings)
    bundle = Bundle.load(result.bundle_folder)
    scored = score_cases(VolumeDetector(bundle, "cpu"), split.test)
    assert primary_value(scored, config.evaluation, bundle.threshold) > 0.9
    assert not any(bundle.seen.holds(case) for case in split.test)
    assert all(bundle.seen.holds(case) for case in split.train + split.validation)


def test_monais_retinanet_on_a_resnet_is_trained_and_detects(tmp_path, settings, volumes):
    raw = tiny_2d(max_epochs=2, precision="auto").model_dump()
    raw["detector"] = {
        "kind": "retinanet",
        "backbone": {"kind": "resnet", "depth": 10, "width": 8, "stages": 1, "first_stride": 2},
        "output_level": 1,
        "pyramid_width": 16,
        "anchor_shapes": [[8, 8], [12, 12]],
    }
    config = ExperimentConfig.model_validate(raw)
    split = split_cases(config.data, volumes, 0)
    bundle = Bundle.load(train(config, split, tmp_path / "run", settings).bundle_folder)
    assert len(score_cases(VolumeDetector(bundle, "cpu"), split.test)) == len(split.test)


def on_workers() -> ExperimentConfig:
    """As much as a training can hold beside weights: outlines, a chosen precision, worker processes, patience."""
    raw = tiny_star(max_epochs=4, precision="auto", workers=1, patience=4, class_weighting="effective").model_dump()
    return ExperimentConfig.model_validate(raw)


def with_hard_negatives() -> ExperimentConfig:
    raw = tiny_2d(max_epochs=4, workers=1).model_dump()
    raw["sampling"] |= {"hard_negative_share": 0.5, "hard_negative_score": 0.0}
    raw["inference"]["score_floor"] = 1e-4  # a network that has learnt nothing yet is sure of nothing
    return ExperimentConfig.model_validate(raw)


def test_a_killed_training_ends_with_the_same_weights_as_an_undisturbed_one(tmp_path, settings):
    goes_on_as_if_undisturbed(tmp_path, settings, tiny_2d(max_epochs=4))


@pytest.mark.parametrize("config", [on_workers(), with_hard_negatives()], ids=["outlines", "hard negatives"])
def test_so_does_one_with_worker_processes(tmp_path, settings, config):
    goes_on_as_if_undisturbed(tmp_path, settings, config)


def goes_on_as_if_undisturbed(tmp_path: Path, settings: Settings, config: ExperimentConfig) -> None:
    split = split_cases(config.data, [field_with_masks(tmp_path, seed) for seed in range(6)], 0)
    whole = train(config, split, tmp_path / "whole", settings)

    class Killed(BaseException):
        pass

    def die(epoch, _):
        if epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        train(config, split, tmp_path / "broken", settings, on_epoch=die)
    torch.manual_seed(123)  # another process would be in another state
    told = []
    resumed = train(config, split, tmp_path / "broken", settings, on_epoch=lambda epoch, _: told.append(epoch))
    assert resumed.resumed_from is not None
    assert told == [3, 4]
    one, other = (Bundle.load(r.bundle_folder).network.state_dict() for r in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    last, again = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "broken"))
    assert all(torch.equal(value, again["current_model_state"][n]) for n, value in last["current_model_state"].items())
    assert torch.equal(last["random_state"], again["random_state"])
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3, 4]
    if config.sampling.hard_negative_share:
        assert all(row["hard_negatives"] > 0 for row in resumed.history)
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_a_finished_training_is_not_repeated(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=1)
    split = split_cases(config.data, volumes, 0)
    first = train(config, split, tmp_path / "run", settings)
    again = train(config, split, tmp_path / "run", settings, on_epoch=lambda *_: pytest.fail("trained again"))
    assert not first.reused
    assert again.reused
    assert again.history == first.history


def test_fields_without_a_cell_are_normal(tmp_path, settings):
    """Half of all fields are empty; every side of the split holds some of each kind."""
    volumes = [
        dataclasses.replace(field_of_cells(tmp_path, seed, cells=12 * (seed % 2)), patient_key=f"p{seed // 2}")
        for seed in range(6)
    ]
    config = tiny_2d(max_epochs=1)
    split = split_cases(config.data, volumes, 0)
    assert [sorted(len(case.annotations) for case in side) for side in split.sides().values()] == [[0, 12]] * 3
    assert train(config, split, tmp_path / "run", settings).bundle_folder.is_dir()


def test_a_validation_side_without_any_object_is_refused(tmp_path, settings):
    volumes = [field_of_cells(tmp_path, seed, cells=0) for seed in range(3)]
    config = tiny_2d(max_epochs=1)
    with pytest.raises(DatasetError, match="at least one annotated object"):
        train(config, split_cases(config.data, volumes, 0), tmp_path / "run", settings)


def test_rate_rises_then_falls():
    share = rate_at(0.1, 100)
    assert [share(0), share(9)] == pytest.approx([0.1, 1.0])
    assert share(100) == pytest.approx(0.01)
    assert all(share(n) >= share(n + 1) for n in range(10, 100))


def test_weights_that_know_the_test_patients_are_refused_and_what_they_know_is_passed_on(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=1)
    split = split_cases(config.data, volumes, 0)
    first = Bundle.load(train(config, split, tmp_path / "first", settings).bundle_folder)
    with pytest.raises(DatasetError, match="would be memory"):
        train(config, split_cases(config.data, volumes, 1), tmp_path / "other", settings, initial=first)
    more = dataclasses.replace(first, seen=first.seen.joined(Seen(frozenset({"long ago"}))))
    second = train(config, split, tmp_path / "second", settings, initial=more)
    assert "long ago" in Bundle.load(second.bundle_folder).seen.patients


def test_the_last_epoch_validates(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=3, validate_every=2)
    history = train(config, split_cases(config.data, volumes, 0), tmp_path / "run", settings).history
    assert [VALIDATION_METRIC in epoch for epoch in history] == [False, True, True]


def test_fewer_epochs_than_between_validations_still_give_a_model(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=2, validate_every=5)
    assert train(config, split_cases(config.data, volumes, 0), tmp_path / "run", settings).best_epoch == 2
