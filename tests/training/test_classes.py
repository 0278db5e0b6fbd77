"""Rare classes count more."""

import numpy as np
import pytest
import torch

from pipeline.datasets.prepared import PreparedCase
from pipeline.geometry import Boxes, Grid
from pipeline.training.classes import class_weights


def case(*labels: int, ignored: int = 0) -> PreparedCase:
    """The last ``ignored`` objects are to be ignored."""
    n = len(labels)
    boxes = Boxes(np.zeros((n, 2)), np.ones((n, 2)), Grid.of_pixels((8, 8)))
    return PreparedCase(np.zeros((1, 8, 8)), boxes, np.array(labels), np.arange(n) >= n - ignored)


def test_inverse_roots_are_one_on_average_over_objects():
    weights = class_weights("inverse_sqrt", [case(0, 0, 0, 1), case(0, -1)], 2)
    assert weights[1] / weights[0] == pytest.approx(2)  # 4 and 1 objects
    assert 4 * weights[0] + weights[1] == pytest.approx(5)


def test_effective_numbers_saturate():
    weights = class_weights("effective", [case(*[0] * 3000, *[1] * 10)], 2)
    assert weights[1] / weights[0] == pytest.approx((1 - 0.999**3000) / (1 - 0.999**10))


def test_ignored_objects_do_not_count_and_an_absent_class_is_as_it_was():
    weights = class_weights("inverse_sqrt", [case(0, 0, 1, 1, 1, ignored=1)], 3)
    assert torch.allclose(weights, torch.ones(3))


def test_one_class_or_no_weighting_has_no_weights():
    assert class_weights("inverse_sqrt", [case(0)], 1) is None
    assert class_weights("none", [case(0, 1)], 2) is None
