import json
from dataclasses import replace

import numpy as np

from pipeline.config.evaluation import CentreDistance
from pipeline.reporting.judging import judge
from pipeline.reporting.viewed import case_views, choose, embedded_bytes
from pipeline.reporting.viewer_page import viewer
from tests.reporting.test_gallery import RULE, case
from tests.reporting.written_cases import field_case, field_image, volume_case, volume_image, volume_views

SMALL = np.zeros((1, 100, 100), np.uint8)


def test_worst_miss_and_most_confident_false_positive_come_first_then_the_typical_case():
    cases = [
        case("fine", {10: 4}, {10: 0.9}),
        case("misses", {10: 12, 50: 12}, {}),
        case("small miss", {10: 4}, {}),
        case("false", {}, {10: 0.95}),
        case("less false", {}, {10: 0.6, 40: 0.6, 80: 0.55}),
    ]
    judged = [judge(one, RULE, 0.5) for one in cases]
    assert [one.case.case_id for one in choose(judged, 9)] == ["misses", "false", "small miss", "less false"]
    assert [one.case.case_id for one in choose(judged, 2)] == ["misses", "false"]
    assert [one.case.case_id for one in choose(judged[:1], 9)] == ["fine"]
    assert choose([], 9) == []


def test_cases_share_the_limit_and_those_that_do_not_fit_are_counted():
    cases = [case(name, {10: 6}, {80: 0.9}) for name in "abcdef"]
    noise = np.random.default_rng(0).integers(0, 255, SMALL.shape).astype(np.uint8)
    views = case_views(cases, lambda _: noise, RULE, 0.5, limit=20_000)
    assert (views.chosen, views.of) == (6, 6)
    assert 0 < len(views.cases) < 6
    assert sum(embedded_bytes(one) for one in views.cases) <= 20_000
    text = viewer(views, list(views.cases)).left_out
    assert f"{6 - len(views.cases)} more that were chosen did not fit" in text


def test_images_are_read_for_chosen_cases_only():
    asked = []

    def read(name):
        asked.append(name)
        return SMALL

    case_views([case(name, {10: 6}, {}) for name in "abc"], read, RULE, 0.5, most=2)
    assert asked == ["a", "b"]


def test_findings_are_misses_then_false_positives_then_hits():
    (viewed,) = volume_views().cases
    assert [(one.outcome, one.index, round(one.score, 2), one.slice_index) for one in viewed.findings] == [
        ("miss", 1, 0.2, 9),
        ("false_positive", 1, 0.7, 15),
        ("hit", 0, 0.9, 4),
    ]


def test_the_block_places_marks_in_pixels_from_the_upper_left_edge():
    views = volume_views()
    block = json.loads(viewer(views, list(views.cases)).cases[0].data)
    assert (block["columns"], block["rows"], block["depth"], block["pixel"]) == (60, 50, 20, [1.0, 1.0])
    # The missed lesion: centre (40, 30, 9), 6 mm wide, slices of 2 mm; index 40 has its centre at 40.5.
    assert block["annotations"][1] == [37.5, 27.5, 43.5, 33.5, 8, 10, 9, 0, 0]
    (version,) = block["versions"]
    assert (version["threshold"], version["found"]) == (0.4, [0.9, 0.2])
    assert [mark[8:] for mark in version["detections"]] == [[0.9, 1], [0.7, 0], [0.2, 1]]
    assert block["slices"] == list(range(20))
    assert len(block["planes"]) == 20
    assert block["letters"] == ["R", "A", "L", "P"]
    assert block["valueUnit"] == "HU"


def test_rows_lead_to_marks_and_name_slices_from_one():
    views = volume_views()
    rows = viewer(views, list(views.cases)).rows
    assert [(one.name, one.mark, one.place, one.score) for one in rows] == [
        ("Missed", "annotation-1", "10", "0.20"),
        ("False positive", "detection-1", "16", "0.70"),
        ("Hit", "detection-0", "5", "0.90"),
    ]
    assert rows[0].size == "6.0"


def test_a_finding_whose_slice_is_not_in_the_file_is_listed_without_a_way_there():
    views = volume_views()
    (viewed,) = views.cases
    fewer = replace(viewed, image=replace(viewed.image, slices=(8, 9, 10), planes=viewed.image.planes[8:11]))
    shown = viewer(views, [fewer])
    assert [(one.place, one.mark) for one in shown.rows] == [
        ("10", "annotation-1"),
        ("16, not in this file", ""),
        ("5, not in this file", ""),
    ]
    assert "3 of 20 slices, those nearest to the findings" in shown.cases[0].told


def test_points_have_no_size_and_ignored_ones_are_marked():
    views = case_views([field_case()], field_image, CentreDistance(distance=6), 0.4)
    shown = viewer(views, list(views.cases))
    block = json.loads(shown.cases[0].data)
    assert not shown.sized
    assert (shown.points, shown.ignored, shown.volumes) == (True, True, False)
    assert [mark[8] for mark in block["annotations"]] == [0, 0, 1]
    assert block["colour"]
    assert "values" not in shown.cases[0].told


def test_more_detections_than_a_case_may_hold_are_left_out_from_the_bottom_and_told(monkeypatch):
    monkeypatch.setattr("pipeline.reporting.viewed._MOST_DETECTIONS", 1)
    (viewed,) = volume_views().cases
    shown = viewer(volume_views(), [viewed])
    (version,) = json.loads(shown.cases[0].data)["versions"]
    assert [mark[8] for mark in version["detections"]] == [0.9, 0.7]
    assert "1 detections of the lowest scores left out" in shown.cases[0].told


def test_long_lists_say_what_they_leave_out(monkeypatch):
    monkeypatch.setattr("pipeline.reporting.viewer_page._MOST_ROWS", {"miss": 1, "false_positive": 1, "hit": 1})
    cases = [volume_case(name) for name in ("a", "b", "c")]
    views = case_views(cases, volume_image, CentreDistance(distance=3), 0.4)
    shown = viewer(views, list(views.cases))
    assert len(shown.rows) == 3
    assert shown.more_rows == (
        "Not listed, but drawn in the viewer: 2 more of kind “missed”, 2 more of kind “false positive”, "
        "2 more of kind “hit”."
    )


def test_no_case_no_viewer():
    views = case_views([], lambda _: SMALL, RULE, 0.5)
    assert viewer(views, []) is None
