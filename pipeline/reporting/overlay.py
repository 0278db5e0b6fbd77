"""One picture of a case with annotations and detections on it, as PNG.

Annotations are dashed and blue, detections solid and orange with their score, ignored annotations dotted and grey: told
apart by line as well as by colour. Where only points were annotated, annotations are crosses and detections rings.
Every line has a dark rim, so that it shows on bright tissue and on dark CT.
"""

import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pipeline.detections import Detections
from pipeline.reporting.display import Intensity
from pipeline.reporting.panels import Outline, Panel, case_panels, marks_of
from pipeline.types import Image
from pipeline.volumes import Annotations

COLOURS = {"annotation": (86, 200, 255), "detection": (255, 176, 0), "ignored": (190, 190, 190)}
_RIM = (0, 0, 0)
_DASH = {"annotation": (7, 4), "ignored": (2, 4)}
_PANEL_WIDTH = 480
_CAPTION = 20
# With more boxes than this, scores would hide the picture.
_SCORED_BOXES = 25


def overlay_png(
    image: Image,
    annotations: Annotations | None,
    detections: Detections,
    threshold: float,
    path: Path | None = None,
    *,
    intensity: Intensity | None = None,
) -> bytes:
    """A 2D field, or a montage of up to six slices through the best detections and largest annotations.

    Args:
        image: ``(channel, i, j[, k])`` on the grid of the detections.
        annotations: on the same grid; ``None`` where nobody annotated.
        detections: those with a score below ``threshold`` are not drawn.
        threshold: the version's.
        path: where the PNG is also written.
        intensity: how grey values are shown; ``None``: 8-bit as it is, else percentiles of the image.

    Returns:
        The PNG's bytes. Rows run down along ``j``, columns to the right along ``i`` (see `display.flips` for 3D).
    """
    grid = detections.boxes.grid
    marks = marks_of(annotations, detections.above(threshold))
    panels = case_panels(image, grid, marks, intensity=intensity)
    buffer = io.BytesIO()
    montage([draw(one) for one in panels]).save(buffer, format="PNG", optimize=False, compress_level=4)
    data = buffer.getvalue()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return data


def draw(panel: Panel) -> Pillow.Image:
    """One panel, enlarged to at least 480 pixels wide, with its outlines and caption."""
    rows, columns = panel.picture.shape[:2]
    size = drawn_size(panel)
    picture = Pillow.fromarray(panel.picture).resize(size, Pillow.Resampling.BILINEAR)
    pen = ImageDraw.Draw(picture)
    stretch = (size[0] / columns, size[1] / rows)
    for outline in sorted(panel.outlines, key=lambda one: one.role == "detection"):
        _draw_outline(pen, outline, stretch)
    scored = [one for one in panel.outlines if one.score is not None]
    if len(scored) <= _SCORED_BOXES:
        for outline in scored:
            _draw_score(pen, outline, stretch)
    return _captioned(picture, panel.caption)


def drawn_size(panel: Panel) -> tuple[int, int]:
    """Width and height in pixels of the picture that `draw` makes, without its caption."""
    rows, columns = panel.picture.shape[:2]
    scale = max(1.0, _PANEL_WIDTH / columns)
    return round(columns * scale), max(1, round(rows * scale * panel.aspect))


def montage(pictures: Sequence[Pillow.Image]) -> Pillow.Image:
    """Pictures side by side, at most three a row, on black."""
    columns = min(3, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    sheet = Pillow.new("RGB", (columns * width + 4 * (columns - 1), rows * height + 4 * (rows - 1)))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * (width + 4), index // columns * (height + 4)))
    return sheet


def _draw_outline(pen: ImageDraw.ImageDraw, outline: Outline, stretch: tuple[float, float]) -> None:
    left, right = outline.left * stretch[0], outline.right * stretch[0]
    top, bottom = outline.top * stretch[1], outline.bottom * stretch[1]
    if outline.point:
        x, y = (left + right) / 2, (top + bottom) / 2
        if outline.role == "detection":
            _draw_ring(pen, x, y, (right - left) / 3, outline.wrong)
            return
        strokes = [((x - 4, y), (x + 4, y)), ((x, y - 4), (x, y + 4))]
    else:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        strokes = [
            piece
            for start, end in itertools.pairwise(corners)
            for piece in _pieces(start, end, _DASH.get(outline.role))
        ]
    width = 3 if outline.wrong else 2
    for colour, thickness in ((_RIM, width + 2), (COLOURS[outline.role], width)):
        for start, end in strokes:
            pen.line([start, end], fill=colour, width=thickness)


def _draw_ring(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, wrong: bool) -> None:
    width = 3 if wrong else 2
    for colour, more in ((_RIM, 1), (COLOURS["detection"], 0)):
        reach = radius + more
        pen.ellipse([x - reach, y - reach, x + reach, y + reach], outline=colour, width=width + 2 * more)


def _pieces(
    start: tuple[float, float], end: tuple[float, float], dash: tuple[int, int] | None
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    length = math.dist(start, end)
    if dash is None or length == 0:
        return [(start, end)]
    starts = np.arange(0, length, sum(dash))
    a, b = np.array(start), np.array(end)
    step = (b - a) / length
    pieces = []
    for begin in starts:
        first, last = a + step * begin, a + step * min(begin + dash[0], length)
        pieces.append(((float(first[0]), float(first[1])), (float(last[0]), float(last[1]))))
    return pieces


def _draw_score(pen: ImageDraw.ImageDraw, outline: Outline, stretch: tuple[float, float]) -> None:
    at = (outline.left * stretch[0], max(0.0, outline.top * stretch[1] - 15))
    pen.text(
        at,
        f"{outline.score:.2f}",
        fill=COLOURS["detection"],
        font=ImageFont.load_default(12),
        stroke_width=2,
        stroke_fill=_RIM,
    )


def _captioned(picture: Pillow.Image, caption: str) -> Pillow.Image:
    if not caption:
        return picture
    sheet = Pillow.new("RGB", (picture.width, picture.height + _CAPTION))
    sheet.paste(picture, (0, _CAPTION))
    ImageDraw.Draw(sheet).text((4, 3), caption, fill=(230, 230, 230), font=ImageFont.load_default(12))
    return sheet
