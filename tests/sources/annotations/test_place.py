import itertools

import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_lps_to_ras, ras_to_lps
from pipeline.sources.annotations.marks import BESIDE, Mark, MarkSet
from pipeline.sources.annotations.place import place
from tests.phantoms import awkward_grid
from tests.sources.written import OBLIQUE_COLUMN, OBLIQUE_FIRST, OBLIQUE_NORMAL, OBLIQUE_ROW

# Spacing 0.5, 2, 4 mm along rows (.8, .6, 0), columns (0, 0, -1) and normal (-.6, .8, 0) in LPS; first voxel's centre
# at LPS (10, -20, 30).
LPS = np.eye(4)
LPS[:3, 0], LPS[:3, 1], LPS[:3, 2] = (
    0.5 * np.array(OBLIQUE_ROW),
    2 * np.array(OBLIQUE_COLUMN),
    4 * np.array(OBLIQUE_NORMAL),
)
LPS[:3, 3] = OBLIQUE_FIRST
OBLIQUE = Grid((12, 8, 6), affine_lps_to_ras(LPS))
FIELD = Grid.of_pixels((30, 20))


def _lps(*indices):
    return np.array(indices) @ LPS[:3, :3].T + LPS[:3, 3]


def _placed(frame, *marks, grid=OBLIQUE, **more):
    return place(MarkSet(BESIDE, frame, marks, **more), grid, {})


def _bounds(placed):
    boxes = placed.annotations.boxes
    return boxes.lower.round(9).tolist(), boxes.upper.round(9).tolist()


def test_sphere_is_as_wide_as_its_diameter_along_every_array_axis():
    # Voxel (5, 2, 4): LPS (10, -20, 30) + 2.5 row - 4 z + 16 normal = (2.4, -5.7, 26).
    np.testing.assert_allclose(_lps([5, 2, 4]), [[2.4, -5.7, 26.0]])
    placed = _placed("lps_mm", Mark("x", [[2.4, -5.7, 26.0]], "sphere", size=(4.0,)))
    # 4 mm are 8, 2 and 1 voxels.
    assert _bounds(placed) == ([[1.0, 1.0, 3.5]], [[9.0, 3.0, 4.5]])


def test_ras_is_the_mirror_of_lps():
    placed = _placed("ras_mm", Mark("x", [[-2.4, 5.7, 26.0]], "sphere", size=(1.5, 4.0, 8.0)))
    assert _bounds(placed) == ([[3.5, 1.0, 3.0]], [[6.5, 3.0, 5.0]])


def test_world_aligned_box_is_bounded_by_all_its_corners():
    # Half edges of 1 mm around voxel (5, 2, 4): |.8| + |.6| = 1.4 mm along i and k, 1 mm along j.
    centre = _lps([5, 2, 4])[0]
    placed = _placed("lps_mm", Mark("x", [centre - 1, centre + 1], "box"))
    assert _bounds(placed) == ([[5 - 2.8, 1.5, 4 - 0.35]], [[5 + 2.8, 2.5, 4 + 0.35]])


def test_box_by_all_its_corners_along_the_array_is_exact():
    corners = _lps(*itertools.product((3.5, 4.5), (1.5, 2.5), (0.5, 3.5)))
    assert _bounds(_placed("lps_mm", Mark("x", corners, "box"))) == ([[3.5, 1.5, 0.5]], [[4.5, 2.5, 3.5]])


def _contour(*k):
    """A triangle of drawn lines through voxel centres on the slices ``k``."""
    rings = [_lps([2, 1, one], [6, 1, one], [4, 5, one]) for one in k]
    return np.concatenate(rings), (3,) * len(k)


def test_slab_reaches_along_the_normal_of_oblique_contours():
    points, rings = _contour(2, 3)
    placed = _placed("lps_mm", Mark("x", points, "polygon", slab_mm=1.0, rings=rings))
    # The drawn line lies on voxel centres; 1 mm is a quarter of a slice.
    assert _bounds(placed) == ([[2.0, 1.0, 1.75]], [[6.0, 5.0, 3.25]])


def test_contours_of_unknown_thickness_stand_for_their_slices():
    points, rings = _contour(2, 3)
    placed = _placed("lps_mm", Mark("x", points, "polygon", rings=rings))
    assert _bounds(placed) == ([[2.0, 1.0, 1.5]], [[6.0, 5.0, 3.5]])
    assert placed.notes == ("1 contours state no thickness, taken as that of the image's slices",)


def test_normal_of_contours_that_cross_the_slices_is_their_own():
    # In the plane of axes i and k at j = 3, 1 mm along the columns of 2 mm.
    points = _lps([2, 3, 1], [6, 3, 1], [4, 3, 4])
    placed = _placed("lps_mm", Mark("x", points, "polygon", slab_mm=1.0))
    assert _bounds(placed) == ([[2.0, 2.5, 1.0]], [[6.0, 3.5, 4.0]])


def test_contour_far_from_the_origin_keeps_its_normal():
    affine = np.array(OBLIQUE.affine)
    affine[:3, 3] += [9e4, -7e4, 8e4]
    grid = Grid((12, 8, 6), affine)
    points = ras_to_lps(grid.to_world(np.array([[2.0, 1, 2], [6, 1, 2], [4, 5, 2]])))
    boxes = _placed("lps_mm", Mark("x", points, "polygon", slab_mm=2.0), grid=grid).annotations.boxes
    np.testing.assert_allclose([boxes.lower[0], boxes.upper[0]], [[2, 1, 1.5], [6, 5, 2.5]], atol=1e-6)


def test_vertices_in_edge_px_are_edges_of_pixels():
    ring = np.array([[5.0, 2.0], [6.0, 2.0], [6.0, 3.0], [5.0, 3.0]])
    assert _bounds(_placed("edge_px", Mark("x", ring, "polygon"), grid=FIELD)) == ([[4.5, 1.5]], [[5.5, 2.5]])


def test_object_that_reaches_beyond_the_image_is_kept_whole_and_told():
    placed = _placed("edge_px", Mark("x", [[-3.0, 2], [9, 4]], "box"), grid=FIELD)
    assert _bounds(placed) == ([[-3.5, 1.5]], [[8.5, 3.5]])
    assert placed.notes == ("1 objects reach beyond the image",)


def test_outer_edges_belong_to_the_image_and_nothing_beyond_them():
    inside = Mark("x", [[30.0, 20.0]], "point")
    assert len(_placed("edge_px", inside, grid=FIELD).annotations) == 1
    reason = (
        r"1 of 2 objects have their centre outside the image of \(30, 20\) voxels, e.g. object 2 at index \[29.6, 1.5\]"
    )
    with pytest.raises(AnnotationError, match=reason):
        _placed("edge_px", inside, Mark("x", [[30.1, 2.0]], "point"), grid=FIELD)


def test_points_have_nominal_boxes_and_say_so():
    annotations = _placed("index", Mark("", [[4.0, 7.0]], "point"), grid=FIELD).annotations
    assert annotations.boxes.sizes.tolist() == [[12.0, 12.0]]
    assert (annotations.from_points, annotations.labels) == (True, ("unlabelled",))


def test_slide_coordinates_are_taken_through_the_slides_own_frame():
    # 0.5 µm pixels; rows run against y, columns against x of the slide; first pixel's centre at (20, 40) mm.
    grid = Grid((1000, 2000), np.diag([0.0005, 0.0005, 1.0]))
    where = {"slide_origin_mm": "20 40", "slide_orientation": "0 -1 0 -1 0 0"}
    corners = np.array([[20 - 0.05, 40 - 0.1, 0.0], [20 - 0.1, 40 - 0.2, 0.0]])
    placed = place(MarkSet(BESIDE, "slide_mm", (Mark("x", corners, "box"),)), grid, where)
    assert _bounds(placed) == ([[200.0, 100.0]], [[400.0, 200.0]])
    with pytest.raises(AnnotationError, match="states no pixel size, origin and orientation"):
        place(MarkSet(BESIDE, "slide_mm", (Mark("x", corners, "box"),)), grid, {})


@pytest.mark.parametrize(
    ("frame", "mark", "grid", "reason"),
    [
        ("lps_mm", Mark("x", [[1.0, 2, 3]], "point"), FIELD, "the frame must be one of index, edge_px, slide_mm"),
        ("slide_mm", Mark("x", [[1.0, 2, 3]], "point"), OBLIQUE, "the frame must be one of index, edge_px, lps_mm"),
        ("lps_mm", Mark("x", [[1.0, 2, 3]], "point"), Grid((9, 9, 9), np.eye(4), "px"), "got lps_mm"),
        ("index", Mark("x", [[1.0, 2, 3]], "point"), FIELD, "the objects have 3 coordinates, the image 2 axes"),
        ("index", Mark("x", [[1.0, 2]], "sphere", size=(3.0,)), FIELD, "a diameter in mm needs an image in mm"),
        ("index", Mark("x", [[1.0, 2], [1, 4]], "box"), FIELD, "1 objects have no extent, e.g. object 1"),
        ("index", Mark("x", [[1.0, 2, 3]] * 3, "polygon", slab_mm=1.0), OBLIQUE, "cannot have a thickness in mm"),
    ],
)
def test_what_does_not_fit_the_volume_is_refused(frame, mark, grid, reason):
    with pytest.raises(AnnotationError, match=reason):
        _placed(frame, mark, grid=grid)


def test_no_marks_is_no_finding():
    assert len(_placed("ras_mm", grid=awkward_grid()).annotations) == 0


@pytest.mark.parametrize(
    ("kind", "points", "more", "reason"),
    [
        ("box", [[0.0, 0], [1, 1], [2, 2]], {}, "a box of 2 axes cannot have 3 points"),
        ("point", [[0.0, np.nan]], {}, "finite points"),
        ("sphere", [[0.0, 0]], {}, "a sphere needs diameters"),
        ("sphere", [[0.0, 0]], {"size": (0.0,)}, "above 0, got 0.0"),
        ("polygon", [[0.0, 0]] * 4, {"rings": (3,)}, "contours of 3 vertices do not make 4 points"),
        ("polygon", [[0.0, 0]] * 4, {"slab_mm": -1.0}, "not below 0, got -2.0"),
    ],
)
def test_mark_is_valid_once_it_is_made(kind, points, more, reason):
    with pytest.raises(AnnotationError, match=reason):
        Mark("x", points, kind, **more)
