"""Several processes learn what one learns."""

import dataclasses

import pytest
import torch

from pipeline.datasets.sampling import NumberSampler
from pipeline.datasets.split import split_cases
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ConfigError, ModelError
from pipeline.training.ranks import Rank, ShareSampler
from pipeline.training.team import leading, process_count
from pipeline.training.train import train
from tests.experiments import tiny_2d


def test_two_processes_learn_what_one_learns_from_the_same_batches(tmp_path, settings, volumes):
    """Five validation cases, so the second process has one less; batches of 4, the last of 2."""
    volumes = [dataclasses.replace(volume, patient_key="p") for volume in volumes[:4]] + volumes[4:]
    config = tiny_2d(max_epochs=2, batch_size=4, learning_rate=1e-3)
    config = config.model_copy(update={"sampling": config.sampling.model_copy(update={"samples_per_epoch": 10})})
    split = split_cases(config.data, volumes, 0)
    one = train(config, split, tmp_path / "one", settings)
    two = train(config, split, tmp_path / "two", dataclasses.replace(settings, devices=2))
    assert two.facts["processes"] == 2
    weights, others = (Bundle.load(result.bundle_folder).network.state_dict() for result in (one, two))
    for name, value in weights.items():
        assert torch.allclose(value, others[name], atol=2e-4), name
    for row, other in zip(one.history, two.history, strict=True):
        assert other["loss"] == pytest.approx(row["loss"], rel=1e-3)
        assert other["validation_primary"] == pytest.approx(row["validation_primary"], abs=1e-6)


def test_a_batch_is_dealt_to_all_and_whole():
    shares = [list(ShareSampler(NumberSampler(10), 4, Rank(number, 2))) for number in (0, 1)]
    assert shares == [[[0, 2], [4, 6], [8]], [[1, 3], [5, 7], [9]]]


def test_a_batch_too_small_for_all_is_refused():
    with pytest.raises(ConfigError, match="the smallest has 1"):
        ShareSampler(NumberSampler(9), 4, Rank(0, 2))


def test_the_error_of_another_process_is_shown_whole():
    with (
        pytest.raises(ModelError, match="ZeroDivisionError: division by zero"),
        leading(2, torch.device("cpu"), fails) as rank,
    ):
        rank.mean(torch.ones(1))


def fails(rank: Rank) -> None:
    1 / 0  # noqa: B018


def test_all_gpus_are_none_on_a_cpu(settings):
    assert process_count(dataclasses.replace(settings, devices="auto"), torch.device("cpu")) == 1
