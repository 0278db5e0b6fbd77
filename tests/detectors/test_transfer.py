"""What a network takes over from another one."""

import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.transfer import transfer
from pipeline.errors import ModelError
from tests.experiments import tiny_2d, tiny_3d, tiny_star

STEM = "stages.0.0.conv.unit0.conv.weight"


def changed(config: ExperimentConfig, **parts: dict) -> ExperimentConfig:
    raw = config.model_dump() | {"seed": 9}
    for name, part in parts.items():
        raw[name] |= part
    return ExperimentConfig.model_validate(raw)


def bundle(config: ExperimentConfig) -> Bundle:
    network = seeded_network(config)
    torch.nn.init.normal_(network.out.bias)
    return Bundle(config, network, 0.5)


def test_rows_of_the_head_are_matched_by_the_name_of_their_class():
    source = bundle(changed(tiny_2d(), data={"classes": ["a", "b"]}))
    config = changed(tiny_2d(), data={"classes": ["b", "c"]})
    target = seeded_network(config)
    fresh = target.out.weight.clone()
    told = transfer(source, target, config)
    of, to = source.network.out.weight, target.out.weight
    assert torch.equal(to[0], of[0])  # score
    assert torch.equal(to[1], of[2])  # b
    assert torch.equal(to[2], fresh[2])  # c, anew
    assert torch.equal(to[3:], of[3:])  # distances
    assert told.classes == ("b",)
    assert told.anew == ()
    assert 0.99 < told.share < 1


def test_another_outline_keeps_its_first_distances_and_takes_the_rest():
    source, target = bundle(tiny_2d()), seeded_network(tiny_star())
    fresh = target.out.weight.clone()
    transfer(source, target, tiny_star())
    assert torch.equal(target.out.weight[:2], source.network.out.weight[:2])
    assert torch.equal(target.out.weight[2:], fresh[2:])
    assert torch.equal(target.head.conv.weight, source.network.head.conv.weight)


@pytest.mark.parametrize(("of", "to"), [(1, 3), (3, 1)])
def test_a_grey_image_has_the_same_features_with_other_channels(of, to):
    source = bundle(changed(tiny_2d(), preprocessing={"channels": of}))
    config = changed(tiny_2d(), preprocessing={"channels": to})
    target = seeded_network(config)
    told = transfer(source, target, config)
    assert told.adapted == ("backbone.stages.0.0.conv.unit0.conv", "backbone.stages.0.0.residual")
    grey = torch.randn(2, 1, 32, 32)
    given, taken = (
        net.features(grey.repeat(1, n, 1, 1)) for net, n in ((source.network.eval(), of), (target.eval(), to))
    )
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(given, taken, strict=True))


def test_first_layers_for_other_channels_start_anew_and_are_named():
    source = bundle(changed(tiny_2d(), preprocessing={"channels": 2}))
    config = changed(tiny_2d(), preprocessing={"channels": 3})
    target = seeded_network(config)
    fresh = target.backbone.state_dict()[STEM].clone()
    told = transfer(source, target, config)
    assert "backbone.stages.0.0.conv.unit0.conv" in told.anew
    assert torch.equal(target.backbone.state_dict()[STEM], fresh)
    assert "anew: backbone.stages.0.0.conv.unit0.conv" in str(told)


def test_a_backbone_with_another_decoder_is_enough_of_a_start():
    config = changed(tiny_2d(), detector={"decoder_width": 64})
    target = seeded_network(config)
    told = transfer(bundle(tiny_2d()), target, config)
    assert told.share < 0.2
    assert "out" in told.anew
    assert told.classes == ()


def test_weights_of_another_network_are_not_taken_for_a_start():
    with pytest.raises(ModelError, match="only 1% of the backbone fits the weights to start from"):
        transfer(bundle(tiny_3d()), seeded_network(tiny_2d()), tiny_2d())


def test_a_file_of_weights_says_by_itself_what_it_is(tmp_path):
    saved = bundle(changed(tiny_2d(), data={"classes": ["a", "b"]}))
    saved.save(tmp_path / "bundle")
    moved = (tmp_path / "bundle" / "weights.safetensors").rename(tmp_path / "elsewhere.safetensors")
    loaded = Bundle.load_file(moved)
    assert loaded.classes == ("a", "b")
    assert torch.equal(loaded.network.out.weight, saved.network.out.weight)


def test_the_same_bundle_is_the_same_file(tmp_path):
    saved = bundle(tiny_2d())
    for name in ("one", "two"):
        saved.save(tmp_path / name)
    assert len({(tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "two")}) == 1


def test_a_file_that_says_nothing_of_itself_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="which patients shaped it"):
        Bundle.load_file(tmp_path / "a.safetensors")
