"""Cases at the ends of what comes: nothing in them, very much in them, very large, of any depth of grey."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.config.evaluation import CentreDistance
from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.records import ReportData, TaskReport
from pipeline.reporting.report import SIZE_LIMIT, render
from pipeline.reporting.viewed import CaseViews, case_views
from pipeline.reporting.viewer_page import viewer
from pipeline.volumes import Annotations
from tests.reporting.examples import evaluation_of, lesion_experiment, scored_cases

RULE = CentreDistance(distance=3)


def scattered(case_id: str, grid: Grid, objects: int, detections: int, modality: str = "") -> ScoredCase:
    """Objects at random places, every second one found where there are detections enough; the others are false."""
    rng = np.random.default_rng(objects + detections)

    def boxes(places):
        return Boxes.around(places, np.full((len(places), grid.dims), 5.0), grid)

    places = rng.uniform(0, 1, (objects, grid.dims)) * (np.array(grid.shape) - 1)
    elsewhere = rng.uniform(0, 1, (detections, grid.dims)) * (np.array(grid.shape) - 1)
    elsewhere[: min(objects, detections) // 2] = places[: min(objects, detections) // 2]
    annotations = Annotations.of(boxes(places), ("cell",) * objects)
    found = Detections(
        case_id, boxes(elsewhere), rng.uniform(0.1, 1, detections), np.zeros(detections, dtype=int), ("cell",)
    )
    return ScoredCase(case_id, case_id, annotations, found, {"modality": modality})


def views_of(case: ScoredCase, image: np.ndarray, limit: int = 5_000_000) -> CaseViews:
    return case_views([case], lambda _: image, RULE, 0.5, limit=limit)


def block_of(views: CaseViews) -> dict:
    return json.loads(viewer(views, list(views.cases)).cases[0].data)


@pytest.mark.parametrize(("objects", "detections"), [(0, 0), (0, 3), (3, 0)])
def test_a_lone_case_without_objects_or_without_detections_is_shown(objects, detections):
    grid = Grid.of_pixels((60, 40))
    views = views_of(scattered("a", grid, objects, detections), np.zeros((1, 60, 40), np.uint8))
    block = block_of(views)
    assert (views.chosen, len(block["annotations"]), len(block["versions"][0]["detections"])) == (
        1,
        objects,
        detections,
    )
    config = lesion_experiment()
    evaluation = evaluation_of(config, scored_cases(config, 0.5, cases=1), "cells/1")
    page = render(ReportData("One", "today", (TaskReport("cells", (evaluation,), views=views),)))
    assert "1 of 1 cases are in this file" in page
    assert "NaN" not in json.dumps(block)


def test_two_thousand_objects_in_a_case_are_all_drawn_and_take_less_than_is_reckoned():
    grid = Grid.of_pixels((1000, 1000))
    views = views_of(scattered("a", grid, 2000, 2000), np.zeros((1, 1000, 1000), np.uint8))
    block = block_of(views)
    assert len(block["annotations"]) == 2000
    reported = sum(mark[8] >= 0.5 for mark in block["versions"][0]["detections"])
    assert reported == int((views.cases[0].judged.case.detections.scores >= 0.5).sum())
    marks = json.dumps([block["annotations"], block["versions"]], separators=(",", ":"))
    assert len(marks) < 62 * (2000 + views.cases[0].kept[0])


def test_sixteen_bit_grey_is_spread_over_the_window_and_what_is_near_it():
    grid = Grid.of_pixels((64, 64))
    image = np.linspace(1000, 41000, 64 * 64).reshape(1, 64, 64).astype(np.uint16)
    block = block_of(views_of(scattered("a", grid, 1, 1), image))
    low, high = block["shown"]
    assert (low, high) == pytest.approx((1200, 40800), rel=0.001)  # percentiles 0.5 and 99.5
    assert (block["values"][0], block["values"][-1]) == (1000, 41000)
    assert "values 1000 … 41000 in 256 steps" in block["told"]


def test_a_colour_field_keeps_its_three_channels():
    grid = Grid.of_pixels((20, 10))
    image = np.random.default_rng(0).integers(0, 255, (3, 20, 10)).astype(np.uint8)
    views = views_of(scattered("a", grid, 1, 1), image)
    stored = np.asarray(Pillow.open(io.BytesIO(views.cases[0].image.planes[0])))
    np.testing.assert_array_equal(stored, image.transpose(2, 1, 0))


def test_a_volume_of_300_slices_of_512_by_512_is_made_smaller_within_the_limit_and_says_so():
    grid = Grid((512, 512, 300), np.diag([-0.7, -0.7, 1.0, 1.0]))
    rng = np.random.default_rng(0)
    plane = rng.integers(-1000, 300, (1, 512, 512, 1)).astype(np.int16)
    image = np.broadcast_to(plane, (1, *grid.shape))
    views = views_of(scattered("a", grid, 2, 2, "CT"), image, limit=1_500_000)
    (viewed,) = views.cases
    assert viewed.image.bytes * 4 / 3 < 1_500_000
    told = viewer(views, [viewed]).cases[0].told
    assert told.startswith("512 × 512 × 300 pixels; shown with ")
    assert f"{len(viewed.image.slices)} of 300 slices, those nearest to the findings" in told
    assert {one.slice_index for one in viewed.findings} <= set(viewed.image.slices)


def test_many_big_cases_stay_below_the_limit_and_those_left_out_are_counted():
    grid = Grid.of_pixels((512, 512))
    noise = np.random.default_rng(0).integers(0, 255, (3, 512, 512)).astype(np.uint8)
    cases = [scattered(f"case-{n}", grid, 500, 500) for n in range(10)]
    views = case_views(cases, lambda _: noise, RULE, 0.5, limit=2_000_000)
    config = lesion_experiment()
    evaluation = evaluation_of(config, scored_cases(config, 0.5, cases=2), "cells/1")
    data = ReportData("Big", "today", (TaskReport("cells", (evaluation,), views=views),))
    assert 0 < len(views.cases) < 10
    page = render(data)
    assert len(page.encode()) < SIZE_LIMIT
    assert f"{10 - len(views.cases)} more that were chosen did not fit into its size limit" in page
    two = render(replace(data, tasks=(data.tasks[0], replace(data.tasks[0], name="again"))))
    assert len(two.encode()) < SIZE_LIMIT
