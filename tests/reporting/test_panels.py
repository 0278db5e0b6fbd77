"""Where an outline is drawn, by hand-computed numbers."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.config.transforms import Percentiles, Window
from pipeline.detections import Detections
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.display import edge_letters, flips, grey_range, to_picture
from pipeline.reporting.overlay import COLOURS, overlay_png
from pipeline.reporting.panels import Marks, Region, case_panels, choose_slices, marks_of, panel
from pipeline.volumes import Annotations
from tests.phantoms import awkward_grid

PIXELS = Grid.of_pixels((8, 6))
RAS = Grid((10, 8, 20), np.diag([1.0, 2.0, 3.0, 1.0]))
LPS_ORDER = Grid((10, 8, 20), np.diag([-1.0, -2.0, 3.0, 1.0]))


def marks(boxes: Boxes, role: str = "annotation", wrong: bool = False, scores=None) -> Marks:
    return Marks(role, boxes, np.full(len(boxes), wrong), scores)


def voxel_box(grid: Grid, *index: int) -> Boxes:
    return Boxes.around(np.array([index], dtype=float), np.ones((1, grid.dims)), grid)


def edges(outline) -> tuple[float, float, float, float]:
    return outline.left, outline.top, outline.right, outline.bottom


def test_a_one_pixel_object_is_outlined_at_its_pixel():
    one = panel(np.zeros((1, 8, 6), np.uint8), PIXELS, [marks(voxel_box(PIXELS, 5, 2))], shown=(0, 255))
    assert one.picture.shape == (6, 8, 3)
    assert edges(one.outlines[0]) == (5, 2, 6, 3)


def test_columns_run_right_and_rows_down():
    image = np.zeros((1, 8, 6), np.uint8)
    image[0, 5, 2] = 255
    picture = to_picture(image, (0, 255))
    assert np.argwhere(picture[..., 0] == 255).tolist() == [[2, 5]]


@pytest.mark.parametrize("grid", [RAS, LPS_ORDER, awkward_grid((10, 8, 20))])
def test_an_outline_lies_on_its_bright_voxel_whatever_the_orientation(grid):
    image = np.zeros((1, *grid.shape), np.uint8)
    image[0, 7, 1, 4] = 255
    one = panel(image, grid, [marks(voxel_box(grid, 7, 1, 4))], shown=(0, 255), slice_index=4)
    row, column = np.argwhere(one.picture[..., 0] == 255)[0]
    assert edges(one.outlines[0]) == pytest.approx((column, row, column + 1, row + 1))


def test_slices_are_shown_towards_left_and_back():
    assert flips(RAS) == (True, True)
    assert flips(LPS_ORDER) == (False, False)
    assert flips(PIXELS) == (False, False)
    assert edge_letters(RAS) == ("R", "A", "L", "P")
    assert edge_letters(PIXELS) is None


def test_a_region_moves_the_outline_and_stays_in_the_image():
    boxes = voxel_box(PIXELS, 7, 5)
    region = Region.around(boxes, 0, PIXELS, minimum_px=4)
    assert (region.lower, region.upper) == ((3, 1), (8, 6))
    one = panel(np.zeros((1, 8, 6)), PIXELS, [marks(boxes)], shown=(0, 1), region=region)
    assert one.picture.shape == (5, 5, 3)
    assert edges(one.outlines[0]) == (4, 4, 5, 5)


def test_boxes_outside_the_region_are_not_drawn():
    both = Boxes.around(np.array([[1.0, 1.0], [6.0, 4.0]]), np.ones((2, 2)), PIXELS)
    one = panel(np.zeros((1, 8, 6)), PIXELS, [marks(both)], shown=(0, 1), region=Region((0, 0), (4, 4)))
    assert [edges(outline) for outline in one.outlines] == [(1, 1, 2, 2)]


def test_anisotropic_pixels_keep_their_aspect():
    one = panel(np.zeros((1, 10, 8, 20)), RAS, [], shown=(0, 1), slice_index=0)
    assert one.aspect == 2.0


def test_a_flat_box_is_drawn_on_its_nearest_slice():
    flat = Boxes(np.array([[1.0, 1, 4.3]]), np.array([[3.0, 3, 4.4]]), RAS)
    drawn = [
        k
        for k in range(20)
        if panel(np.zeros((1, 10, 8, 20)), RAS, [marks(flat)], shown=(0, 1), slice_index=k).outlines
    ]
    assert drawn == [4]


def test_slices_go_through_missed_annotations_and_best_detections_first():
    def at(*slices):
        return Boxes.around(np.array([[4.0, 4, k] for k in slices]), np.ones((len(slices), 3)), RAS)

    annotations = Marks("annotation", at(2, 9), np.array([False, True]))
    detections = marks(at(15, 3), "detection", scores=np.array([0.2, 0.9]))
    assert choose_slices([annotations, detections], RAS, slices=2) == [3, 9]
    assert choose_slices([annotations, detections], RAS, slices=4) == [2, 3, 9, 15]


def test_a_volume_without_boxes_shows_its_middle_slice():
    panels = case_panels(np.zeros((1, 10, 8, 20)), RAS, [marks(Boxes.empty(RAS))])
    assert [one.caption for one in panels] == ["slice 11 of 20"]


def test_boxes_on_slices_not_shown_are_counted():
    many = Boxes.around(np.array([[4.0, 4, k] for k in range(0, 20, 2)]), np.ones((10, 3)), RAS)
    panels = case_panels(np.zeros((1, 10, 8, 20)), RAS, [marks(many)], slices=3)
    assert len(panels) == 3
    assert panels[-1].caption.endswith("7 of 10 boxes lie on slices not shown")


def test_windows_and_percentiles_give_the_grey_range():
    image = np.arange(101, dtype=np.float64).reshape(1, 101, 1)
    assert grey_range(image, Window(lower=-5, upper=7)) == (-5, 7)
    assert grey_range(image, Percentiles(lower=10, upper=90)) == (10, 90)
    assert grey_range(image.astype(np.uint8), None) == (0, 255)
    assert grey_range(np.full((1, 2, 2), np.nan), None) == (0, 1)


def test_constant_and_missing_values_do_not_warn():
    assert (to_picture(np.full((1, 2, 2), 7.0), (7.0, 7.0)) == 128).all()
    assert (to_picture(np.array([[[np.nan, np.inf]]]), (0, 1))[..., 0] == [[0], [255]]).all()


def found(grid: Grid, boxes: Boxes, scores: list[float]) -> Detections:
    return Detections("v", boxes, np.array(scores), np.zeros(len(boxes), dtype=int), ("lesion",))


def test_an_overlay_draws_only_detections_above_the_threshold(tmp_path):
    boxes = Boxes.around(np.array([[3.0, 3.0], [3.0, 3.0]]), np.full((2, 2), 3.0), PIXELS)
    image = np.zeros((1, 8, 6), np.uint8)
    colours = {}
    for threshold in (0.5, 0.9):
        data = overlay_png(image, None, found(PIXELS, boxes, [0.7, 0.6]), threshold, tmp_path / f"{threshold}.png")
        picture = np.asarray(Pillow.open(io.BytesIO(data)))
        colours[threshold] = (picture == COLOURS["detection"]).all(axis=2).any()
        assert (tmp_path / f"{threshold}.png").read_bytes() == data
    assert colours == {0.5: True, 0.9: False}


def test_an_overlay_of_a_volume_is_a_montage_of_slices():
    boxes = Boxes.around(np.array([[4.0, 4, 3], [4.0, 4, 16]]), np.full((2, 3), 3.0), RAS)
    annotations = Annotations.of(boxes, ("lesion", "lesion"))
    detections = found(RAS, Boxes.empty(RAS), [])
    sheet = Pillow.open(io.BytesIO(overlay_png(np.zeros((1, 10, 8, 20)), annotations, detections, 0.5)))
    assert sheet.size[0] == 2 * 480 + 4
    assert (np.asarray(sheet) == COLOURS["annotation"]).all(axis=2).any()


def test_a_scan_with_nothing_on_it_still_gives_an_overlay():
    data = overlay_png(
        np.zeros((3, 8, 6), np.uint8), Annotations.none(PIXELS), found(PIXELS, Boxes.empty(PIXELS), []), 0.5
    )
    assert Pillow.open(io.BytesIO(data)).size == (480, 360)


def test_ignored_annotations_are_marks_of_their_own():
    boxes = Boxes.around(np.array([[2.0, 2.0], [5.0, 4.0]]), np.ones((2, 2)), PIXELS)
    annotations = Annotations(boxes, ("a", "b"), np.array([True, False]))
    roles = [(one.role, one.boxes.centres.tolist()) for one in marks_of(annotations, found(PIXELS, boxes[:0], []))]
    assert roles == [("annotation", [[5.0, 4.0]]), ("ignored", [[2.0, 2.0]]), ("detection", [])]
