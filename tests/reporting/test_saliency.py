"""Where the colours of a saliency map are drawn."""

import io

import numpy as np
from PIL import Image as Pillow

from pipeline.detections import Detections
from pipeline.explanation.saliency import Saliency
from pipeline.explanation.translation import Shift, TranslationReport
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.saliency import saliency_png
from pipeline.reporting.translation import translation_png


def drawn(grid: Grid, centre: tuple[int, ...], values: np.ndarray) -> np.ndarray:
    """The middle of each voxel of the third panel's plane: ``(rows, columns, 3)``."""
    boxes = Boxes.around(np.array([centre], dtype=float), np.ones(grid.dims), grid)
    found = Detections("v", boxes, np.array([0.9]), np.array([0]), ("cell",))
    one = Saliency(values.astype(np.float32), grid, 1.0, 0.0, 1.0, 8)
    image = np.full((1, *grid.shape), 100, np.uint8)
    picture = Pillow.open(io.BytesIO(saliency_png(image, grid, found, 0, [("map", one), ("map", one)])))
    third = np.asarray(picture)[20:, -480:]
    columns, rows = grid.shape[:2]
    step = 480 // columns
    return third[step // 2 :: step, step // 2 :: step][:rows, :columns].astype(int)


def test_what_raised_the_score_is_red_and_what_lowered_it_blue_at_its_own_pixel():
    values = np.zeros((40, 40))
    values[20, 10], values[5, 30] = 1.0, -1.0
    colours = drawn(Grid.of_pixels((40, 40)), (35, 35), values)
    red, blue = colours[10, 20], colours[30, 5]
    assert red[0] > 180 > 120 > red[2]
    assert blue[2] > 180 > 120 > blue[0]
    assert np.ptp(colours[0, 0]) == 0


def test_slices_of_a_volume_are_coloured_as_radiologists_look_at_them():
    """In a RAS volume i runs to the right and is shown leftwards, j runs to the front and is shown upwards."""
    values = np.zeros((40, 40, 6))
    values[20, 10, 4] = 1.0
    values[5, 5, 3] = 1.0
    colours = drawn(Grid((40, 40, 6), np.diag([1.0, 1.0, 3.0, 1.0])), (35, 35, 4), values)
    assert np.ptp(colours[39 - 10, 39 - 20]) > 60
    assert np.ptp(colours[39 - 5, 39 - 5]) == 0  # on another slice


def test_a_translation_test_without_detections_is_drawn_too():
    empty = TranslationReport((Shift(0, 1, (), (), (), 0, 0),), "px", 1, 0, True)
    some = TranslationReport((Shift(0, 1, (0.5,), (0.2,), (0.1,), 1, 2),), "mm", 1, 2, True)
    sizes = {Pillow.open(io.BytesIO(translation_png(report))).size for report in (empty, some)}
    assert len(sizes) == 1
