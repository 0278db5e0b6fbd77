"""Voxels → 8-bit pictures small enough to be embedded: every slice of a volume, or one field.

Grey values are mapped by a `GreyScale` that reaches beyond the window that is shown first, so that a reader can change
the window. What does not fit into the limit is given up in this order, and `EncodedImage` tells: exact values (PNG →
JPEG), then pixels, then the slices farthest from the findings.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image as Pillow

from pipeline.geometry import Grid
from pipeline.reporting.display import flips, to_picture
from pipeline.reporting.grey_scale import GreyScale, grey_scale
from pipeline.types import Image

Kind = Literal["image/png", "image/jpeg"]

_LONGEST_3D = (512, 384, 256)
_LONGEST_2D = (2048, 1536, 1024, 768, 512)
_QUALITY = 85
# Fewer slices than these say too little of what lies around a finding: rather give up pixels.
_LEAST_SLICES = 48
_SAMPLED_SLICES = 5


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """Pictures of one case, rows down and columns to the right as `display.to_picture` has them.

    ``planes``: one file a slice; ``slices``: their indices along ``k``, ascending (``(0,)`` of a field).
    ``size``: columns and rows of the pictures; ``full``: of the image, and how many slices it has.
    ``scale``: the values of the grey levels; ``shown``: the window to begin with.
    """

    planes: tuple[bytes, ...]
    slices: tuple[int, ...]
    kind: Kind
    size: tuple[int, int]
    full: tuple[int, int, int]
    colour: bool
    scale: GreyScale
    shown: tuple[float, float]
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bytes", sum(len(one) for one in self.planes))

    @property
    def complete(self) -> bool:
        """Whether no pixel and no slice was given up."""
        return self.size == self.full[:2] and len(self.planes) == self.full[2]

    @property
    def exact(self) -> bool:
        """Whether the pictures hold every pixel, slice and grey level (within ``scale``)."""
        return self.kind == "image/png" and self.complete


def encode_image(
    image: Image,
    grid: Grid,
    shown: tuple[float, float],
    limit: int,
    findings: Sequence[int] = (),
    *,
    hounsfield: bool = False,
) -> EncodedImage | None:
    """The best that fits.

    Args:
        image: ``(channel, i, j[, k])`` on ``grid``.
        grid: decides on the directions (see `display.flips`).
        shown: the window to begin with.
        limit: bytes that all planes together may take.
        findings: slices that matter; those nearest to them are kept first. None: the middle.
        hounsfield: whether the values are Hounsfield units.

    Returns:
        ``None`` where not even one plane of the smallest size fits.
    """
    encoder = _Encoder(image, grid, grey_scale(image, shown, hounsfield=hounsfield))
    depth = 1 if grid.dims == 2 else grid.shape[2]
    every = list(range(depth))
    longest = _LONGEST_2D if grid.dims == 2 else _LONGEST_3D
    tries: list[tuple[int, Kind]] = [(longest[0], "image/png"), *((edge, "image/jpeg") for edge in longest)]
    kept: list[int] = []
    for edge, kind in tries:
        if encoder.estimate(edge, kind, every) * depth <= limit:
            planes = encoder.planes(edge, kind, every)
            if sum(len(one) for one in planes) <= limit:
                return encoder.encoded(planes, every, edge, kind, shown)
    for edge in longest if depth > 1 else ():
        kept = nearest(findings, depth, int(limit / encoder.estimate(edge, "image/jpeg", every)))
        if len(kept) >= _LEAST_SLICES or edge == longest[-1]:
            return encoder.within(kept, edge, limit, findings, shown)
    return None


def nearest(findings: Sequence[int], depth: int, count: int) -> list[int]:
    """The ``count`` slices of ``depth`` that lie nearest to any of ``findings`` (or to the middle), ascending."""
    about = np.array(findings if len(findings) else [depth // 2])
    distance = np.abs(np.arange(depth)[:, None] - about).min(axis=1)
    return sorted(np.argsort(distance, kind="stable")[: max(count, 0)].tolist())


class _Encoder:
    """One image, encoded at several sizes."""

    def __init__(self, image: Image, grid: Grid, scale: GreyScale) -> None:
        self.image, self.scale = image, scale
        self.backwards = flips(grid)
        self.flat = grid.dims == 2
        self.full = (grid.shape[0], grid.shape[1], 1 if self.flat else grid.shape[2])
        self.colour = image.shape[0] == 3

    def plane(self, k: int, edge: int, kind: Kind) -> bytes:
        plane = self.image if self.flat else self.image[..., k]
        rows = to_picture(self.scale.levels_of(plane if self.colour else plane[:1]), (0.0, 255.0))
        rows = rows[:: -1 if self.backwards[1] else 1, :: -1 if self.backwards[0] else 1]
        picture = Pillow.fromarray(np.ascontiguousarray(rows if self.colour else rows[..., 0]))
        size = self.size(edge)
        if size != picture.size:
            picture = picture.resize(size, Pillow.Resampling.LANCZOS)
        buffer = io.BytesIO()
        if kind == "image/png":
            picture.save(buffer, format="PNG", compress_level=9)
        else:
            picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
        return buffer.getvalue()

    def size(self, edge: int) -> tuple[int, int]:
        """Columns and rows where the longer of them is at most ``edge``."""
        share = min(1.0, edge / max(self.full[:2]))
        return max(1, round(self.full[0] * share)), max(1, round(self.full[1] * share))

    def planes(self, edge: int, kind: Kind, slices: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(self.plane(k, edge, kind) for k in slices)

    def estimate(self, edge: int, kind: Kind, slices: Sequence[int]) -> float:
        """Mean bytes a slice, read off a few."""
        step = max(1, len(slices) // _SAMPLED_SLICES)
        sampled = slices[step // 2 :: step]
        return sum(len(self.plane(k, edge, kind)) for k in sampled) / len(sampled)

    def within(
        self, slices: list[int], edge: int, limit: int, findings: Sequence[int], shown: tuple[float, float]
    ) -> EncodedImage | None:
        """As many of ``slices`` as truly fit."""
        planes = dict(zip(slices, self.planes(edge, "image/jpeg", slices), strict=True))
        kept = slices
        while kept and sum(len(planes[k]) for k in kept) > limit:
            kept = nearest(findings, self.full[2], len(kept) - 1)
        if not kept:
            return None
        return self.encoded(tuple(planes[k] for k in kept), kept, edge, "image/jpeg", shown)

    def encoded(
        self, planes: tuple[bytes, ...], slices: Sequence[int], edge: int, kind: Kind, shown: tuple[float, float]
    ) -> EncodedImage:
        return EncodedImage(planes, tuple(slices), kind, self.size(edge), self.full, self.colour, self.scale, shown)
