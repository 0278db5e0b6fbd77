import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.detections import Detections, label_tiff
from pipeline.detections import outlines as outlines_
from pipeline.detections.geojson import to_geojson
from pipeline.detections.label_tiff import write_label_tiff
from pipeline.detections.outlines import areas, filled, label_map, label_strips
from pipeline.detections.table import columns, from_frame, to_frame, write_table
from pipeline.geometry import Boxes, Grid
from pipeline.sources.annotations.geojson import read_geojson
from pipeline.sources.annotations.place import place
from tests.phantoms import pixels_inside, rotation_about_z

GRID = Grid.of_pixels((30, 20))


def stars(centres, radii, corners=32) -> np.ndarray:
    """Regular polygons ``(n, corners, 2)``."""
    angle = (np.arange(corners) + 0.5) * 2 * np.pi / corners
    way = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(centres, float)[:, None] + np.asarray(radii, float)[:, None, None] * way


def detections(outlines, scores=None, grid=GRID) -> Detections:
    scores = np.linspace(0.9, 0.1, len(outlines)) if scores is None else np.array(scores)
    boxes = Boxes(outlines.min(axis=1), outlines.max(axis=1), grid)
    return Detections("3f2a91c0", boxes, scores, np.zeros(len(outlines), int), ("nucleus",), outlines)


def test_pixels_of_a_rectangle_by_hand():
    corners = np.array([[[3.5, 4.5], [6.5, 4.5], [6.5, 6.5], [3.5, 6.5]]])  # i 4 … 6, j 5 and 6
    voxel, owner = filled(corners, (30, 20))
    assert sorted(voxel.tolist()) == [4 * 20 + 5, 4 * 20 + 6, 5 * 20 + 5, 5 * 20 + 6, 6 * 20 + 5, 6 * 20 + 6]
    assert owner.tolist() == [0] * 6


@pytest.mark.parametrize("seed", range(5))
def test_pixels_are_those_of_outlines_that_are_drawn_one_by_one(seed):
    rng = np.random.default_rng(seed)
    centre, radius = rng.uniform(-3, 32, (40, 1, 2)), rng.uniform(0, 9, (40, 16, 1))
    outlines = centre + radius * (stars([[0, 0]], [1], 16)[0])
    outlines[::2] = np.round(outlines[::2])  # corners on pixels' centres
    voxel, owner = filled(outlines, (30, 20))
    for number, outline in enumerate(outlines):
        np.testing.assert_array_equal(np.sort(voxel[owner == number]), pixels_inside(outline, (30, 20)))


def test_outline_holds_the_pixels_whose_centres_it_holds():
    """A triangle with corners (0, 0), (4, 0), (0, 4): the centre (2, 2) lies on the long edge and is out."""
    voxel, _ = filled(np.array([[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]]), (6, 6))
    assert sorted(voxel.tolist()) == sorted(6 * i + j for i in range(6) for j in range(6) if i + j < 4)


def test_star_with_many_rays_has_the_area_of_its_circle_and_edges_are_cut():
    _, owner = filled(stars([[50, 50], [0, 50], [-80, 50]], [20, 20, 20], 64), (100, 100))
    whole, half, outside = np.bincount(owner, minlength=3)
    assert whole == pytest.approx(np.pi * 400, rel=0.01)
    assert half == pytest.approx(np.pi * 200 + 20, rel=0.02)  # the column i = 0 is in
    assert outside == 0


def test_a_shared_pixel_goes_to_the_higher_score():
    both = stars([[10, 10], [13, 10]], [3.2, 3.2])
    drawn = label_map(detections(both, [0.4, 0.8]))  # the second scores higher and comes first
    assert drawn[13, 10] == 1
    assert drawn[11, 10] == 1
    assert drawn[8, 10] == 2
    alone = label_map(detections(both[1:], [0.8]))
    np.testing.assert_array_equal(drawn == 1, alone == 1)


def test_an_outline_without_a_pixels_centre_takes_the_pixel_it_is_in_unless_it_is_taken():
    small = stars([[20.3, 5.3], [10.3, 10.3]], [0.1, 0.1])
    drawn = label_map(detections(np.concatenate([stars([[10, 10]], [3]), small]), [0.5, 0.6, 0.9]))
    assert np.argwhere(drawn == 2).tolist() == [[20, 5]]
    assert (drawn == 1).sum() == 0
    assert drawn[10, 10] == 3


def test_no_detection_is_an_empty_map():
    assert label_map(detections(np.zeros((0, 32, 2)))).sum() == 0


def test_a_star_that_reaches_beyond_the_image_is_cut_at_its_edge():
    drawn = label_map(detections(stars([[1, 1]], [4])))
    assert drawn[0, 0] == 1
    assert (drawn > 0).sum() == len(filled(stars([[11, 11]], [4]), (30, 30))[0]) - _left_out(4)


def _left_out(radius):
    voxel, _ = filled(stars([[11, 11]], [radius]), (30, 30))
    i, j = np.unravel_index(voxel, (30, 30))
    return int(((i < 10) | (j < 10)).sum())


def test_outlines_follow_their_scores_and_thresholds():
    found = detections(stars([[10, 10], [20, 10]], [2, 3]), [0.2, 0.7])
    np.testing.assert_allclose(found.outlines.mean(axis=1), [[20, 10], [10, 10]])
    np.testing.assert_allclose(found.above(0.5).outlines.mean(axis=1), [[20, 10]])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_tables_bring_outlines_back_exactly(tmp_path, count):
    matrix = rotation_about_z(30) * [0.5, -0.5, 1.0]
    grid = Grid((30, 20), matrix)
    found = detections(stars(np.full((count, 2), 10.0) + np.arange(count)[:, None], np.full(count, 2.5)), grid=grid)
    write_table(found, tmp_path / "a.parquet")
    back = from_frame(pd.read_parquet(tmp_path / "a.parquet"), "3f2a91c0", grid, ("nucleus",))
    assert len(back) == count
    np.testing.assert_array_equal(list(back.outlines), list(found.outlines))
    assert list(pd.read_parquet(tmp_path / "a.parquet")) == list(to_frame(found)) == [*columns(), "outline_voxel"]


def test_the_written_table_is_the_frame(tmp_path):
    matrix = rotation_about_z(30) * [0.5, -0.5, 1.0]
    found = detections(stars([[10, 10], [20, 10]], [2, 3]), [0.2, 0.7], grid=Grid((30, 20), matrix))
    for one in (found, replace(found, grades=np.array([0.1, 0.9]), grade_name="malignancy"), found.above(0.9)):
        write_table(one, tmp_path / "a.parquet")
        read, frame = pd.read_parquet(tmp_path / "a.parquet"), to_frame(one)
        for side in (read, frame):
            side["outline_voxel"] = [list(corners) for corners in side["outline_voxel"]]
        pd.testing.assert_frame_equal(read, frame, check_dtype=len(one) > 0)


def test_tables_of_boxes_have_the_columns_they_had():
    found = detections(stars([[10, 10]], [2]))
    boxes = Detections("v", found.boxes, found.scores, found.labels, found.classes)
    assert list(to_frame(boxes)) == columns()
    assert from_frame(to_frame(boxes), "v", GRID, ("nucleus",)).outlines is None


def test_geojson_holds_the_outline_which_comes_back_as_the_same_mask(tmp_path):
    found = detections(stars([[10, 10], [1, 15]], [3.3, 4]))
    (tmp_path / "a.geojson").write_text(json.dumps(to_geojson(found)))
    (first, second) = to_geojson(found)["features"]
    (ring,) = first["geometry"]["coordinates"]
    np.testing.assert_array_equal(ring[:-1], found.outlines[0] + 0.5)
    assert ring[0] == ring[-1]
    assert np.min(second["geometry"]["coordinates"]) == 0  # on the image's edge, not beyond
    (read,) = read_geojson(tmp_path / "a.geojson")
    again = place(read, GRID, {}).annotations
    np.testing.assert_allclose(again.boxes.lower, np.maximum(found.boxes.lower, -0.5), atol=1e-12)
    np.testing.assert_allclose(again.boxes.upper, found.boxes.upper, atol=1e-12)
    whole = pixels_inside(read.marks[0].points - 0.5, GRID.shape)
    assert len(whole) == (label_map(found) == 1).sum()


def _many() -> Detections:
    rng = np.random.default_rng(3)
    outlines = stars(rng.uniform(-2, 33, (60, 2)), rng.choice([0.2, 1.0, 4.0], 60))
    return detections(outlines)


@pytest.mark.parametrize("height", [1, 3, 7, 20, 50])
def test_strips_of_a_label_map_are_the_whole(height):
    found = _many()
    strips = list(label_strips(found, height))
    assert [strip.shape[1] for strip in strips[:-1]] == [height] * (len(strips) - 1)
    np.testing.assert_array_equal(np.concatenate(strips, axis=1), label_map(found))


@pytest.mark.parametrize("at_once", [1, 7, 60])
def test_areas_are_those_of_the_pixels(at_once, monkeypatch):
    monkeypatch.setattr(outlines_, "_AT_ONCE", at_once)
    found = _many()
    _, owner = filled(found.outlines, GRID.shape)
    np.testing.assert_array_equal(areas(found.outlines, GRID.shape), np.bincount(owner, minlength=60))


def test_a_large_label_map_is_written_tile_by_tile_and_reads_the_same(tmp_path, monkeypatch):
    import tifffile

    found = _many()
    write_label_tiff(tmp_path / "small.tif", found)
    monkeypatch.setattr(label_tiff, "_PIXELS", 0)
    monkeypatch.setattr(label_tiff, "_TILE", 16)
    write_label_tiff(tmp_path / "large.tif", found)
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        assert file.is_bigtiff
        assert file.pages[0].tile == (16, 16)
    for name in ("small", "large"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{name}.tif"), label_map(found).T)
