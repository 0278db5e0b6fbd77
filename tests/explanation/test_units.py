"""The pieces of scans that excite a unit most, by networks whose units are known by hand."""

import io
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image as Pillow

from pipeline.detectors.bundle import seeded_network
from pipeline.explanation import units
from pipeline.explanation.units import exciting_pieces, first_filters
from pipeline.geometry import Grid
from pipeline.reporting.units import units_png
from tests.experiments import tiny_2d, tiny_3d


def brightness(monkeypatch, stride: tuple[int, ...], field: tuple[int, ...]):
    """One stage with one channel: the greatest value of each cell."""
    pool = torch.nn.functional.max_pool2d if len(stride) == 2 else torch.nn.functional.max_pool3d
    monkeypatch.setattr(units, "receptive_fields", lambda network: [field])
    return SimpleNamespace(
        backbone=SimpleNamespace(strides=(stride,)), features=lambda image: [pool(image, stride, stride=stride)]
    )


def test_pieces_lie_about_the_strongest_places_and_apart(monkeypatch):
    network = brightness(monkeypatch, (1, 1), (5, 5))
    dark, bright = torch.zeros(1, 20, 20), torch.zeros(1, 20, 20)
    bright[0, 8, 10], bright[0, 9, 10], bright[0, 15, 5] = 0.9, 0.8, 0.7  # the second lies beside the first
    dark[0, 4, 4] = 0.5
    bright[0, 0, 0] = 5.0  # a piece about it would reach beyond the border
    (stage,) = exciting_pieces(network, [dark, bright], [0], units=1, pieces=3)
    (unit,) = stage.units
    assert unit.activations == tuple(np.float32([0.9, 0.7, 0.5]).tolist())
    first = unit.pieces[0]
    assert first.shape == (1, 5, 5)
    assert first[0, 2, 2] == np.float32(0.9)
    assert first[0, 3, 2] == np.float32(0.8)
    assert stage.edge == (5, 5)


def test_of_one_window_no_more_than_two_pieces_come_before_those_of_others(monkeypatch):
    network = brightness(monkeypatch, (1, 1), (3, 3))
    one, other = torch.zeros(1, 20, 20), torch.zeros(1, 20, 20)
    for n, value in enumerate((0.9, 0.8, 0.7)):
        one[0, 5, 4 + 5 * n] = value
    other[0, 5, 5] = 0.1
    ((unit,),) = (stage.units for stage in exciting_pieces(network, [one, other], [0], units=1, pieces=3))
    assert unit.activations == tuple(np.float32([0.9, 0.8, 0.1]).tolist())


def test_a_piece_of_a_volume_is_cut_at_the_slice_in_the_middle_of_its_cell(monkeypatch):
    """Cell 3 of stride 3 along k stands for slices 9 … 11; its middle is 10."""
    network = brightness(monkeypatch, (1, 1, 3), (3, 3, 7))
    image = torch.zeros(1, 12, 12, 15)
    image[0, 6, 6, 9], image[0, 5, 6, 10] = 1.0, 0.25
    ((unit,),) = (stage.units for stage in exciting_pieces(network, [image], [0], units=1, pieces=1))
    assert unit.pieces[0][0].tolist() == [[0, 0.25, 0], [0, 0, 0], [0, 0, 0]]


def test_pieces_are_no_wider_than_96_voxels_and_inputs_of_other_sizes_may_be_mixed(monkeypatch):
    network = brightness(monkeypatch, (2, 2), (300, 5))
    (stage,) = exciting_pieces(network, [torch.rand(1, 40, 40), torch.rand(1, 60, 20)], [0], units=1, pieces=2)
    assert stage.edge == (96, 5)
    assert stage.units[0].pieces[0].shape == (1, 96, 5)


def test_filters_of_the_first_layer_are_those_of_the_network():
    network = seeded_network(tiny_2d())
    filters = first_filters(network)
    assert filters.shape == (8, 1, 3, 3)
    weights = network.backbone.stages[0][0].conv.unit0.conv.weight.detach().numpy()
    assert sorted(filters.sum(axis=(1, 2, 3)).tolist()) == sorted(weights.sum(axis=(1, 2, 3)).tolist())
    assert first_filters(seeded_network(tiny_3d())).shape == (8, 1, 3, 3)


def test_units_are_drawn_with_and_without_filters():
    network = seeded_network(tiny_2d())
    stages = exciting_pieces(network, [torch.rand(1, 32, 32)], [0, 1, 2], units=2, pieces=3)
    pictures = [units_png(stages, filters, Grid.of_pixels((32, 32))) for filters in (first_filters(network), None)]
    heights = [Pillow.open(io.BytesIO(png)).size[1] for png in pictures]
    assert heights[0] == heights[1] + 110  # one inch
