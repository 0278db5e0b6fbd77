"""Where the mass of a saliency map lies."""

import numpy as np
import pytest

from pipeline.explanation.pointing import Pointing, mass_inside, point
from pipeline.explanation.saliency import Saliency
from pipeline.geometry import Boxes, Grid


def test_mass_inside_a_box_by_hand():
    values = np.array([[4.0, -9.0, 0.0], [1.0, 3.0, 0.0]])
    inside = np.array([[True, True, False], [False, False, False]])
    found = Saliency(values, Grid.of_pixels((2, 3)), 1.0, 0.0, 1.0, 8)
    assert mass_inside(found, inside) == (0.5, True)  # 4 of 4 + 1 + 3; what lowered the score does not count
    assert mass_inside(found, ~inside) == (0.5, False)
    nothing = Saliency(-np.abs(values), found.grid, 1.0, 0.0, 1.0, 8)
    assert mass_inside(nothing, inside) == (0.0, False)


def test_a_trained_network_points_at_what_it_found(trained):
    hits = [(0, 0), (1, 1)]
    objects = Boxes(trained.found.boxes.lower[:2], trained.found.boxes.upper[:2], trained.found.boxes.grid)
    pointed = point(trained.bundle.network, trained.config, trained.scan, trained.found, hits, objects)
    for one in pointed:
        assert one.area < 0.05  # 8 of 48 pixels along each axis
        assert one.inside > 0.5 > one.random_inside
        assert one.peak
    figures = Pointing(tuple(pointed)).metrics()
    assert figures["saliency_inside"] == pytest.approx(np.mean([one.inside for one in pointed]))
    assert (figures["saliency_pointing"], figures["saliency_hits"]) == (1.0, 2.0)


def test_without_a_hit_there_is_no_share():
    figures = Pointing(()).metrics()
    assert np.isnan(figures["saliency_inside"])
    assert figures["saliency_hits"] == 0
