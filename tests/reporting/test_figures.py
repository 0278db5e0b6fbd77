import io
import sys

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.reporting.charts import Axis, difference_axis, nice_step, share_axis
from pipeline.reporting.features import feature_maps
from pipeline.reporting.figures import operating_point, save_figures
from pipeline.reporting.naming import metric_name, number, short_name
from tests.reporting.examples import evaluation_of, lesion_experiment, scored_cases


def test_figures_are_written_without_pyplot(tmp_path):
    config = lesion_experiment()
    evaluation = evaluation_of(config, scored_cases(config, 0.7), "lesions/$1_x")
    before = "matplotlib.pyplot" in sys.modules
    paths = save_figures(evaluation, tmp_path / "figures")
    assert [path.name for path in paths] == ["metrics.png", *(f"{name}.png" for name in evaluation.curves)]
    assert {"froc.png", "precision_recall.png", "calibration.png", "roc_scan.png"} <= {path.name for path in paths}
    assert all(Pillow.open(io.BytesIO(path.read_bytes())).size[0] > 500 for path in paths)
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_figures_of_a_test_set_without_objects_are_drawn(tmp_path):
    config = lesion_experiment()
    evaluation = evaluation_of(config, scored_cases(config, 0.7, cases=2), "lesions/1")
    assert all(path.stat().st_size > 0 for path in save_figures(evaluation, tmp_path))


def test_the_operating_point_is_what_the_counts_say():
    config = lesion_experiment()
    evaluation = evaluation_of(config, scored_cases(config, 0.7), "lesions/1")
    counts = evaluation.counts
    assert operating_point("froc", evaluation) == (counts["false_positives"] / 12, counts["hits"] / counts["objects"])
    recall, precision = operating_point("precision_recall", evaluation)
    assert recall == pytest.approx(evaluation.metrics["recall"].value)
    assert precision == pytest.approx(evaluation.metrics["precision"].value)


@pytest.mark.parametrize("dims", [2, 3])
def test_feature_maps_show_first_middle_and_last_resolution(dims):
    stages = {f"1/{2**n}": np.random.default_rng(n).normal(size=(5, *(32 >> n,) * dims)) for n in range(5)}
    five = Pillow.open(io.BytesIO(feature_maps(stages)))
    one = Pillow.open(io.BytesIO(feature_maps({"1/1": stages["1/1"]})))
    assert five.size[0] == one.size[0]
    assert five.size[1] > 2 * one.size[1]


def test_feature_maps_lie_as_pictures_do_with_columns_along_i():
    from pipeline.reporting.features import _planes

    maps = np.zeros((10, 4, 3))
    maps[7, 3, 0] = 1.0  # i = 3, j = 0
    planes = _planes(maps, "1/1")
    assert planes.shape == (10, 3, 4)
    assert planes[7, 0, 3] == 1.0


def test_feature_maps_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"stage 1/1: expected \(channel, i, j\)"):
        feature_maps({"1/1": np.zeros((4, 4))})
    with pytest.raises(ValueError, match="at least one stage"):
        feature_maps({})


def test_axes_place_values_and_hold_what_lies_outside():
    octaves = Axis(0.125, 8, 0, 60, octaves=True)
    assert [octaves.at(x) for x in (0, 0.125, 1, 8, 100)] == [0, 0, 30, 60, 60]
    assert [text for _, text in octaves.ticks()] == ["⅛", "¼", "½", "1", "2", "4", "8"]
    assert [text for _, text in share_axis().ticks()] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert difference_axis([]).first == -difference_axis([]).last
    assert [nice_step(x) for x in (0.2, 0.03, 0.9, 5)] == pytest.approx([0.2, 0.05, 1.0, 5])


def test_names_are_for_readers():
    assert metric_name("ap_iou_0_50") == "AP at box overlap 0.50"
    assert metric_name("class_f1_tumour") == "F1 of class tumour"
    assert metric_name("something_new") == "something_new"
    assert short_name("cells", "cells/3") == "version 3"
    assert short_name("cells", "other/3") == "other/3"
    assert number(float("nan")) == "–"
    assert number(-0.25, 2) == "−0.25"
