"""PNG and JPEG: one 2D field of view each, in pixels (their resolution is a print size)."""

from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.sources.images.png_data import check_png
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import VOLUME_BYTES, LoadedScan

_PNG = b"\x89PNG\r\n\x1a\n"


def load_picture(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """``(channel, i, j)``: 1 or 3 channels, ``i`` along columns, ``j`` along rows, on a grid of pixels.

    Palettes are looked up, opaque alpha is dropped.

    Raises:
        SourceError: not a readable picture, several frames, transparent pixels, turned by EXIF, too large.
    """
    (path,) = paths
    pixels = _without_alpha(read_pixels(path))
    image = np.ascontiguousarray(pixels.transpose(2, 1, 0))
    return [LoadedScan(image, Grid.of_pixels((image.shape[1], image.shape[2])), "OT", {"format": "picture"})]


def read_pixels(path: Path, indices: bool = False) -> np.ndarray:
    """Pixels ``(row, column, channel)`` as stored; ``indices`` leaves a palette's, which are a label map's labels.

    Raises:
        SourceError: as `load_picture`.
    """
    try:
        return _read(path, indices)
    except SourceError:
        raise
    except MemoryError as error:
        raise SourceError("decoding the picture needs more memory than is allowed") from error
    except Exception as error:
        raise SourceError(f"not a readable picture ({type(error).__name__}): damaged or cut") from error


def _read(path: Path, indices: bool) -> np.ndarray:
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(_PNG):
        check_png(path)
    deep_colour = head.startswith(_PNG) and head[24] == 16 and head[25] != 0
    return _read_deep_png(path, head) if deep_colour else _read_pillow(path, indices)


def _read_deep_png(path: Path, head: bytes) -> np.ndarray:
    """16-bit colour, which Pillow would read as 8-bit without a word."""
    import imagecodecs

    _check_size((int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")), 8)
    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


def _read_pillow(path: Path, indices: bool) -> np.ndarray:
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
        if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV") and not (indices and picture.mode == "P"):
            opaque = "transparency" not in picture.info and picture.mode != "PA"
            plain = picture.convert("RGB" if opaque else "RGBA")
        elif picture.mode == "1":
            plain = picture.convert("L")
        array = np.asarray(plain)
    if array.dtype.kind not in "uif":
        raise SourceError(f"expected numbers as pixels, got {array.dtype}")
    return array[:, :, None] if array.ndim == 2 else array


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
