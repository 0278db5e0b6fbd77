"""TIFF: plain, OME, ImageJ and whole slides (SVS and other pyramids), through tifffile.

A microscope's stack has no patient frame: its axes are the image's own (i columns, j rows, k slices), in mm where the
file states all three steps, else in voxels (``px``), and a note says so. Pages whose axis is not named are slices,
from `_FEWEST_SLICES` on; fewer could as well be channels and are refused.
"""

import weakref
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.sources.images.tiff_pages import Pages, check_chain
from pipeline.sources.images.tiff_pixels import Meaning, check_meaning
from pipeline.sources.images.tiff_sizes import OmeImage, PixelSize, aperio_size, imagej_size, ome_images, tag_size
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan

_FEWEST_SLICES = 5
_UNNAMED = "QI"
_DESCRIBED = ("shaped", "ome", "imagej", "svs")
_IMAGE_BYTES = 128 << 30
_MOST_PARTS = 10_000
_RATIO, _RATIO_FROM_BYTES = 1000, 1 << 30
# Pictures of the whole glass and of its label, which often shows the patient's name.
_SIDE_IMAGES = ("thumbnail", "label", "label image", "macro", "macro image", "overview", "map")


def load_tiff(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """Images ``(channel, i, j[, k])``, read by region when their pixels are asked for.

    Each image of the file and each time of it is a scan. Of a pyramid only the full resolution is kept; label, macro
    and thumbnail images are left out; notes say so. Samples of a pixel and fluorescence channels are channels, any
    number of them. The grid is in mm where the file states its pixel size, else in pixels.

    Args:
        paths: the file.
        options: none of them concerns TIFF.

    Raises:
        SourceError: not a readable TIFF, an axis of unknown meaning, transparent, turned, spread over files, too large.
        GeometryError: a pixel size that is not above 0.
    """
    (path,) = paths
    return _load(path, indices=False)


def read_tiff(path: Path) -> np.ndarray:
    """The one image of a TIFF, ``(channel, i, j[, k])``, whole; a palette's indices in the place of its colours.

    Raises:
        SourceError: as `load_tiff`; or it holds several images.
    """
    scans = _load(path, indices=True)
    if len(scans) != 1:
        raise SourceError(f"expected one image in the TIFF, got {len(scans)}")
    return np.asarray(scans[0].image[...])


def _load(path: Path, indices: bool) -> list[LoadedScan]:
    import tifffile

    try:
        tiff = tifffile.TiffFile(path, _multifile=False)
    except Exception as error:
        raise _unreadable(error) from error
    try:
        scans = _scans(tiff, indices)
    except BaseException as error:
        tiff.close()
        if isinstance(error, SourceError | MemoryError) or not isinstance(error, Exception):
            raise
        raise _unreadable(error) from error
    weakref.finalize(tiff, tiff.filehandle.close)
    return scans


def _unreadable(error: Exception) -> SourceError:
    return SourceError(f"not a readable TIFF ({type(error).__name__}): damaged or cut")


def _scans(tiff: Any, indices: bool) -> list[LoadedScan]:
    check_chain(tiff)
    stated = ome_images(tiff.ome_metadata) if tiff.is_ome and tiff.ome_metadata else []
    described = _described(_series(tiff), stated)
    kept = [
        (series, ome)
        for number, (series, ome) in enumerate(described)
        if number == 0 or series.name.lower() not in _SIDE_IMAGES
    ]
    left_out = len(described) - len(kept)
    notes = (f"{left_out} label, macro or thumbnail image(s) are left out",) if left_out else ()
    images = [_Image(tiff, Meaning(series.keyframe, indices), series, ome, notes) for series, ome in kept]
    if sum(image.times for image in images) > _MOST_PARTS:
        raise SourceError(f"the TIFF holds more than {_MOST_PARTS} images and times: split it")
    return [
        image.scan(time, f"image {number} of {len(images)}" if len(images) > 1 else "")
        for number, image in enumerate(images, start=1)
        for time in range(image.times)
    ]


def _series(tiff: Any) -> list[Any]:
    """tifffile's series; where it falls back to single pages, the description that the file has does not fit it."""
    series = list(tiff.series)
    flavours = [name for name in _DESCRIBED if getattr(tiff, f"is_{name}")]
    if not series or (flavours and series[0].kind not in flavours):
        raise SourceError(f"the TIFF's description ({', '.join(flavours) or 'none'}) does not fit its pages: it is cut")
    return series


def _described(series: list[Any], stated: list[OmeImage]) -> list[tuple[Any, OmeImage | None]]:
    """Each image of the file with what OME-XML says of it."""
    if not stated:
        return [(one, None) for one in series]
    if len(stated) != len(series) and len(set(stated)) > 1:
        raise SourceError(f"the TIFF's OME-XML describes {len(stated)} images, {len(series)} are in the file")
    return list(zip(series, stated if len(stated) == len(series) else stated[:1] * len(series), strict=True))


class _Image:
    """One series of a TIFF: where each of its axes went."""

    def __init__(self, tiff: Any, meaning: Meaning, series: Any, ome: OmeImage | None, notes: tuple[str, ...]) -> None:
        check_meaning(series.keyframe)
        self.meaning = meaning
        self.ome = ome
        self.page = series.keyframe
        inner = len(self.page.axes)
        axes, shape = series.axes[:-inner], series.shape[:-inner]
        self.pages = Pages(tiff, series, prod(shape))
        missing = self.pages.check()
        self.outer = _roles(axes, shape)
        self.shape = (
            meaning.channels * self.outer.get("C", 1),
            int(self.page.imagewidth),
            int(self.page.imagelength),
            *([self.outer["Z"]] if "Z" in self.outer else []),
        )
        self.times = self.outer.get("T", 1)
        self.strides = _strides(self.outer)
        size = prod(self.shape) * meaning.dtype.itemsize
        _check_size(size, tiff.filehandle.size)
        self.grid, own = _grid(self.shape[1:], _size(tiff, self.page, ome))
        levels = [level.shape for level in series.levels[1:]]
        self.notes = (*notes, *own, *_remarks(axes, levels, missing))

    def scan(self, time: int, part: str) -> LoadedScan:
        attributes = {"format": "tiff"}
        parts = [part] if part else []
        if self.times > 1:
            parts.append(f"time {time + 1} of {self.times}")
            if self.ome is not None and self.ome.seconds:
                attributes["time_s"] = f"{time * self.ome.seconds:.6g}"
        if self.ome is not None and len(self.ome.channels) == self.shape[0]:
            attributes["channel_names"] = ", ".join(self.ome.channels)
        return LoadedScan(TiffImage(self, time), self.grid, "OT", attributes, notes=self.notes, part=", ".join(parts))

    def page_number(self, time: int, channel: int, slice_: int) -> int:
        at = {"T": time, "C": channel, "Z": slice_}
        return sum(at[axis] * stride for axis, stride in self.strides.items())


@dataclass(frozen=True, eq=False)
class TiffImage:
    """Pixels ``(channel, i, j[, k])`` of one time of an image, decoded when they are asked for.

    An index is ``...`` or slices of step 1.
    """

    source: _Image
    time: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.meaning.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        given = index if isinstance(index, tuple) else (index,)
        plain = all(isinstance(one, slice) and one.step in (None, 1) for one in given) and len(given) <= self.ndim
        if not plain:
            whole = self[(slice(None),) * self.ndim]
            return np.asarray(whole[index])
        filled = [*given, *[slice(None)] * (self.ndim - len(given))]
        region = [slice(*one.indices(n)[:2]) for one, n in zip(filled, self.shape, strict=True)]
        slices = range(region[3].start, region[3].stop) if self.ndim == 4 else range(1)
        planes = [self._plane(slice_, region) for slice_ in slices]
        if self.ndim == 3:
            return planes[0]
        return np.stack(planes, axis=-1) if planes else np.zeros((*_lengths(region[:3]), 0), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def _plane(self, slice_: int, region: list[slice]) -> np.ndarray:
        """``(channel, i, j)``."""
        samples = self.source.meaning.channels
        channels, columns, rows = region[:3]
        out = np.empty(_lengths(region[:3]), self.dtype)
        if not out.size:
            return out
        for page in range(channels.start // samples, -(-channels.stop // samples)):
            number = self.source.page_number(self.time, page, slice_)
            block = self.source.meaning.values(self.source.pages.region(number, rows, columns)).transpose(2, 1, 0)
            first = max(channels.start, page * samples)
            last = min(channels.stop, (page + 1) * samples)
            out[first - channels.start : last - channels.start] = block[first - page * samples : last - page * samples]
        return out


def _check_size(size: int, file_bytes: int) -> None:
    if size > _IMAGE_BYTES:
        raise SourceError(f"the TIFF's image needs {size / 2**30:.0f} GiB, more than {_IMAGE_BYTES >> 30} GiB")
    if size > _RATIO_FROM_BYTES and size > _RATIO * file_bytes:
        raise SourceError(
            f"the TIFF's image is {size // file_bytes} times as large as its file (at most {_RATIO} is allowed): it "
            "may be a decompression bomb"
        )


def _roles(axes: str, shape: tuple[int, ...]) -> dict[str, int]:
    """Length of each axis over pages, T, C or Z, in the file's order."""
    roles: dict[str, int] = {}
    for axis, length in zip(axes, shape, strict=True):
        role = axis
        if axis in _UNNAMED and length > 1:
            if length < _FEWEST_SLICES:
                raise SourceError(
                    f"the TIFF has {length} pages and does not say whether they are slices, channels or times: save "
                    "it as OME-TIFF or ImageJ's, which name the axis"
                )
            role = "Z"
        if length == 1 and role not in "TCZ":
            continue
        if role not in "TCZ" or role in roles:
            raise SourceError(
                f"the TIFF has axes {axes} of {shape} over its pages; expected times, channels and slices"
            )
        roles[role] = length
    if roles.get("Z") == 1:
        del roles["Z"]
    return roles


def _strides(outer: dict[str, int]) -> dict[str, int]:
    """How many pages apart neighbours along each axis lie."""
    strides: dict[str, int] = {}
    step = 1
    for axis, length in reversed(outer.items()):
        strides[axis] = step
        step *= length
    return strides


def _size(tiff: Any, page: Any, ome: OmeImage | None) -> PixelSize:
    if ome is not None:
        return ome.size
    if tiff.is_imagej and tiff.imagej_metadata:
        return imagej_size(tiff.imagej_metadata, page) or PixelSize()
    return (aperio_size(page.description) if tiff.is_svs else None) or tag_size(page) or PixelSize()


def _grid(space: tuple[int, ...], size: PixelSize) -> tuple[Grid, tuple[str, ...]]:
    steps = [size.x_mm, size.y_mm, size.z_mm][: len(space)]
    stated = [step for step in steps if step is not None]
    if len(space) == 2:
        return (Grid(space, np.diag([*stated, 1.0])) if len(stated) == 2 else Grid.of_pixels(space)), ()
    if len(stated) == 3:
        return Grid(space, np.diag([*stated, 1.0])), ("a stack without a patient's frame: axes are the image's own",)
    partly = f" (along {len(stated)} of 3 axes only)" if stated else ""
    return Grid(space, np.eye(4), "px"), (f"the stack's voxel size is not stated{partly}: it lies in voxels",)


def _remarks(axes: str, levels: list[tuple[int, ...]], missing: int) -> tuple[str, ...]:
    remarks = []
    if any(axis in _UNNAMED for axis in axes):
        remarks.append("the file does not say what its pages are; they are taken as slices")
    if levels:
        remarks.append(f"{len(levels)} smaller level(s) of the pyramid are left out")
    if missing:
        remarks.append(f"{missing} tile(s) are not stored and read as 0")
    return tuple(remarks)


def _lengths(region: list[slice]) -> tuple[int, ...]:
    return tuple(max(0, one.stop - one.start) for one in region)
