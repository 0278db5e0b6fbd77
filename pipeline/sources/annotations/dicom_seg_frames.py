"""The frames of a DICOM segmentation, one at a time: bits, fractions or segment numbers."""

import zlib
from functools import cached_property

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from pipeline.errors import AnnotationError
from pipeline.sources.dicom.header import text, whole_number
from pipeline.sources.scan import VOLUME_BYTES

_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"  # Deflated Image Frame Compression (PS3.5 A.4.13)
_BIG_ENDIAN = "1.2.840.10008.1.2.2"


class Frames:
    """``count`` frames of ``rows`` x ``columns`` stored values; `frame` gives one as ``(row, column)``.

    ``bits`` is 1 (packed over frame borders, PS3.5 8.1.1), 8 or 16. Native frames are taken from the data when asked
    for; compressed ones are decoded once, and kept.

    Raises:
        AnnotationError: the pixel module contradicts itself or the length of its data, or there is too much of it.
    """

    def __init__(self, dataset: FileDataset) -> None:
        self._dataset = dataset
        self.count = whole_number(dataset, "NumberOfFrames", 1)
        self.rows, self.columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
        self.bits = whole_number(dataset, "BitsAllocated")
        if min(self.count, self.rows, self.columns) < 1:
            raise AnnotationError(
                f"frames, rows and columns must be at least 1, got {self.count}, {self.rows} and {self.columns}"
            )
        if self.bits not in (1, 8, 16) or whole_number(dataset, "SamplesPerPixel", 1) != 1:
            raise AnnotationError(f"a segmentation has one sample of 1, 8 or 16 bits a pixel, got {self.bits} bits")
        if self.count * self.rows * self.columns * self.bits > VOLUME_BYTES * 8:
            raise AnnotationError(f"its frames hold more than {VOLUME_BYTES >> 30} GiB")
        syntax = UID(text(dataset.file_meta, "TransferSyntaxUID"))
        if not syntax.is_transfer_syntax and syntax != _DEFLATED_FRAMES:
            raise AnnotationError("its transfer syntax is unknown")
        self._syntax = syntax
        self._native = not (syntax == _DEFLATED_FRAMES or syntax.is_encapsulated)
        if self._native:
            self._check_length()

    def frame(self, number: int) -> np.ndarray:
        """Frame ``number`` (from 0) as stored, ``(row, column)``, uint8 or uint16."""
        return self._native_frame(number) if self._native else self._decoded[number]

    def _check_length(self) -> None:
        need, there = (self.count * self.rows * self.columns * self.bits + 7) // 8, len(self._dataset.PixelData)
        if there not in (need, need + need % 2):
            raise AnnotationError(f"{self.count} frames call for {need} bytes of pixels, {there} are there")

    def _native_frame(self, number: int) -> np.ndarray:
        size = self.rows * self.columns
        data = np.frombuffer(self._dataset.PixelData, np.uint8)
        if self.bits == 1:
            return _unpacked(data, number * size, size).reshape(self.rows, self.columns)
        order = ">u2" if self._syntax == _BIG_ENDIAN else "<u2"
        values = data if self.bits == 8 else data[: len(data) // 2 * 2].view(order)
        return values[number * size : (number + 1) * size].reshape(self.rows, self.columns)

    @cached_property
    def _decoded(self) -> list[np.ndarray]:
        frames = self._inflated() if self._syntax == _DEFLATED_FRAMES else self._decompressed()
        if len(frames) != self.count:
            raise AnnotationError(f"the header states {self.count} frames, {len(frames)} are there")
        return frames

    def _decompressed(self) -> list[np.ndarray]:
        from pydicom.pixels import iter_pixels

        frames = []
        for frame in iter_pixels(self._dataset, raw=True):
            if frame.shape != (self.rows, self.columns):
                raise AnnotationError(f"a frame must be {self.rows} x {self.columns}, got {frame.shape} after decoding")
            frames.append(frame.astype(np.uint8 if self.bits <= 8 else np.uint16))
        return frames

    def _inflated(self) -> list[np.ndarray]:
        from pydicom.encaps import generate_frames

        size = self.rows * self.columns
        need = (size * self.bits + 7) // 8
        frames = []
        for data in generate_frames(self._dataset.PixelData, number_of_frames=self.count):
            inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, need + 1)
            if len(inflated) not in (need, need + need % 2):
                raise AnnotationError(f"a frame must inflate to {need} bytes, got {len(inflated)}")
            values = np.frombuffer(inflated, np.uint8)
            if self.bits == 1:
                flat = _unpacked(values, 0, size)
            else:
                flat = values[:need].view("<u2" if self.bits == 16 else "u1")
            frames.append(flat.reshape(self.rows, self.columns))
        return frames


def _unpacked(data: np.ndarray, start: int, count: int) -> np.ndarray:
    """``count`` bits from bit ``start`` on, the first bit being the least significant of its byte."""
    first, last = start // 8, (start + count + 7) // 8
    bits = np.unpackbits(data[first:last], bitorder="little")
    return bits[start - 8 * first : start - 8 * first + count]
