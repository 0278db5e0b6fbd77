"""Pictures for the tracking page: what they show, and that awkward figures are drawn."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.evaluation import Comparison, Estimate, StratumDifference
from pipeline.reporting import forest
from pipeline.reporting.confusion_figure import confusion_png
from pipeline.reporting.group_figure import group_png

F1 = {"f1": Estimate(0.8, 0.7, 0.9), "count_error": Estimate(5.0, 4.0, 6.0)}
NONE = Estimate(math.nan, math.nan, math.nan)
STRATA = {
    "stain": {"PAS": {"f1": Estimate(0.6, 0.4, 0.7), "recall": NONE}},
    "size": {
        "small": {"f1": NONE, "recall": Estimate(0.5, 0.3, 0.6)},
        "large": {"f1": NONE, "recall": NONE},
    },
}
COUNTS = {
    "stain": {"PAS": {"patients": 8, "patients_with_objects": 7, "objects": 40}},
    "size": {"small": {"patients": 1, "objects": 40}, "large": {"patients": 0, "objects": 0}},
}


@pytest.fixture
def drawn(monkeypatch):
    """The rows that a forest plot was given."""
    seen = []
    draw = forest.forest_png

    def keep(title, rows, *more, **named):
        seen.append((title, rows))
        return draw(title, rows, *more, **named)

    monkeypatch.setattr(forest, "forest_png", keep)
    return seen


def size(png):
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


def test_strata_are_told_with_what_they_hold_below_the_whole(drawn):
    png = forest.strata_png("cells/1", "f1", F1, STRATA, COUNTS)
    ((title, rows),) = drawn
    assert title == "cells/1: F1 by stratum"
    assert [(row.label, row.told, row.strong) for row in rows] == [
        ("all", "0.800 [0.700, 0.900]", True),
        ("stain: PAS  (7 patients, 40 objects)", "0.600 [0.400, 0.700]", False),
        ("Sensitivity, size: small  (1 patient, 40 objects)", "0.500 [0.300, 0.600]", False),
        ("Sensitivity, size: large  (0 patients, 0 objects)", "– ", False),
    ]
    assert size(png)[0] == 1080


def test_where_the_primary_metric_is_none_of_strata_f1_stands_for_it(drawn):
    forest.strata_png("cells/1", "map_iou_0_50_0_95", F1, STRATA, COUNTS)
    assert drawn[0][0] == "cells/1: F1 by stratum"


def test_without_strata_there_is_no_picture():
    assert forest.strata_png("cells/1", "f1", F1, {}, {}) is None


def test_differences_show_the_primary_first_and_strata_with_corrected_p(drawn):
    small = StratumDifference("f1", 0.5, 0.6, Estimate(0.1, -0.02, 0.2), 0.03, 0.06, 9, 40)
    comparison = Comparison(
        version_a="cells/1",
        version_b="cells/2",
        test_set="t",
        primary="f1",
        differences={"recall": Estimate(-0.1, -0.2, 0.0), "f1": Estimate(0.2, 0.1, 0.3), "count_error": F1["f1"]},
        p_values={"f1": 0.01},
        values_a={},
        values_b={},
        patients=12,
        strata={"size": {"small": small}},
    )
    assert size(forest.differences_png(comparison))[0] == 1080
    ((title, rows),) = drawn
    assert title == "cells/2 less cells/1, paired over 12 patients"
    assert [(row.label, row.told) for row in rows] == [
        ("F1", "+0.200 [0.100, 0.300]  p = 0.010"),
        ("Sensitivity", "−0.100 [−0.200, 0.000]"),
        ("F1, size: small  (9 patients, 40 objects)", "+0.100 [−0.020, 0.200]  adjusted p = 0.060"),
    ]


def test_children_of_a_group_are_drawn_beside_the_pooled_figures_also_where_one_has_none():
    pooled = {**F1, "recall": Estimate(0.5, math.nan, math.nan), "precision": Estimate(math.nan, math.nan, math.nan)}
    few = size(group_png("folds $0$", pooled, [{"f1": 0.7, "recall": math.nan}, {"f1": 0.9}]))
    more = size(group_png("folds", {**pooled, "cpm": F1["f1"]}, [{"f1": 0.7}]))
    assert more[1] > few[1]  # a row more


def test_confusion_is_shaded_by_the_share_of_its_row():
    table = pd.DataFrame([[9, 1], [0, 0]], index=["tumour", "nothing there"], columns=["tumour", "not found"])
    with Image.open(io.BytesIO(confusion_png("cells/1", table))) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert ((pixels[..., 2] > pixels[..., 0] + 60) & (pixels[..., 2] > 90)).mean() > 0.02  # the dark cell of 9 of 10
