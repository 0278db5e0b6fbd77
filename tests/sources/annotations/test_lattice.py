import itertools

import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes, Grid
from pipeline.sources.annotations.lattice import Lattice
from tests.phantoms import awkward_grid

IMAGE = awkward_grid((7, 5, 4))  # oblique, flipped; spacing 0.5 x 2 x 3 mm


def _labels(shape=(7, 5, 4)):
    labels = np.zeros(shape, dtype=np.int32)
    labels[1:3, 2, 3], labels[6, 0, 0] = 1, 2
    return labels


def _reordered(order, flips):
    """The grid of an array that holds the image's voxels with axes in ``order``, those in ``flips`` reversed."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, source in enumerate(order):
        turn[source, axis] = -1 if source in flips else 1
        turn[source, 3] = IMAGE.shape[source] - 1 if source in flips else 0
    return Grid(tuple(IMAGE.shape[source] for source in order), IMAGE.affine @ turn)


@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_swapped_and_flipped_label_maps_are_put_in_the_images_order(order, flips):
    stored = np.flip(_labels(), flips).transpose(order)
    grid = _reordered(order, flips)
    lattice = Lattice.of(grid, IMAGE)
    np.testing.assert_array_equal(lattice.label_map(stored), _labels())
    boxes = lattice.boxes(Boxes.from_label_map(np.ascontiguousarray(stored), grid)[0])
    assert boxes.lower.tolist() == [[0.5, 1.5, 2.5], [5.5, -0.5, -0.5]]
    assert boxes.upper.tolist() == [[2.5, 2.5, 3.5], [6.5, 0.5, 0.5]]
    assert lattice.unchanged == (order == (0, 1, 2) and not flips)


def test_crop_is_put_back_at_its_place():
    crop = IMAGE.crop((1, 2, 2), (4, 4, 4))
    whole = Lattice.of(crop, IMAGE).label_map(_labels()[1:4, 2:4, 2:4])
    expected = _labels()
    expected[6, 0, 0] = 0
    np.testing.assert_array_equal(whole, expected)


def test_one_slice_is_a_crop():
    slice_ = IMAGE.crop((0, 0, 3), (7, 5, 4))
    assert (Lattice.of(slice_, IMAGE).label_map(_labels()[:, :, 3:]) > 0).sum() == 2


def _moved(**more):
    affine = np.array(IMAGE.affine)
    affine[:3, 3] += more.get("by", 0)
    affine[:3, :3] *= more.get("spacing", 1)
    return Grid(more.get("shape", IMAGE.shape), affine)


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (_moved(by=[3.0, 4.0, 0.0]), "the label map lies up to 5.00 mm beside its image"),
        (IMAGE.crop((0, 0, 1), (7, 5, 5)), "the label map reaches 3.00 mm beyond its image"),
        (IMAGE.crop((-2, 0, 0), (3, 5, 4)), "the label map reaches 1.00 mm beyond its image"),
        (_moved(spacing=2.0), "its voxels have another size or direction"),
        (_moved(by=IMAGE.affine[:3, 0] * 0.5, shape=(6, 5, 4)), "lie up to 0.25 mm beside the image's"),
        (Grid((7, 5, 4), np.eye(4)), "its voxels have another size or direction"),
    ],
)
def test_other_grids_are_refused_with_the_mm_between(grid, reason):
    with pytest.raises(AnnotationError, match=reason):
        Lattice.of(grid, IMAGE)


def test_rounding_of_a_header_is_no_other_place():
    affine = np.array(IMAGE.affine).astype(np.float32).astype(float)
    affine[:3, 3] += 0.01
    assert Lattice.of(Grid(IMAGE.shape, affine), IMAGE).unchanged


def test_files_that_count_in_pixels_need_the_same_shape():
    pixels = Grid((7, 5, 4), np.eye(4), "px")
    assert Lattice.of(pixels, IMAGE).unchanged
    with pytest.raises(AnnotationError, match=r"shape \(5, 7\), its image \(7, 5\)"):
        Lattice.of(Grid.of_pixels((5, 7)), Grid.of_pixels((7, 5)))
