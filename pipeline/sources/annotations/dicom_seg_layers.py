"""The stored frames of a DICOM segmentation → rasters of its segments, or one tile of one segment after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom.dataset import FileDataset

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_seg_frames import Frames
from pipeline.sources.annotations.dicom_seg_places import FrameGroups, Places
from pipeline.sources.dicom.header import text, whole_number
from pipeline.sources.scan import VOLUME_BYTES

_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
# The index of a frame's first pixel on the grid, (i, j) or (i, j, k).
_Corner = tuple[int, ...]


@dataclass(frozen=True)
class Segment:
    """``tracked``: it has an identity of its own. ``background``: it is no object."""

    number: int
    label: str
    tracked: bool
    background: bool


@dataclass(frozen=True, eq=False)
class Segmented:
    """One segmentation. In its rasters, value ``n`` stands for ``segments[n - 1]``, 0 for none."""

    dataset: FileDataset
    frames: Frames
    groups: FrameGroups
    places: Places
    segments: tuple[Segment, ...]

    def layers(self) -> list[np.ndarray]:
        """Rasters of the whole grid: as many as overlapping segments need, at least one.

        Raises:
            AnnotationError: frames that name no segment of the file, or share a place; rasters that are too large.
        """
        layers = [self._empty(0)]
        if self.kind == "LABELMAP":
            for corner, values in self._values():
                _region(layers[0], corner, values.shape)[...] = values
            return layers
        for position, numbers in self._frames_by_segment.items():
            if not self.segments[position - 1].background:
                self._paint(layers, position, numbers)
        return layers

    def tiles(self) -> Iterator[tuple[int, tuple[int, int], np.ndarray]]:
        """``(value, corner (i, j), mask (i, j))`` of every frame on a slide and segment in it (errors as `layers`)."""
        if self.kind == "LABELMAP":
            for (i, j, *_), values in self._values():
                for value in np.unique(values[values > 0]).tolist():
                    yield value, (i, j), values == value
            return
        for position, numbers in self._frames_by_segment.items():
            if not self.segments[position - 1].background:
                for number in numbers:
                    i, j, *_ = self._corner(number)
                    yield position, (i, j), self._mask(number)

    @cached_property
    def kind(self) -> str:
        """SegmentationType."""
        kind = text(self.dataset, "SegmentationType")
        if kind not in _KINDS:
            raise AnnotationError(f"SegmentationType must be {', '.join(_KINDS[:-1])} or {_KINDS[-1]}")
        return kind

    @cached_property
    def _least(self) -> int:
        """The smallest stored value that belongs to a segment: half of the maximum, or any."""
        if self.kind == "BINARY":
            return 1
        most, fits = whole_number(self.dataset, "MaximumFractionalValue"), (1 << self.frames.bits) - 1
        if not 1 <= most <= fits:
            raise AnnotationError(f"MaximumFractionalValue must be 1 … {fits}, got {most}")
        return (most + 1) // 2

    @cached_property
    def _frames_by_segment(self) -> dict[int, list[int]]:
        """The frames of each segment, by its value."""
        values = {segment.number: value for value, segment in enumerate(self.segments, start=1)}
        found: dict[int, list[int]] = {value: [] for value in values.values()}
        for frame, number in enumerate(self._segment_numbers()):
            if number not in values:
                raise AnnotationError(f"a frame shows segment {number}, which is not described")
            found[values[number]].append(frame)
        for frames in found.values():
            if len({self._corner(frame) for frame in frames}) < len(frames):
                raise AnnotationError("two frames of one segment lie at one place")
        return found

    def _segment_numbers(self) -> Iterator[int]:
        """Which segment each frame shows. In a full matrix segments follow each other (PS3.3 C.7.6.17.3)."""
        count = self.frames.count
        if text(self.dataset, "DimensionOrganizationType") == "TILED_FULL":
            if count % len(self.segments):
                raise AnnotationError(
                    f"{count} frames of a full matrix do not divide into {len(self.segments)} segments"
                )
            yield from (self.segments[frame * len(self.segments) // count].number for frame in range(count))
            return
        for group in self.groups:
            named = group.get("SegmentIdentificationSequence")
            if named is None:
                raise AnnotationError("a frame does not say which segment it shows")
            yield whole_number(named, "ReferencedSegmentNumber")

    def _values(self) -> Iterator[tuple[_Corner, np.ndarray]]:
        """Each frame of a label map as values ``(i, j)``."""
        table = self._table()
        if len({self._corner(frame) for frame in range(self.frames.count)}) < self.frames.count:
            raise AnnotationError("two frames of one label map lie at one place")
        for frame in range(self.frames.count):
            values = table[self.frames.frame(frame)]
            if (values < 0).any():
                raise AnnotationError("a pixel names a segment that is not described")
            yield self._corner(frame), self._cut(frame, values.T)

    def _table(self) -> np.ndarray:
        """Stored value → raster value, -1 for what is not described. Padding and background are no segment."""
        table = np.full(1 << self.frames.bits, -1, dtype=np.int64)
        table[0] = 0
        padding = whole_number(self.dataset, "PixelPaddingValue", 0)
        if 0 <= padding < len(table):
            table[padding] = 0
        for value, segment in enumerate(self.segments, start=1):
            if not 0 <= segment.number < len(table):
                raise AnnotationError(f"SegmentNumber must fit into {self.frames.bits} bits, got {segment.number}")
            table[segment.number] = 0 if segment.background else value
        return table

    def _paint(self, layers: list[np.ndarray], value: int, numbers: list[int]) -> None:
        """Add a segment to the first raster where it meets no other, or to a new one."""
        layer = next((one for one in layers if not any(self._meets(one, number) for number in numbers)), None)
        if layer is None:
            layer = self._empty(len(layers))
            layers.append(layer)
        for number in numbers:
            mask = self._mask(number)
            _region(layer, self._corner(number), mask.shape)[mask] = value

    def _meets(self, layer: np.ndarray, number: int) -> bool:
        mask = self._mask(number)
        region = _region(layer, self._corner(number), mask.shape)
        return bool(region.any() and region[mask].any())

    def _mask(self, number: int) -> np.ndarray:
        return self._cut(number, (self.frames.frame(number) >= self._least).T)

    def _corner(self, number: int) -> _Corner:
        return tuple(self.places.corners[number].tolist())

    def _cut(self, number: int, values: np.ndarray) -> np.ndarray:
        """What of a frame ``(i, j)`` lies on the grid: tiles at a slide's edge reach beyond."""
        i, j = self.places.corners[number][:2].tolist()
        return values[: self.places.grid.shape[0] - i, : self.places.grid.shape[1] - j]

    def _empty(self, before: int) -> np.ndarray:
        shape = self.places.grid.shape
        dtype = np.min_scalar_type(-len(self.segments) - 1)  # signed, as label maps are
        if int(np.prod(shape, dtype=object)) * dtype.itemsize * (before + 1) > VOLUME_BYTES:
            raise AnnotationError(f"a raster of {shape} ({before + 1} layers) has more than {VOLUME_BYTES >> 30} GiB")
        return np.zeros(shape, dtype=dtype, order="F")  # frames lie in one piece


def _region(layer: np.ndarray, corner: _Corner, shape: tuple[int, ...]) -> np.ndarray:
    plane = layer if layer.ndim == 2 else layer[:, :, corner[2]]
    return plane[corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]]
