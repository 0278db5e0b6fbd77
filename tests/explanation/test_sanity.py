"""The check that a map tells of the network passes for a trained one, and fails for maps of the image alone."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_gradient_magnitude

from pipeline.explanation.checks import Forgotten, SanityCheck, check_sanity
from pipeline.explanation.origin import find_origin
from pipeline.explanation.randomisation import cascade, randomised
from pipeline.explanation.saliency import Saliency
from pipeline.explanation.similarity import rank_correlation, structural_similarity


@pytest.fixture(scope="module")
def origin(trained):
    return find_origin(trained.bundle.network, trained.config, trained.scan, trained.found, 0)


@pytest.fixture(scope="module")
def origin_3d(trained_3d):
    return find_origin(trained_3d.bundle.network, trained_3d.config, trained_3d.scan, trained_3d.found, 0)


@pytest.mark.parametrize("dims", [2, 3])
def test_random_weights_give_another_map_and_the_same_weights_the_same(dims, request):
    trained, origin = (request.getfixturevalue(name + "_3d" * (dims == 3)) for name in ("trained", "origin"))
    check, maps = check_sanity(trained.bundle.network, origin)
    assert check.identical
    assert check.repeated == pytest.approx(1)
    assert [one.layers for one in check.cascade] == [
        "output layer", "decoder", "last third of the backbone", "middle third of the backbone",
        "first third of the backbone",
    ]  # fmt: skip
    assert check.passed
    assert len(maps) == 5
    assert maps[-1].values.shape == origin.grid.shape


@pytest.mark.parametrize("dims", [2, 3])
def test_an_edge_detector_that_ignores_the_weights_fails(dims, request, monkeypatch):
    trained, origin = (request.getfixturevalue(name + "_3d" * (dims == 3)) for name in ("trained", "origin"))

    def edges(network, origin, steps):
        image = origin.image[0].numpy()[tuple(slice(n) for n in origin.grid.shape)]
        return Saliency(gaussian_gradient_magnitude(image, 1.0), origin.grid, 1.0, 0.0, 1.0, 1)

    monkeypatch.setattr("pipeline.explanation.checks.saliency", edges)
    check, _ = check_sanity(trained.bundle.network, origin)
    assert check.identical
    assert check.magnitude_correlation == pytest.approx(1)
    assert [one.similarity for one in check.cascade] == pytest.approx([1] * 5)
    assert not check.passed


def test_edges_of_random_sign_fail_by_their_magnitudes():
    """Signs that the weights draw by chance do not correlate; the magnitudes say that only the image is shown."""
    check = SanityCheck(1.0, True, (Forgotten("all", 0.01, 1.0, 1.0),))
    assert not check.passed
    assert dataclasses.replace(check, cascade=(Forgotten("all", 0.01, 0.5, 0.4),)).passed
    assert not dataclasses.replace(check, cascade=(Forgotten("all", 0.9, 0.5, 0.4),)).passed
    assert not dataclasses.replace(check, cascade=(Forgotten("all", 0.01, 0.5, 0.4),), identical=False).passed


def test_maps_of_which_nothing_can_be_said_do_not_pass():
    nothing = SanityCheck(1.0, True, (Forgotten("all", float("nan"), float("nan"), float("nan")),))
    assert not nothing.passed


def test_layers_become_random_from_the_output_downwards(trained, origin):
    """After the first step only the output layer differs, after the last everything that was learned."""
    network = trained.bundle.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    steps = [dict(one.state_dict()) for _, one in cascade(network, 0, origin.image)]
    changed = [{name for name, value in step.items() if not torch.equal(value, before[name])} for step in steps]
    assert changed[0] == {"out.weight", "out.bias"}
    assert all(one < more for one, more in itertools.pairwise(changed))
    assert {name for name in before if name.endswith("conv.weight")} <= changed[-1]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_random_weights_depend_on_the_seed_alone(trained, origin):
    network = trained.bundle.network
    one, again, other = (randomised(network, seed, origin.image).state_dict() for seed in (3, 3, 4))
    assert torch.equal(one["out.weight"], again["out.weight"])
    assert not torch.equal(one["out.weight"], other["out.weight"])


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 8, 27, 64])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([2.0, 1, 3])) == pytest.approx(0.5)
    assert np.isnan(rank_correlation(np.zeros(3), np.arange(3.0)))


def test_structural_similarity_by_hand():
    """Two flat maps of 1 and of 0.5 beside a 1 that is too far away to matter: luminance 2ab/(a² + b²) alone."""
    rng = np.random.default_rng(0)
    a = rng.random((12, 12))
    assert structural_similarity(a, 3 * a) == pytest.approx(1)  # scaled to the same greatest value
    one, half = np.ones((40, 40)), np.full((40, 40), 0.5)
    half[0, 0] = 1.0
    flat = (2 * 0.5 + 1e-4) / (1 + 0.25 + 1e-4)
    share = 1 - (8 / 40) ** 2  # the corner that sees the 1 is at most so large
    assert structural_similarity(one, half) == pytest.approx(flat, abs=1 - share)
    assert np.isnan(structural_similarity(np.zeros((4, 4)), a[:4, :4]))
