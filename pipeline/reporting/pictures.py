"""Panels as inline SVG: the picture embedded once, outlines as lines that can be switched off by role."""

import base64
import io
import math
from collections.abc import Iterable
from xml.etree import ElementTree as Tree

import numpy as np
from markupsafe import Markup
from PIL import Image as Pillow

from pipeline.reporting.charts import nice_step
from pipeline.reporting.panels import Outline, Panel

# A picture is embedded with at most so many pixels along its longer edge; outlines keep their exact places.
_LONGEST_PX = 720
_SCORED_BOXES = 12


def panel_svg(panel: Panel, title: str) -> Markup:
    """One panel with role, scale bar and orientation letters.

    Groups of class ``annotation``, ``detection`` and ``ignored`` hold the outlines; those on which annotation and
    detection agree also have the class ``agrees``.
    """
    rows, columns = panel.picture.shape[:2]
    height = rows * panel.aspect
    root = Tree.Element("svg", {"viewBox": f"0 0 {columns} {height:g}", "class": "panel", "role": "img"})
    Tree.SubElement(root, "title").text = title
    size = {"width": str(columns), "height": f"{height:g}", "preserveAspectRatio": "none"}
    Tree.SubElement(root, "image", {"href": data_uri(panel.picture), **size})
    for role in ("ignored", "annotation", "detection"):
        for wrong in (False, True):
            group = [one for one in panel.outlines if one.role == role and one.wrong == wrong]
            if group:
                classes = [role, "differs" if wrong else "agrees", *(["points"] if group[0].point else [])]
                _outlines(root, group, panel.aspect, " ".join(classes))
    for one in panel.outlines:
        if one.focus:
            _focus(root, one, panel.aspect)
    unit = max(columns, height) / 100
    _scores(root, panel, unit)
    _letters(root, panel, unit)
    _scale_bar(root, panel, columns, height, unit)
    return Markup(Tree.tostring(root, encoding="unicode", short_empty_elements=False))


def data_uri(picture: np.ndarray) -> str:
    """``(rows, columns, 3)`` uint8 → a data URI: PNG where it is grey, else JPEG; large ones are made smaller."""
    grey = bool((picture == picture[..., :1]).all())
    image = Pillow.fromarray(np.ascontiguousarray(picture[..., 0] if grey else picture))
    image.thumbnail((_LONGEST_PX, _LONGEST_PX), Pillow.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if grey:
        image.save(buffer, format="PNG", optimize=True)
    else:
        image.save(buffer, format="JPEG", quality=86)
    return bytes_uri(buffer.getvalue(), "image/png" if grey else "image/jpeg")


def bytes_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _outlines(root: Tree.Element, outlines: Iterable[Outline], aspect: float, classes: str) -> None:
    path = "".join(_shape(one, aspect) for one in outlines)
    group = Tree.SubElement(root, "g", {"class": f"outline {classes}"})
    Tree.SubElement(group, "path", {"d": path, "class": "rim"})
    Tree.SubElement(group, "path", {"d": path, "class": "stroke"})


def _shape(one: Outline, aspect: float) -> str:
    left, top, width = one.left, one.top * aspect, one.right - one.left
    height = (one.bottom - one.top) * aspect
    if not one.point:
        return f"M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"
    arm = width / 4
    x, y = left + width / 2, top + height / 2
    if one.role == "detection":
        ring = width / 3
        arc = f"a{ring:.1f} {ring:.1f} 0 1 0"
        return f"M{x - ring:.1f} {y:.1f}{arc} {2 * ring:.1f} 0{arc} {-2 * ring:.1f} 0z"
    return f"M{x - arm:.1f} {y:.1f}h{2 * arm:.1f}M{x:.1f} {y - arm:.1f}v{2 * arm:.1f}"


def _focus(root: Tree.Element, one: Outline, aspect: float) -> None:
    """A ring about the object that the picture is about."""
    x, y = (one.left + one.right) / 2, (one.top + one.bottom) / 2 * aspect
    radius = 0.5 * math.hypot(one.right - one.left, (one.bottom - one.top) * aspect) * 1.35
    circle = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{radius:.1f}"}
    for kind in ("rim", "ring"):
        Tree.SubElement(root, "circle", {**circle, "class": f"focus {kind}"})


def _scores(root: Tree.Element, panel: Panel, unit: float) -> None:
    scored = [one for one in panel.outlines if one.score is not None]
    if len(scored) > _SCORED_BOXES:
        return
    for one in scored:
        group = Tree.SubElement(root, "g", {"class": f"detection {'differs' if one.wrong else 'agrees'}"})
        above, below = one.top * panel.aspect - unit, one.bottom * panel.aspect + 4 * unit
        _text(group, f"{one.score:.2f}", max(one.left, 0), above if above > 4 * unit else below, unit * 4)


def _letters(root: Tree.Element, panel: Panel, unit: float) -> None:
    if panel.edges is None:
        return
    rows, columns = panel.picture.shape[:2]
    left, top, right, bottom = panel.edges
    height = rows * panel.aspect
    _text(root, left, 1.5 * unit, height / 2 + 2 * unit, unit * 5, "letter")
    _text(root, top, columns / 2 - 2 * unit, 5.5 * unit, unit * 5, "letter")
    _text(root, right, columns - 5 * unit, height / 2 + 2 * unit, unit * 5, "letter")
    _text(root, bottom, columns / 2 - 2 * unit, height - 1.5 * unit, unit * 5, "letter")


def _scale_bar(root: Tree.Element, panel: Panel, columns: float, height: float, unit: float) -> None:
    width = columns * panel.pixel_size[0]
    length = nice_step(width / 8)
    x, y = columns - 3 * unit, height - 3 * unit
    start = x - length / panel.pixel_size[0]
    for kind in ("rim", "ring"):
        Tree.SubElement(root, "path", {"d": f"M{start:.1f} {y:.1f}H{x:.1f}", "class": f"bar {kind}"})
    shown, name = (length * 1000, "µm") if panel.unit == "mm" and length < 0.5 else (length, panel.unit)
    text = _text(root, f"{shown:g} {name}", x, y - 2 * unit, unit * 4)
    text.set("text-anchor", "end")


def _text(root: Tree.Element, text: str, x: float, y: float, size: float, kind: str = "label") -> Tree.Element:
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "font-size": f"{size:.1f}", "class": kind}
    element = Tree.SubElement(root, "text", attributes)
    element.text = text
    return element
