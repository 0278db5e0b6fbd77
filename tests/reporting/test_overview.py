import io

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.config.transforms import Window
from pipeline.detections import Detections
from pipeline.geometry import Boxes, Grid
from pipeline.reporting import overview
from pipeline.reporting.overlay import COLOURS
from pipeline.reporting.overview import needs_overview, overview_png, smaller


class Told:
    """An array that notes how much of it is read at once."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim, self.most = array, array.shape, array.dtype, array.ndim, 0

    def __getitem__(self, region):
        piece = self.array[region]
        self.most = max(self.most, piece.size)
        return piece


def found(shape, centres, scores):
    grid = Grid.of_pixels(shape)
    boxes = Boxes.around(np.array(centres, float).reshape(-1, 2), np.array([4.0, 4.0]), grid)
    return Detections("v", boxes, np.array(scores), np.zeros(len(boxes), int), ("cell",))


def drawn(image, detections, threshold=0.5, intensity=None):
    return np.asarray(Pillow.open(io.BytesIO(overview_png(image, detections, threshold, intensity))))


def test_squares_are_averaged_and_only_some_rows_are_read_at_once(monkeypatch):
    monkeypatch.setattr(overview, "_ROWS", 8)
    image = Told(np.random.default_rng(0).integers(0, 255, (3, 203, 101), dtype=np.uint8))
    made = smaller(image, 4)
    assert made.shape == (3, 50, 25)
    assert made[1, 7, 24] == pytest.approx(image.array[1, 28:32, 96:100].mean())
    assert image.most == 3 * 200 * 8


def test_detections_are_dots_where_they_are(monkeypatch):
    monkeypatch.setattr(overview, "_EDGE", 50)
    monkeypatch.setattr(overview, "_REACH", 0)
    image = np.full((1, 200, 100), 60, np.uint8)
    picture = drawn(image, found((200, 100), [(13, 5), (199, 99), (50, 50)], [0.9, 0.8, 0.3]))
    assert picture.shape == (25, 50, 3)
    at = np.argwhere((picture == COLOURS["detection"]).all(axis=2))
    assert at.tolist() == [[1, 3], [24, 49]]  # row, column; the third is below the threshold
    assert picture[10, 10].tolist() == [60, 60, 60]


def test_few_dots_are_wide_enough_to_be_seen():
    picture = drawn(np.zeros((3, 40, 40), np.uint8), found((40, 40), [(20, 20)], [0.9]))
    assert (picture == COLOURS["detection"]).all(axis=2).sum() == 25


def test_values_are_shown_by_the_versions_window():
    image = np.full((1, 10, 10), 0.25, np.float32)
    picture = drawn(image, found((10, 10), [], []), intensity=Window(lower=0, upper=0.5))
    assert picture[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("shape", "needs"),
    [((3000, 3000), False), ((3001, 3000), True), ((40_000, 40_000), True), ((600, 600, 600), False)],
)
def test_large_pictures_are_shown_small(shape, needs):
    assert needs_overview(shape) == needs
