"""What the distances at a location mean: the sides of a box, or the vertices of a star-convex polygon."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.config.detector import BoxOutline, StarOutline
from pipeline.detectors.rays import directions

_ONE = 0.5413  # softplus of this is 1


@dataclass(frozen=True)
class BoxShape:
    """Distances to the lower sides (first ``dims``) and to the upper sides, positive outwards (FCOS)."""

    dims: int

    @property
    def distances(self) -> int:
        return 2 * self.dims

    def activated(self, raw: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """What the last layer says → distances in voxels of the input, ``scale`` where it says 0."""
        return (raw + 1.0) * scale

    def edges(
        self, at: torch.Tensor, distances: torch.Tensor, shape: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower and upper sides ``(n, dims)`` of objects seen from locations ``(n, dims)``; at least one voxel apart.

        They may reach beyond the image of ``shape`` ``(dims,)``, as annotated boxes may.
        """
        return apart(at - distances[:, : self.dims], at + distances[:, self.dims :])


@dataclass(frozen=True)
class StarShape:
    """Distances to the edge along ``rays`` directions (StarDist, arXiv 1806.03535), in 2D."""

    rays: int

    @property
    def distances(self) -> int:
        return self.rays

    def activated(self, raw: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """As for boxes, but never below 0: the edge lies in the ray's direction, not behind."""
        return functional.softplus(raw + _ONE) * scale

    def vertices(self, at: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Corners ``(n, rays, 2)`` of the polygons seen from locations ``(n, 2)``."""
        way = torch.as_tensor(directions(self.rays), dtype=distances.dtype, device=distances.device)
        return at[:, None] + distances[..., None] * way

    def edges(
        self, at: torch.Tensor, distances: torch.Tensor, shape: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bounds ``(n, 2)`` of the polygons in the image of ``shape`` ``(2,)``; at least one voxel apart.

        Polygons reach beyond the image where the end of an object is not seen; annotated masks do not.
        """
        corners = self.vertices(at, distances)
        lower, upper = apart(corners.amin(dim=1), corners.amax(dim=1))
        last = shape - 1
        return torch.minimum(lower.clamp(min=-0.5), last - 0.5), torch.minimum(upper.clamp(min=0.5), last + 0.5)


def shape_of(outline: BoxOutline | StarOutline, dims: int) -> BoxShape | StarShape:
    return StarShape(outline.rays) if isinstance(outline, StarOutline) else BoxShape(dims)


def apart(lower: torch.Tensor, upper: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sides ``(n, d)`` → the same, at least one voxel apart: an object has at least one."""
    middle, half = (lower + upper) / 2, ((upper - lower) / 2).clamp(min=0.5)
    return middle - half, middle + half
