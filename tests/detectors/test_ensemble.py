"""Several networks as one, of every kind."""

from dataclasses import replace

import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.detector import View
from pipeline.detectors.ensemble import Ensemble
from pipeline.detectors.fused import fused
from pipeline.detectors.transfer import transfer
from pipeline.detectors.turns import UPRIGHT, Turn
from tests.detectors.test_kinds import KINDS
from tests.experiments import tiny_star

CONFIGS = {name: KINDS[name] for name in ("centre 2d", "centre 3d", "retinanet 2d", "retinanet 3d")}
CONFIGS["star"] = tiny_star()
FLIPPED = (UPRIGHT, Turn(flips=(0,)))


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def network_of(config, seed):
    changed = config.model_dump()
    changed["training"]["seed"] = seed
    return seeded_network(ExperimentConfig.model_validate(changed)).eval()


def windows(config):
    shape = (32, 32) if config.data.dims == 2 else (16, 16, 16)
    image = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(5))
    return image, [View((0,) * len(shape), shape)] * 2


def probabilities(network, image):
    with torch.inference_mode():
        return [torch.sigmoid(level) for level in network.logits(network(image))]


def test_a_place_gets_the_mean_of_the_members_probabilities(config):
    image, _ = windows(config)
    members = [network_of(config, seed) for seed in (1, 2, 3)]
    together = probabilities(Ensemble(members), image)
    apart = [probabilities(member, image) for member in members]
    for level, own in zip(together, zip(*apart, strict=True), strict=True):
        assert not torch.allclose(own[0], own[1])
        torch.testing.assert_close(level, torch.stack(own).mean(dim=0), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("turns", [(UPRIGHT,), FLIPPED], ids=["upright", "flipped"])
def test_a_network_with_itself_finds_what_it_finds_alone(config, turns):
    image, views = windows(config)
    network = network_of(config, 1)
    with torch.inference_mode():
        alone = network.look(image, views, 1e-3, turns)
        together = fused(Ensemble([network, network])).look(image, views, 1e-3, turns)
    assert sum(len(one.scores) for one in alone) > 0
    for one, other in zip(alone, together, strict=True):
        for name, value in one._there.items():
            torch.testing.assert_close(getattr(other, name), value, rtol=1e-3, atol=1e-3)


def test_a_saved_ensemble_is_loaded_with_all_members_and_shown_by_its_first(config, tmp_path):
    image, _ = windows(config)
    members = [network_of(config, seed) for seed in (1, 2)]
    Bundle(config, Ensemble(members), 0.5).save(tmp_path)
    for loaded in (Bundle.load(tmp_path), Bundle.load_file(tmp_path / "weights.safetensors")):
        assert len(loaded.network.members) == 2
        for one, other in zip(
            probabilities(loaded.network, image), probabilities(Ensemble(members), image), strict=True
        ):
            assert torch.equal(one, other)
        for one, other in zip(
            probabilities(loaded.plain.network, image), probabilities(members[0], image), strict=True
        ):
            assert torch.equal(one, other)


def test_a_network_that_starts_from_an_ensemble_has_the_weights_of_its_first():
    config = CONFIGS["centre 2d"]
    members, target = [network_of(config, seed) for seed in (1, 2)], network_of(config, 3)
    source = Bundle(config, Ensemble(members), 0.5)
    assert transfer(source, target, config).share == 1.0
    for name, value in target.state_dict().items():
        assert torch.equal(value, members[0].state_dict()[name])


def test_one_network_is_saved_as_it_always_was(tmp_path):
    config = CONFIGS["centre 2d"]
    bundle = Bundle(config, network_of(config, 1), 0.5)
    bundle.save(tmp_path / "one")
    assert "members" not in (tmp_path / "one" / "bundle.json").read_text()
    assert not isinstance(Bundle.load(tmp_path / "one").network, Ensemble)
    assert replace(bundle).plain.network is bundle.network
