"""The picture of a transfer curve, also where figures do not exist or are not reached."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluation.crossing import Crossing
from pipeline.evaluation.learning_curve import LearningCurve, Point, Validated
from pipeline.evaluation.records import Estimate
from pipeline.reporting.learning_curve_figure import learning_curve_png

SIZES = [{"patients": 3.0, "cases": 3.0, "objects": 54.0}, {"patients": 30.0, "cases": 30.0, "objects": 8664.0}]


def curve(scratch=(0.4, 0.7), transferred=(0.6, 0.8), needed=0.3, validated=((10, 20), (0.5, 0.7)), ends=0.05):
    def points(values):
        return tuple(
            Point(share, Estimate(value, value - ends, value + ends), (value, value + 0.01))
            for share, value in zip((0.1, 1.0), values, strict=True)
        )

    steps, figures = validated
    own = {way: Validated(steps, (figures, figures)) for way in ("scratch", "transferred")}
    gains = tuple(Estimate(b - a, math.nan, math.nan) for a, b in zip(scratch, transferred, strict=True))
    crossing = Crossing(needed, 0.1, math.inf, 0.1, 0.9)
    return LearningCurve(
        primary="f1",
        confidence=0.95,
        test_set="abc",
        counts={"patients": 10, "cases": 10, "objects": 500},
        seeds=(0, 1),
        curves={"scratch": points(scratch), "transferred": points(transferred)},
        gains=gains,
        validated=own,
        steps=20,
        needed_data=crossing,
        needed_steps=crossing,
    )


def pixels(made, name="cells $2", source="ImageNet weights"):
    with Image.open(io.BytesIO(learning_curve_png(name, source, made, SIZES))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def near(image, colour):
    return int((np.abs(image - np.array(colour)).max(axis=-1) < 12).sum())


BLUE, ORANGE = (0, 0x72, 0xB2), (0xD5, 0x5E, 0)


def test_both_ways_are_drawn_in_their_colours_on_white():
    image = pixels(curve())
    assert near(image, BLUE) > 500
    assert near(image, ORANGE) > 500
    assert near(image, (255, 255, 255)) > 0.6 * image.shape[0] * image.shape[1]


def test_where_the_quality_is_reached_is_marked_only_where_it_is():
    """The vertical line, of ten points and more, crosses no other grey."""
    reached, not_reached = (pixels(curve(needed=needed)) for needed in (0.3, math.inf))
    columns = [(np.abs(image - 128).max(axis=-1) < 40).sum(axis=0).max() for image in (reached, not_reached)]
    assert columns[0] > columns[1] + 20


@pytest.mark.parametrize(
    "odd",
    [
        curve(scratch=(math.nan, math.nan)),
        curve(ends=math.nan),
        curve(validated=((), ())),
        curve(validated=((10,), (0.5,))),
        curve(validated=((10, 20), (math.nan, 0.5))),
    ],
)
def test_what_does_not_exist_is_left_out(odd):
    assert near(pixels(odd), BLUE) > 100
