import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.dicom.tiles import FullLayout, SparseLayout, TiledImage
from tests.sources.dicom.written_frames import tiles_of

# 10 columns, 7 rows, in tiles of 4 x 3: 3 across, 3 down; the last ones reach beyond the picture.
_SIZE, _TILE = (10, 7), (4, 3)


def _picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (7, 10, 3)).astype(np.uint8)


class _Reader:
    """Counts which tiles are decoded."""

    def __init__(self, tiles: list[np.ndarray]) -> None:
        self.tiles = tiles
        self.asked: list[int] = []

    def __call__(self, number: int) -> np.ndarray | None:
        self.asked.append(number)
        return self.tiles[number]


def _image(picture: np.ndarray) -> tuple[TiledImage, _Reader]:
    reader = _Reader(tiles_of(picture, _TILE))
    return TiledImage(FullLayout(_SIZE, _TILE), reader, 3, np.dtype(np.uint8), (9, 9, 9)), reader


def test_every_region_is_what_the_whole_picture_has_there() -> None:
    picture = _picture()
    image, _ = _image(picture)
    expected = picture.transpose(2, 1, 0)
    assert image.shape == (3, 10, 7)
    for left in range(10):
        for right in range(left, 11):
            for top, bottom in ((0, 7), (2, 4), (6, 7), (3, 3)):
                region = image[:, left:right, top:bottom]
                np.testing.assert_array_equal(region, expected[:, left:right, top:bottom])


def test_a_region_decodes_only_its_own_tiles() -> None:
    image, reader = _image(_picture())
    _ = image[:, 4:8, 2:4]
    assert sorted(reader.asked) == [1, 4]  # the middle column's first two tiles


def test_reading_row_by_row_decodes_each_tile_once() -> None:
    image, reader = _image(_picture())
    for top in range(0, 7, 2):  # rows of regions straddle rows of tiles
        for left in range(0, 10, 3):
            _ = image[:, left : left + 3, top : top + 2]
    assert sorted(reader.asked) == list(range(9))


def test_only_tiles_that_were_read_in_part_are_kept() -> None:
    image, reader = _image(_picture())
    _ = image[:, :, :4]
    assert sorted(image._kept) == [3, 4, 5]
    _ = image[:, :, 4:]
    assert len(image._kept) == 0
    assert sorted(reader.asked) == list(range(9))


def test_some_channels_and_fewer_slices_than_axes_are_understood() -> None:
    picture = _picture()
    image, _ = _image(picture)
    np.testing.assert_array_equal(image[1:2], picture.transpose(2, 1, 0)[1:2])
    np.testing.assert_array_equal(np.asarray(image), picture.transpose(2, 1, 0))


@pytest.mark.parametrize("region", [0, (slice(None), 3), (slice(None), slice(0, 9, 2)), (slice(None),) * 4])
def test_what_is_no_plain_region_is_refused(region: object) -> None:
    image, _ = _image(_picture())
    with pytest.raises(IndexError, match="slices without a step"):
        _ = image[region]


def test_sparse_tiles_lie_where_they_say_and_the_rest_is_filled() -> None:
    tiles = [np.full((3, 4), value, np.uint8) for value in (1, 2)]
    layout = SparseLayout(_SIZE, _TILE, ((0, 1, 2), (1, 8, 5)))  # off the lattice; the second is cut by the edges
    image = TiledImage(layout, lambda number: tiles[number], 1, np.dtype(np.uint8), (9,))
    expected = np.full((10, 7), 9)
    expected[1:5, 2:5] = 1
    expected[8:10, 5:7] = 2
    np.testing.assert_array_equal(image[:, :, :][0], expected)
    assert layout.absent == 70 - 12 - 4
    for left in range(10):
        for top in range(7):
            assert image[:, left : left + 1, top : top + 1][0, 0, 0] == expected[left, top]


def test_a_tile_outside_of_the_matrix_is_refused_with_its_place() -> None:
    with pytest.raises(SourceError, match=r"frame 1 starts at column 11, row 1, outside of .* 10 x 7"):
        SparseLayout(_SIZE, _TILE, ((0, 10, 0),))


@pytest.mark.parametrize("second", [(1, 0, 0), (1, 3, 2), (1, 2, 1)])
def test_tiles_over_each_other_are_refused(second: tuple[int, int, int]) -> None:
    with pytest.raises(SourceError, match=r"frames 1 and 2 lie over each other|frames 2 and 1 lie over each other"):
        SparseLayout(_SIZE, _TILE, ((0, 0, 0), second))


def test_a_tile_of_another_shape_or_type_is_refused() -> None:
    image = TiledImage(FullLayout(_SIZE, _TILE), lambda _: np.zeros((3, 5), np.uint8), 1, np.dtype(np.uint8), (0,))
    with pytest.raises(SourceError, match=r"frame 1 must be uint8 of shape \(1, 3, 4\), got uint8 \(1, 3, 5\)"):
        _ = image[:, 0:1, 0:1]
