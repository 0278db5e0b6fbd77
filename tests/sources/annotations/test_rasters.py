import numpy as np

from pipeline.geometry import Grid
from pipeline.sources.annotations.marks import BESIDE, Mark, MarkSet
from pipeline.sources.annotations.rasters import covered, rasterised

GRID = Grid.of_pixels((6, 5))


def _rasterised(*rings, frame="edge_px"):
    marks = [Mark("x", np.concatenate(one), "polygon", rings=tuple(map(len, one))) for one in rings]
    return rasterised(MarkSet(BESIDE, frame, tuple(marks)), GRID, {})


def _square(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def test_rectangle_of_pixel_edges_covers_its_pixels():
    label_map, _ = _rasterised([_square(1, 2, 3, 4)], [_square(3, 2, 4, 5)])
    expected = np.zeros((6, 5), int)
    expected[1:3, 2:4], expected[3, 2:5] = 1, 2
    np.testing.assert_array_equal(label_map, expected)


def test_centres_on_an_edge_belong_to_the_side_of_growing_indices():
    # In index coordinates these edges run through pixel centres: columns 1 and 3, rows 2 and 4.
    first, second = _square(1, 2, 3, 4), _square(3, 2, 5, 4)
    label_map, _ = _rasterised([first], [second], frame="index")
    assert np.argwhere(label_map == 1).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert np.argwhere(label_map == 2).tolist() == [[3, 2], [3, 3], [4, 2], [4, 3]]


def test_slanted_edge_is_decided_at_each_centre():
    # Below the line from (0, 0) to (6, 3): centre (i + .5, j + .5) is inside where j + .5 > (i + .5) / 2.
    label_map, _ = _rasterised([np.array([[0.0, 0], [6, 3], [0, 3]])])
    expected = [[j + 0.5 > (i + 0.5) / 2 and j < 3 for j in range(5)] for i in range(6)]
    np.testing.assert_array_equal(label_map, np.array(expected, int))


def test_holes_and_pieces_follow_the_even_odd_rule():
    label_map, _ = _rasterised([_square(0, 0, 5, 5), _square(1, 1, 4, 4), _square(2, 2, 3, 3)])
    expected = np.zeros((6, 5), int)
    expected[:5], expected[1:4, 1:4], expected[2, 2] = 1, 0, 1
    np.testing.assert_array_equal(label_map, expected)


def test_order_and_direction_of_vertices_do_not_matter():
    ring = np.array([[0.3, 0.2], [5.1, 1.7], [3.3, 4.9], [1.0, 3.0]])
    once, _ = _rasterised([ring])
    for other in (ring[::-1], np.roll(ring, 2, axis=0), np.vstack([ring, ring[:1]])):
        np.testing.assert_array_equal(_rasterised([other])[0], once)


def test_outline_beyond_the_image_covers_what_is_there():
    first, window = covered([_square(-4, -4, 2, 1)], (6, 5))
    assert (first, window.tolist()) == ((0, 0), [[True], [True]])
    assert covered([_square(7, 7, 9, 9)], (6, 5))[1].size == 0


def test_no_mask_is_kept_where_outlines_overlap_or_hold_no_centre():
    assert _rasterised([_square(0, 0, 2, 2)], [_square(1, 1, 3, 3)]) == (
        None,
        "outlines overlap, so that no mask is kept",
    )
    assert _rasterised([_square(0.6, 0.6, 1.4, 1.4)]) == (
        None,
        "outline 1 holds no pixel's centre, so that no mask is kept",
    )


def test_boxes_and_volumes_have_no_mask():
    box = MarkSet(BESIDE, "edge_px", (Mark("x", [[0.0, 0], [1, 1]], "box"),))
    assert rasterised(box, GRID, {}) == (None, "")


def test_rasters_agree_with_matplotlibs_on_random_polygons():
    from matplotlib.path import Path

    rng = np.random.default_rng(5)
    centres = np.stack(np.meshgrid(np.arange(6), np.arange(5), indexing="ij"), axis=-1).reshape(-1, 2)
    for _ in range(30):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        ring = rng.uniform(0, 6, 2) + rng.uniform(0.5, 4, (7, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        first, window = covered([ring], (6, 5))
        mine = np.zeros((6, 5), dtype=bool)
        mine[first[0] : first[0] + window.shape[0], first[1] : first[1] + window.shape[1]] = window
        np.testing.assert_array_equal(mine.ravel(), Path(np.vstack([ring, ring[:1]])).contains_points(centres))
