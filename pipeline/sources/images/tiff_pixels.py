"""What the numbers of a TIFF page mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import SourceError

_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _MASK, _YCBCR = 0, 1, 2, 3, 4, 6
_JPEGS = (6, 7, 33003, 33005, 34892)  # JPEG and Aperio's JPEG 2000: their decoder gives RGB
_ALPHA = (1, 2)


def check_meaning(page: Any) -> None:
    """Raise `SourceError` where the page's numbers, or which way is up, are not read."""
    turned = page.tags.get("Orientation")
    if turned is not None and int(turned.value) not in (0, 1):
        raise SourceError(f"TIFF orientation {int(turned.value)} turns the picture: save it upright")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise SourceError(f"expected numbers as pixels, got {page.dtype or 'a type that is not read'}")
    photometric = int(page.photometric)
    known = (_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _MASK)
    if photometric not in known and not (photometric == _YCBCR and int(page.compression) in _JPEGS):
        raise SourceError(f"TIFF pixels of photometric interpretation {photometric} are not read: save it as RGB")
    if photometric == _MINISWHITE and page.dtype.kind not in "bu":
        raise SourceError("a TIFF with white as 0 must have unsigned whole numbers")
    if int(getattr(page, "imagedepth", 1)) > 1:
        raise SourceError("a TIFF page with a depth of its own is not read: save its slices as pages")


@dataclass(frozen=True, eq=False)
class Meaning:
    """What the numbers of a page mean: palettes are looked up, opaque alpha is dropped, white 0 is turned around.

    ``indices`` leaves a palette's indices as they are: in a label map they are the labels.
    """

    page: Any
    indices: bool = False

    @property
    def channels(self) -> int:
        return 3 if self._palette else int(self.page.samplesperpixel) - self._alpha

    @property
    def dtype(self) -> np.dtype:
        if self.page.dtype.kind == "b" or self._palette:
            return np.dtype(np.uint8)
        if self.page.dtype.kind == "f":
            return np.dtype(np.float32)
        return np.dtype(self.page.dtype).newbyteorder("=")

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Stored ``(row, column, sample)`` → ``(row, column, channel)``.

        Raises:
            SourceError: transparent pixels, or values that are not finite.
        """
        if self._palette:
            colours = (np.asarray(self.page.colormap) >> 8).astype(np.uint8)  # 16 bits each, (3, value)
            return np.moveaxis(colours[:, stored[:, :, 0]], 0, -1)
        if self._alpha:
            _check_opaque(stored[:, :, -1], self._full)
            stored = stored[:, :, :-1]
        if stored.dtype == bool:
            stored = stored.astype(np.uint8) * 255
        if int(self.page.photometric) == _MINISWHITE:
            stored = (self._full - stored).astype(stored.dtype)
        with np.errstate(over="ignore"):
            values = stored.astype(self.dtype, copy=False)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise SourceError(f"{bad} of {values.size} pixels are not finite numbers, or too large for float32")
        return values

    @property
    def _palette(self) -> bool:
        return int(self.page.photometric) == _PALETTE and not self.indices

    @property
    def _alpha(self) -> bool:
        return any(int(sample) in _ALPHA for sample in self.page.extrasamples)

    @property
    def _full(self) -> int:
        """What stands for white, or for opaque."""
        kind = self.page.dtype.kind
        return 1 if kind == "f" else 255 if kind == "b" else (1 << int(self.page.bitspersample)) - 1


def _check_opaque(alpha: np.ndarray, full: int) -> None:
    if (alpha != full).any():
        raise SourceError("the picture has transparent pixels: flatten it first")
