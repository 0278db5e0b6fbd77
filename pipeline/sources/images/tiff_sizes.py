"""How large a TIFF's pixels are, where the file says so as such.

A resolution in centimetres or inches counts only if it is finer than `COARSEST_DPI`: coarser ones are the print size
that software writes by default (72, 96, 300 dpi).
"""

import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from pipeline.errors import GeometryError, SourceError

COARSEST_DPI = 2540.0  # 10 µm a pixel
_MM_PER_RESOLUTION_UNIT = {2: 25.4, 3: 10.0}
_MM_PER_UNIT = {
    "pm": 1e-9, "nm": 1e-6, "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3,
    "\\u00b5m": 1e-3, "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "in": 25.4,
}  # fmt: skip
_SECONDS_PER_UNIT = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "min": 60.0, "h": 3600.0}
_NAME_LENGTH = 40


@dataclass(frozen=True)
class PixelSize:
    """Steps in mm along columns, rows and slices, where they are stated."""

    x_mm: float | None = None
    y_mm: float | None = None
    z_mm: float | None = None

    def __post_init__(self) -> None:
        for step in (self.x_mm, self.y_mm, self.z_mm):
            if step is not None and not 0 < step < float("inf"):
                raise GeometryError(f"the TIFF's pixel size must be above 0, got {step} mm")


@dataclass(frozen=True)
class OmeImage:
    """What OME-XML says of one image: pixel size, names of its channels, seconds between times."""

    size: PixelSize
    channels: tuple[str, ...]
    seconds: float | None


def ome_images(text: str) -> list[OmeImage]:
    """Every image of an OME-XML description, in order.

    Raises:
        SourceError: not XML, or with entities of its own.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SourceError("the TIFF's OME-XML defines entities, which no OME file needs: refused")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SourceError("the TIFF's OME-XML is not XML") from error
    return [_ome_image(pixels) for pixels in root.iter() if pixels.tag.rsplit("}", 1)[-1] == "Pixels"]


def _ome_image(pixels: ElementTree.Element) -> OmeImage:
    size = PixelSize(*(_length(pixels, f"PhysicalSize{axis}") for axis in "XYZ"))
    named = [one.get("Name") for one in pixels if one.tag.rsplit("}", 1)[-1] == "Channel"]
    channels = tuple(name[:_NAME_LENGTH] for name in named if name)
    step = _number(pixels.get("TimeIncrement"))
    unit = _SECONDS_PER_UNIT.get(pixels.get("TimeIncrementUnit", "s"))
    seconds = step * unit if step and unit else None
    return OmeImage(size, channels if len(channels) == len(named) else (), seconds)


def _length(pixels: ElementTree.Element, name: str) -> float | None:
    step = _number(pixels.get(name))
    unit = _MM_PER_UNIT.get(pixels.get(f"{name}Unit", "µm"))  # OME's default
    return None if step is None or unit is None else step * unit


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def imagej_size(metadata: dict[str, Any], page: Any) -> PixelSize | None:
    """ImageJ counts pixels a ``unit`` in the resolution tags, and states ``spacing`` between slices."""
    scale = _MM_PER_UNIT.get(str(metadata.get("unit", "")).lower())
    steps = _steps(page)
    if scale is None or steps is None:
        return None
    spacing = metadata.get("spacing")
    z_mm = abs(float(spacing)) * scale if isinstance(spacing, int | float) and spacing else None
    return PixelSize(steps[0] * scale, steps[1] * scale, z_mm)


def aperio_size(description: str) -> PixelSize | None:
    """``|MPP = 0.4990|`` of an SVS file: micrometres a pixel."""
    found = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", description)
    step = _number(found[1]) if found else None
    return PixelSize(step * 1e-3, step * 1e-3) if step else None


def tag_size(page: Any) -> PixelSize | None:
    """The resolution tags of baseline TIFF."""
    unit = page.tags.get("ResolutionUnit")
    scale = _MM_PER_RESOLUTION_UNIT.get(int(unit.value) if unit is not None else 0)
    steps = _steps(page)
    if scale is None or steps is None or max(steps) * scale >= 25.4 / COARSEST_DPI:
        return None
    return PixelSize(steps[0] * scale, steps[1] * scale)


def _steps(page: Any) -> tuple[float, float] | None:
    """Units a pixel along columns and rows."""
    steps = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        if tag is None or not tag.value[0] or not tag.value[1]:
            return None
        steps.append(tag.value[1] / tag.value[0])
    return steps[0], steps[1]
