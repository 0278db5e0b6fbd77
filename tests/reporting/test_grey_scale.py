import numpy as np
import pytest

from pipeline.reporting.grey_scale import GreyScale, grey_scale


def ends(scale: GreyScale) -> tuple[float, float]:
    return scale.first, scale.last


def test_the_scale_reaches_half_a_window_beyond_but_not_beyond_the_values():
    image = np.array([[[-3000, 150, 3000]]], dtype=np.int16)
    assert ends(grey_scale(image, (-1000, 400))) == (-1700, 1100)
    assert ends(grey_scale(np.clip(image, -1024, 600), (-1000, 400))) == (-1024, 600)
    assert ends(grey_scale(image.astype(np.uint8), (10, 20))) == (0, 255)


def test_the_scale_holds_the_window_and_is_never_empty():
    assert ends(grey_scale(np.full((1, 2, 2), 5, np.int16), (0, 10))) == (0, 10)
    assert ends(grey_scale(np.full((1, 2, 2), np.nan, np.float32), (7, 7))) == (7, 8)


def test_hounsfield_units_are_finest_in_soft_tissue_and_reach_from_air_to_bone():
    image = np.array([[[-2000, 0, 3071]]], dtype=np.int16)
    scale = grey_scale(image, (-1000, 400), hounsfield=True)
    assert scale.values == (-1024, -200, 300, 1600)
    # 103 steps of 8 HU, 100 of 5 and 52 of 25 fill 255 levels.
    assert scale.levels == pytest.approx((0, 103, 203, 255))
    assert scale.finest == pytest.approx((5, -200, 300))


def test_hounsfield_units_beyond_the_scans_own_take_no_levels():
    image = np.array([[[-100, 0, 100]]], dtype=np.int16)
    scale = grey_scale(image, (-50, 50), hounsfield=True)
    assert (scale.values, scale.levels) == ((-100, 100), (0, 255))
    assert grey_scale(image, (-1000, 400), hounsfield=True).values == (-1000, -200, 300, 400)


def test_levels_and_values_agree_at_every_knot_and_between():
    scale = GreyScale((0.0, 100.0, 255.0), (-1000.0, 0.0, 310.0))
    found = scale.levels_of(np.array([-5000, -1000, -500, 0, 155, 310, 999, np.nan, np.inf, -np.inf]))
    np.testing.assert_allclose(found, [0, 0, 50, 100, 177.5, 255, 255, 0, 255, 0])
