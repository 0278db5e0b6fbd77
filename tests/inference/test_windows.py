import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import load_experiment
from pipeline.inference.windows import pad_to, plan_windows, windows_of

CELLS = Path(__file__).parents[2] / "configs" / "experiments" / "demo_cells_2d.yaml"


@given(st.integers(1, 300), st.integers(8, 96), st.floats(0, 0.8), st.sampled_from([1, 2, 4, 8]))
def test_every_voxel_is_owned_by_exactly_one_window(voxels, window, overlap, multiple):
    plan = plan_windows((voxels,), (window,), overlap, (multiple,))
    for voxel in range(voxels):
        owners = [n for n, ((lower, upper),) in enumerate(plan.cores) if lower <= voxel < upper]
        assert len(owners) == 1
        (start,) = plan.starts[owners[0]]
        assert start <= voxel < start + plan.size[0]


@given(st.integers(1, 300), st.integers(8, 96), st.floats(0, 0.8), st.sampled_from([1, 2, 4, 8]))
def test_windows_fit_the_network_and_the_padded_image(voxels, window, overlap, multiple):
    plan = plan_windows((voxels,), (window,), overlap, (multiple,))
    assert plan.size[0] % multiple == 0
    assert all(start % multiple == 0 and start + plan.size[0] <= plan.padded[0] for (start,) in plan.starts)


def test_a_small_image_is_one_window_of_its_own_size():
    plan = plan_windows((30, 17), (64, 64), 0.25, (8, 8))
    assert plan.size == (32, 24)
    assert plan.starts == ((0, 0),)


def test_padding_repeats_the_far_border():
    image = torch.arange(6, dtype=torch.float32).view(1, 2, 3)
    padded = pad_to(image, (4, 4))
    assert padded.shape == (1, 4, 4)
    assert padded[0, 3].tolist() == pytest.approx([3, 4, 5, 5])


@given(st.integers(1, 300), st.integers(8, 96), st.floats(0, 0.8), st.sampled_from([1, 2, 4, 8, 32]))
def test_neighbours_share_at_least_the_overlap_but_for_one_step_of_the_network(voxels, window, overlap, multiple):
    plan = plan_windows((voxels,), (window,), overlap, (multiple,))
    steps = [second[0] - first[0] for first, second in itertools.pairwise(plan.starts)]
    assert all(step <= max(plan.size[0] * (1 - overlap), multiple) for step in steps)


@given(st.integers(1, 100), st.integers(1, 64), st.sampled_from([1, 4, 8]))
def test_no_window_is_smaller_than_the_least(voxels, least, multiple):
    plan = plan_windows((voxels,), (64,), 0.25, (multiple,), (least,))
    assert plan.size[0] >= min(max(voxels, least), 64)
    assert (plan.cores[0][0][0], plan.cores[-1][0][1]) == (-float("inf"), float("inf"))
    if voxels >= least:
        assert plan == plan_windows((voxels,), (64,), 0.25, (multiple,))


def test_an_image_smaller_than_a_training_patch_is_padded_as_training_pads_it():
    changes = ["sampling.patch=[48,48]", "inference.window=[64,24]", "inference.overlap=0.25"]
    config = load_experiment(CELLS, changes)
    plan = windows_of(config, (30, 10), (8, 8))
    assert plan.size == (48, 24), "the patch, but no more than one window"
    assert len(plan.starts) == 1
    assert windows_of(config, (100, 100), (8, 8)) == plan_windows((100, 100), (64, 24), 0.25, (8, 8))
