"""Where each voxel of a training patch lies in its volume: cutting, flips, turns, zoom and bending in one sampling."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pipeline.geometry import Boxes, Grid
from pipeline.transforms.elastic import Displacement
from pipeline.transforms.variation import Geometry
from pipeline.types import Affine, Points

Region = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Placement:
    """A patch of ``shape`` in a source array: patch voxel ``p`` shows source voxel ``matrix (p + displacement(p))``.

    ``matrix`` ``(d + 1, d + 1)`` leads from voxel indices of the patch to those of the source. Edge rule: index 0 is
    the centre of the first voxel, in both.
    """

    shape: tuple[int, ...]
    matrix: Affine
    displacement: Displacement | None = None

    @classmethod
    def of(cls, geometry: Geometry, shape: tuple[int, ...], spacing: np.ndarray) -> "Placement":
        """A patch whose middle is source voxel 0; `centred` puts it elsewhere.

        Args:
            geometry: how it is varied.
            shape: of the patch; equal along i and j where there are quarter turns.
            spacing: of the source, ``(d,)``.
        """
        dims = len(shape)
        swap = _quarter_turns(geometry.quarter_turns, dims)
        assert np.array_equal(np.abs(swap) @ shape, shape), f"quarter turns of a patch of {shape}"
        linear = np.diag(np.where(geometry.flips, -1.0, 1.0)) @ swap
        linear = np.diag(geometry.zoom) @ linear
        if geometry.rotation_degrees:
            linear = _rotation(geometry.rotation_degrees, spacing) @ linear
        matrix = np.eye(dims + 1)
        matrix[:-1, :-1] = linear
        displacement = None
        if geometry.elastic:
            voxel = np.abs(swap).T @ spacing
            displacement = Displacement.draw(geometry.elastic_seed, geometry.elastic, shape, voxel)
        return cls(shape, matrix, displacement).centred(np.zeros(dims))

    @property
    def linear(self) -> np.ndarray:
        return self.matrix[:-1, :-1]

    def centred(self, centre: np.ndarray) -> "Placement":
        """The same with the middle of the patch at a source voxel ``(d,)``, rounded to where voxels meet voxels."""
        middle = (np.array(self.shape) - 1) / 2
        matrix = self.matrix.copy()
        matrix[:-1, -1] = np.round(centre - middle) + middle - self.linear @ middle
        return dataclasses.replace(self, matrix=matrix)

    def onto(self, source: Grid, other: Grid) -> "Placement":
        """The same patch in an array on ``other``, which shares the world with ``source``."""
        return dataclasses.replace(self, matrix=other.inverse @ source.affine @ self.matrix)

    def region(self, shape: tuple[int, ...]) -> Region:
        """The voxels ``lower:upper`` of a source of ``shape`` that the patch shows; at least one an axis."""
        corners = np.array(list(itertools.product(*((0.0, n - 1.0) for n in self.shape))))
        at = corners @ self.linear.T + self.matrix[:-1, -1]
        margin = 0.0 if self.displacement is None else np.abs(self.linear) @ self.displacement.bound
        lower = np.clip(np.floor(at.min(axis=0) - margin + 1e-6), 0, np.array(shape) - 1).astype(int)
        upper = np.clip(np.ceil(at.max(axis=0) + margin - 1e-6) + 1, lower + 1, shape).astype(int)
        return tuple(lower.tolist()), tuple(upper.tolist())

    def image(self, voxels: torch.Tensor, lower: tuple[int, ...]) -> torch.Tensor:
        """``(channel, i, j[, k])`` of the patch, linear between voxels; beyond the region its border repeats.

        Args:
            voxels: float ``(channel, i, j[, k])`` of the source's `region`.
            lower: where the region begins.
        """
        if self._only_indexes:
            return self._indexed(voxels, lower)
        at = self._coordinates(voxels.shape[1:], lower)
        sampled = functional.grid_sample(voxels[None], at, mode="bilinear", padding_mode="border", align_corners=False)
        return sampled[0]

    def nearest(self, numbers: np.ndarray, lower: tuple[int, ...], beyond: int) -> np.ndarray:
        """``(i, j[, k])`` int32 of the patch: what is nearest to each voxel's centre, ``beyond`` outside the region.

        Args:
            numbers: ``(i, j[, k])`` of the source's `region`; whole numbers below 2**24.
            lower: where the region begins.
            beyond: where the patch shows nothing of the region.
        """
        above = torch.from_numpy(numbers.astype(np.float32) - beyond)  # what is beyond is sampled as 0
        at = self._coordinates(above.shape, lower)
        found = functional.grid_sample(above[None, None], at, mode="nearest", padding_mode="zeros", align_corners=False)
        return found[0, 0].numpy().astype(np.int32) + beyond

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes of the source on the patch's grid, which leads to the same world (but for a displacement).

        A box that is turned is taken as the ellipsoid that fills it, and becomes the box around that: the half edges
        are ``sqrt(sum (R_ij h_j)**2)``. The box around its turned corners would be up to 41 % too large for a round
        object. Flips, quarter turns and zoom are exact. Centres follow a displacement, sizes do not.
        """
        inverse = np.linalg.inv(self.matrix)
        centres = boxes.centres @ inverse[:-1, :-1].T + inverse[:-1, -1]
        half = np.sqrt((boxes.sizes / 2) ** 2 @ (inverse[:-1, :-1] ** 2).T)
        if self.displacement is not None and len(centres):
            centres = self._bent(centres, half)
        return Boxes(centres - half, centres + half, self.grid(boxes.grid))

    def grid(self, source: Grid) -> Grid:
        """Where the patch lies in the world of its source, without the displacement."""
        return Grid(self.shape, source.affine @ self.matrix, source.unit)

    def _bent(self, centres: Points, half: Points) -> Points:
        assert self.displacement is not None
        reach = half + 2 * self.displacement.bound
        near = np.all((centres > -reach - 0.5) & (centres < np.array(self.shape) - 0.5 + reach), axis=1)
        centres[near] = self.displacement.origins(centres[near])
        return centres

    @property
    def _only_indexes(self) -> bool:
        return self.displacement is None and bool(
            (np.abs(self.linear).sum(axis=0) == 1).all() and (np.abs(self.linear).max(axis=0) == 1).all()
        )

    def _indexed(self, voxels: torch.Tensor, lower: tuple[int, ...]) -> torch.Tensor:
        dims = len(self.shape)
        axes = np.abs(self.linear).argmax(axis=0)
        start = np.round(self.matrix[:-1, -1] + np.minimum(self.linear, 0) @ (np.array(self.shape) - 1)).astype(int)
        pads = []
        for axis in reversed(range(dims)):
            n = voxels.shape[axis + 1]
            before = lower[axis] - start[axis]
            pads += [int(before), int(self.shape[axis] - n - before)]
        if any(pads):
            voxels = functional.pad(voxels[None], pads, mode="replicate")[0]
        turned = voxels.permute(0, *(int(axis) + 1 for axis in axes))
        backwards = [axis + 1 for axis in range(dims) if self.linear[axes[axis], axis] < 0]
        return (turned.flip(backwards) if backwards else turned).contiguous()

    def _coordinates(self, region: tuple[int, ...], lower: tuple[int, ...]) -> torch.Tensor:
        """What `grid_sample` takes: -1 … 1 over the region's outer edges, the last axis first."""
        dims, size = len(self.shape), np.array(region)
        linear = 2 * self.linear / size[:, None]
        offset = (2 * (self.matrix[:-1, -1] - lower) + 1) / size - 1
        at = torch.empty((dims, *self.shape))
        for row in range(dims):
            line: torch.Tensor | float = float(offset[row])
            for axis, n in enumerate(self.shape):
                steps = torch.from_numpy((linear[row, axis] * np.arange(n)).astype(np.float32))
                line = line + steps.view(*(n if other == axis else 1 for other in range(dims)))
            at[dims - 1 - row] = line
        if self.displacement is not None:
            moved = self.displacement.everywhere.flatten(1)
            at += (torch.from_numpy(linear[::-1].astype(np.float32)) @ moved).view(at.shape)
        return at.movedim(0, -1)[None]


def _quarter_turns(count: int, dims: int) -> np.ndarray:
    turn = np.eye(dims)
    turn[:2, :2] = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), count)
    return turn


def _rotation(degrees: float, spacing: np.ndarray) -> np.ndarray:
    """In voxels of unequal edges, so that it is a rotation in the world."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(len(spacing))
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return np.asarray(turn * spacing[None] / spacing[:, None])
