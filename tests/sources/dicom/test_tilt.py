import numpy as np
import pytest

from pipeline.errors import GeometryError
from pipeline.sources.dicom.geometry import SlicePlace, step_lps
from pipeline.sources.dicom.series import load_series
from pipeline.sources.dicom.tilt import shear
from pipeline.sources.options import ReadOptions
from tests.sources.written import oblique_slice, write

SHEAR = ReadOptions(tilt="shear")
# Axial slices 3 mm apart; pixels of 1 mm along i and 2 mm along j; each slice lies (i, j) mm beside the one before.
ROW, COLUMN, SPACING = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 2.0)


def _places(lean_mm, count=3, shape=(2, 4)):
    step = np.array([*lean_mm, 3.0])
    return [SlicePlace(tuple(np.array([5.0, 6, 7]) + k * step), ROW, COLUMN, SPACING, shape) for k in range(count)]


def _shear(image, lean_mm, fill=-1.0, padding=None):
    places = _places(lean_mm, image.shape[3], image.shape[1:3])
    return shear(image, places, step_lps(places), fill, padding)


def test_whole_pixel_lean_moves_pixels_and_changes_no_value():
    image = np.arange(2 * 4 * 3, dtype=np.int16).reshape(1, 2, 4, 3)
    made = _shear(image, (0.0, 2.0))
    assert made.image.shape == (1, 2, 6, 3)
    assert made.image.dtype == np.int16
    for k in range(3):
        np.testing.assert_array_equal(made.image[:, :, k : k + 4, k], image[..., k])
        assert (np.delete(made.image[0, :, :, k], np.s_[k : k + 4], axis=1) == -1).all()


def test_lean_backwards_keeps_the_first_slice_in_its_place():
    image = np.arange(2 * 4 * 3, dtype=np.int16).reshape(1, 2, 4, 3)
    made = _shear(image, (0.0, -2.0))
    np.testing.assert_array_equal(made.image[:, :, 2:6, 0], image[..., 0])
    # First voxel LPS (5, 6, 7) is now j = 2; RAS (-5, -6, 7).
    np.testing.assert_allclose(made.grid.to_world(np.array([[0.0, 2.0, 0.0]])), [[-5.0, -6.0, 7.0]])
    np.testing.assert_allclose(made.grid.spacing, [1.0, 2.0, 3.0])


def test_quarter_pixel_lean_mixes_neighbours_by_their_distance():
    # 0.5 mm of 2 mm: slice 1 moves by a quarter of a pixel, so a new voxel holds 3/4 of its own, 1/4 of the one before.
    image = np.zeros((1, 1, 4, 2), dtype=np.int16)
    image[0, 0, :, 1] = [100, 200, 400, 800]
    made = _shear(image, (0.0, 0.5))
    assert made.image[0, 0, :, 1].tolist() == [100, 175, 350, 700, -1]
    assert made.image[0, 0, :, 0].tolist() == [0, 0, 0, 0, -1]


def test_padding_is_not_mixed_with_tissue():
    image = np.zeros((1, 1, 4, 2), dtype=np.int16)
    image[0, 0, :, 1] = [-2000, -2000, 400, 800]
    made = _shear(image, (0.0, 0.5), fill=-2000, padding=-2000)
    assert made.image[0, 0, :, 1].tolist() == [-2000, -2000, 400, 700, -2000]


def test_linear_field_on_both_axes_stays_exact_in_the_world():
    lean = (0.3, -0.7)
    places = _places(lean, 5, (8, 9))
    i, j = np.meshgrid(np.arange(8), np.arange(9), indexing="ij")
    planes = []
    for place in places:
        x, y = place.position_lps[0] + i * SPACING[0], place.position_lps[1] + j * SPACING[1]
        planes.append(2 * x + 3 * y)
    made = shear(np.stack(planes, axis=-1)[None], places, step_lps(places), np.nan)
    index = np.argwhere(np.isfinite(made.image[0]))
    ras = made.grid.to_world(index.astype(float))
    expected = 2 * -ras[:, 0] + 3 * -ras[:, 1]
    off = np.abs(made.image[0][tuple(index.T)] - expected)
    # Voxels within the outermost half pixel hold the edge's value: at most 0.5 * (2 * 1 + 3 * 2) away.
    inner = (off < 1e-9).reshape(-1)
    assert inner.mean() > 0.8
    assert off.max() <= 4.0
    assert len(index) >= 5 * 8 * 9 * 0.9


def test_tilted_series_is_sheared_only_where_asked_for(archive):
    values = np.full((4, 4), 7, dtype=np.int16)
    for k in range(3):
        # 4 mm along the normal (-.6, .8, 0) and 3 mm along the rows (.8, .6, 0): atan(3 / 4) = 36.9 degrees.
        position = [10.0, -20 + k * 5.0, 30]
        write(oblique_slice(0, values + k, ImagePositionPatient=position, PixelPaddingValue=-9), archive / f"{k}.dcm")
    files = sorted(archive.glob("*.dcm"))
    with pytest.raises(GeometryError, match=r"tilt of 36\.9 degrees"):
        load_series(files)
    (scan,) = load_series(files, SHEAR)
    # 3 mm are 6 pixels of 0.5 mm along i.
    assert scan.grid.shape == (4 + 12, 4, 3)
    assert scan.attributes["gantry_tilt_degrees"] == "36.9"
    assert "36.9 degrees" in scan.notes[0]
    assert "12.00 voxels along i" in scan.notes[0]
    for k in range(3):
        assert (scan.image[0, 6 * k : 6 * k + 4, :, k] == 7 + k).all()
    assert (scan.image[0, 4:, :, 0] == -9).all()
    # Slice 2's first pixel: LPS (10, -10, 30), RAS (-10, 10, 30).
    np.testing.assert_allclose(scan.grid.to_world(np.array([[12.0, 0, 2]])), [[-10, 10, 30]], atol=1e-9)


def test_straight_series_is_the_same_with_and_without_the_option(archive):
    for k in range(3):
        write(oblique_slice(k, np.full((4, 4), k, dtype=np.int16)), archive / f"{k}.dcm")
    files = sorted(archive.glob("*.dcm"))
    (plain,), (asked,) = load_series(files), load_series(files, SHEAR)
    assert plain.volume_id == asked.volume_id


def test_tilt_and_a_missing_slice_are_refused_in_either_case(archive):
    for k in (0, 1, 3, 4):
        position = [10.0, -20 + k * 5.0, 30]
        made = oblique_slice(0, np.full((4, 4), k, dtype=np.int16), ImagePositionPatient=position)
        write(made, archive / f"{k}.dcm")
    for options in (ReadOptions(), SHEAR):
        with pytest.raises(GeometryError, match=r"36\.9 degrees.*1 slice\(s\) missing"):
            load_series(sorted(archive.glob("*.dcm")), options)
