"""PNG, JPEG and TIFF: one 2D field of view each.

A physical size counts only where the file states it as such: OME-XML, or a TIFF resolution in centimetres or inches
finer than `COARSEST_DPI`. Coarser ones are the print size that software writes by default (72, 96, 300 dpi).
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import VOLUME_BYTES, LoadedScan

COARSEST_DPI = 2540.0  # 10 µm a pixel
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFFFILE_COMPRESSIONS = (1, 8, 32946)  # none, deflate
_MM_PER_RESOLUTION_UNIT = {2: 25.4, 3: 10.0}
_MM_PER_OME_UNIT = {"nm": 1e-6, "µm": 1e-3, "um": 1e-3, "mm": 1.0, "cm": 10.0}


def load_picture(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """``(channel, i, j)``: 1 or 3 channels, ``i`` along columns, ``j`` along rows.

    The grid is in mm where the file states a physical size, else in pixels. Opaque alpha is dropped.

    Raises:
        SourceError: not a readable picture, several pages, transparent pixels, turned by EXIF, not finite, too large.
    """
    (path,) = paths
    pixels, spacing = read_pixels(path)
    pixels = _without_alpha(pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise SourceError(f"{int((~np.isfinite(pixels)).sum())} of {pixels.size} pixels are not finite numbers")
    image = np.ascontiguousarray(pixels.transpose(2, 1, 0))
    shape = (image.shape[1], image.shape[2])
    grid = Grid.of_pixels(shape) if spacing is None else Grid(shape, np.diag([*spacing, 1.0]))
    return [LoadedScan(image, grid, "OT", {"format": "picture"})]


def read_pixels(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Pixels ``(row, column, channel)`` as stored and, if stated, spacing along ``(i, j)`` in mm."""
    with path.open("rb") as stream:
        tiff = stream.read(4) in _TIFF_MAGIC
    try:
        return _read_tiff(path) if tiff else (_read_pillow(path), None)
    except SourceError:
        raise
    except MemoryError as error:
        raise SourceError("decoding the picture needs more memory than is allowed") from error
    except Exception as error:
        raise SourceError(f"not a readable picture ({type(error).__name__}): damaged or cut") from error


def _read_pillow(path: Path) -> np.ndarray:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # the size is checked here, before anything is decoded
    with Image.open(path) as picture:
        _check_size(picture.size, 4)
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            raise SourceError(f"expected one picture, got {frames} frames")
        turned = picture.getexif().get(274, 1)
        if turned not in (0, 1):
            raise SourceError(f"EXIF orientation {turned} turns the picture: save it upright")
        plain: Image.Image = picture
        if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
            opaque = "transparency" not in picture.info and picture.mode != "PA"
            plain = picture.convert("RGB" if opaque else "RGBA")
        elif picture.mode == "1":
            plain = picture.convert("L")
        array = np.asarray(plain)
    if array.dtype.kind not in "uif":
        raise SourceError(f"expected numbers as pixels, got {array.dtype}")
    return array[:, :, None] if array.ndim == 2 else array


def _read_tiff(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        if len(tiff.series) != 1:
            raise SourceError(f"expected one image in the TIFF, got {len(tiff.series)}")
        series = tiff.series[0]
        axes, shape = series.axes, series.shape
        kept = [(axis, n) for axis, n in zip(axes, shape, strict=True) if n != 1 or axis in "YX"]
        names = "".join(axis for axis, _ in kept)
        if names not in ("YX", "YXS", "SYX", "CYX"):
            raise SourceError(f"expected one 2D image, got axes {axes} of shape {shape}: a stack states no geometry")
        if (np.prod(shape, dtype=float) * series.dtype.itemsize) > VOLUME_BYTES:
            raise SourceError(f"shape {shape} is larger than {VOLUME_BYTES / 2**30:.0f} GiB")
        spacing = _ome_spacing(tiff.ome_metadata) or _tag_spacing(tiff.pages[0])
        if tiff.pages[0].compression not in _TIFFFILE_COMPRESSIONS:
            return _read_pillow(path), spacing  # LZW and JPEG need a further package there; Pillow brings them
        array = np.asarray(series.asarray()).reshape([n for _, n in kept])
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if names == "YX":
        array = array[:, :, None]
    return (array if names in ("YX", "YXS") else np.moveaxis(array, 0, -1)), spacing


def _ome_spacing(text: str | None) -> tuple[float, float] | None:
    if not text:
        return None
    pixels = next((e for e in ElementTree.fromstring(text).iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib or "PhysicalSizeY" not in pixels.attrib:
        return None
    steps = []
    for axis in "XY":
        unit = pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")  # OME's default
        if unit not in _MM_PER_OME_UNIT:
            return None
        steps.append(float(pixels.attrib[f"PhysicalSize{axis}"]) * _MM_PER_OME_UNIT[unit])
    return steps[0], steps[1]


def _tag_spacing(page: Any) -> tuple[float, float] | None:
    tags = page.tags
    unit = tags.get("ResolutionUnit")
    millimetres = _MM_PER_RESOLUTION_UNIT.get(int(unit.value) if unit is not None else 0)
    if millimetres is None or "XResolution" not in tags or "YResolution" not in tags:
        return None
    steps = []
    for name in ("XResolution", "YResolution"):
        numerator, denominator = tags[name].value
        if not numerator or not denominator:
            return None
        steps.append(millimetres * denominator / numerator)
    return (steps[0], steps[1]) if max(steps) < 25.4 / COARSEST_DPI else None


def _check_size(size: tuple[int, int], bytes_per_pixel: int) -> None:
    if size[0] * size[1] * bytes_per_pixel > VOLUME_BYTES:
        raise SourceError(f"{size[0]} x {size[1]} pixels are more than {VOLUME_BYTES / 2**30:.0f} GiB")


def _without_alpha(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] in (1, 3):
        return pixels
    if pixels.shape[2] not in (2, 4):
        raise SourceError(f"expected 1 or 3 channels, got {pixels.shape[2]}")
    alpha = pixels[:, :, -1]
    if (alpha != (np.iinfo(alpha.dtype).max if alpha.dtype.kind in "ui" else 1)).any():
        raise SourceError("the picture has transparent pixels: flatten it first")
    return pixels[:, :, :-1]
