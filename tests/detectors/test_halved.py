"""Weights in half the space."""

import pytest
import torch
from safetensors.torch import load_file

from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.halved import halved
from tests.made_versions import cells_config


@pytest.mark.parametrize(
    ("name", "values", "halves"),
    [
        ("conv.weight", [0.1, -3.0, 65504.0], True),
        ("conv.weight", [0.1, 70000.0], False),  # beyond the largest 16-bit float
        ("conv.weight", [1.0, 1e-9], True),  # nothing beside its like
        ("conv.weight", [1e-6, 3.3e-7], False),  # all of them too small for 11 digits
        ("conv.weight", [0.0, 0.0], True),
        ("bn.running_var", [1.0, 0.25], True),
        ("bn.running_var", [1.0, 1.2e-6], False),  # divided by: 1.2e-6 would become 1.19e-6
        ("bn.running_mean", [-0.5, 100.1], True),
        ("conv.weight", [float("nan"), 1.0], False),
    ],
)
def test_a_tensor_is_halved_where_it_survives_that(name, values, halves):
    value = torch.tensor(values)
    (kept,) = halved({name: value}).values()
    assert kept.dtype == (torch.float16 if halves else torch.float32)
    assert torch.equal(kept.isfinite(), value.isfinite())


def test_counts_of_batches_stay_as_they_are():
    count = torch.tensor(100_000)
    assert halved({"bn.num_batches_tracked": count})["bn.num_batches_tracked"] is count


def test_a_halved_bundle_is_half_as_large_and_loads_in_32_bits_with_the_weights_rounded(tmp_path):
    config = cells_config()
    whole = Bundle(config, seeded_network(config), 0.5)
    whole.save(tmp_path / "whole")
    whole.save(tmp_path / "half", half=True)
    stored = load_file(tmp_path / "half" / "weights.safetensors")
    bits = sum(value.numel() * value.element_size() for value in stored.values())
    assert bits < 0.55 * sum(v.numel() * v.element_size() for v in whole.network.state_dict().values())
    loaded = Bundle.load(tmp_path / "half").network.state_dict()
    for name, value in whole.network.state_dict().items():
        assert loaded[name].dtype == value.dtype
        if value.dtype == torch.float32:
            assert torch.equal(loaded[name], value.half().float())
