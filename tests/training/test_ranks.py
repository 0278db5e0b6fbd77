"""Several processes learn what one learns."""

import dataclasses
import operator
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from pipeline.datasets.sampling import NumberSampler
from pipeline.datasets.split import split_cases
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ConfigError, ModelError
from pipeline.training.ranks import Rank, ShareSampler
from pipeline.training.team import follows, leading, process_count
from pipeline.training.train import train
from tests.experiments import tiny_2d

ROOT = Path(__file__).parents[2]


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
        pytest.raises(ModelError, match="bad operand type for unary -: 'Rank'"),
        leading(2, torch.device("cpu"), operator.neg) as rank,
    ):
        rank.mean(torch.ones(1))


def test_processes_that_torchrun_started_join(monkeypatch, settings):
    place = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place["MASTER_PORT"] = str(free.getsockname()[1])
    for name, value in (place | {"RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    assert not follows()
    other = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.training.team import follow, follows; assert follows(); follow()"],
        env=os.environ | place | {"RANK": "1", "LOCAL_RANK": "1"},
        cwd=ROOT,
    )
    count = process_count(settings, torch.device("cpu"))
    with leading(count, torch.device("cpu"), partial(Rank.mean, value=torch.tensor([1.0]))) as rank:
        assert rank.mean(torch.tensor([3.0])).tolist() == [2.0]
    assert other.wait(60) == 0


def test_several_machines_are_refused(monkeypatch, settings):
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="4 processes, 2 here"):
        process_count(settings, torch.device("cpu"))


def test_all_gpus_are_none_on_a_cpu(settings):
    assert process_count(dataclasses.replace(settings, devices="auto"), torch.device("cpu")) == 1
