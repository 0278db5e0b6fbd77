"""How far it is from a place inside an object to its edge, along directions around it.

Exact on the pixels: a ray passes from pixel to pixel (Amanatides and Woo 1987), and its length is where it leaves the
last pixel of the object that it starts in. Every location lies at the same place within its pixel, so which pixels a
ray passes, and where it enters them, is one table for all of them.
"""

from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

# Rays are followed over this many pixels at a time: most end in the first portion.
_PORTION = 16
# So many rays are followed at once: with about 450 bytes each, 60 MB whatever the size of the patch.
_TOGETHER = 1 << 17
_NUDGE = 1e-6


def directions(rays: int) -> np.ndarray:
    """Unit vectors ``(rays, 2)`` at angles ``(n + 1/2) 360° / rays`` from axis i towards axis j.

    The half step keeps rays off the pixels' own edges, where a location between pixels would not know its side.
    """
    angle = (np.arange(rays) + 0.5) * 2 * np.pi / rays
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ray_lengths(
    instances: torch.Tensor, at: torch.Tensor, owner: torch.Tensor, rays: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances to the edge of an object, and which of them end because no more is known.

    Args:
        instances: ``(i, j)`` numbers of objects, -1 where unknown.
        at: ``(m, 2)`` places in voxels of the patch, all at the same place within their pixel.
        owner: ``(m,)`` the number of the object that each place is in.
        rays: directions, see `directions`.

    Returns:
        ``(m, rays)`` distances in voxels, 0 where the ray starts outside of the object; and bool ``(m, rays)``: the ray
        was still in the object where the patch, or what is known of it, ended.
    """
    length = torch.zeros((len(at), rays), device=at.device)
    cut = torch.zeros((len(at), rays), dtype=torch.bool, device=at.device)
    if len(at) == 0:
        return length, cut
    padded = functional.pad(instances, (_PORTION,) * 4, value=-1)
    pixel = torch.floor(at[0] + 0.5)
    within = tuple(round(float(x), 4) for x in at[0] - pixel)
    steps = -(-(sum(instances.shape) + 2) // _PORTION) * _PORTION
    offsets, entries = _passage(rays, (within[0], within[1]), steps)
    flat_offset = torch.as_tensor(offsets[..., 0] * padded.shape[1] + offsets[..., 1], device=at.device)
    entry = torch.as_tensor(entries, device=at.device)
    corner = torch.floor(at + 0.5).long() + _PORTION
    base = corner[:, 0] * padded.shape[1] + corner[:, 1]
    flat, owner = padded.flatten(), owner.to(padded.dtype)
    for start in range(0, len(at), max(_TOGETHER // rays, 1)):
        part = slice(start, start + max(_TOGETHER // rays, 1))
        _follow(flat, base[part], owner[part], flat_offset, entry, length[part], cut[part])
    return length, cut


def _follow(
    flat: torch.Tensor,
    base: torch.Tensor,
    owner: torch.Tensor,
    flat_offset: torch.Tensor,
    entry: torch.Tensor,
    length: torch.Tensor,
    cut: torch.Tensor,
) -> None:
    """Fill ``length`` and ``cut`` ``(m, rays)`` of some places, given by their flat pixel ``base`` ``(m,)``."""
    place, ray = (one.flatten() for one in torch.meshgrid(*map(torch.arange, length.shape), indexing="ij"))
    going = torch.stack([place, ray]).to(base.device)
    for first in range(0, entry.shape[1], _PORTION):
        place, ray = going
        seen = flat.take(base[place, None] + flat_offset[ray, first : first + _PORTION])
        # The first step outside of the object; of equal values argmax gives the first.
        step = (seen != owner[place, None]).to(torch.uint8).argmax(dim=1, keepdim=True)
        last = seen.gather(1, step)[:, 0]
        ended = last != owner[place]
        place, ray = place[ended], ray[ended]
        length[place, ray] = entry[ray, step[ended, 0] + first]
        cut[place, ray] = last[ended] == -1
        going = going[:, ~ended]
        if going.shape[1] == 0:
            break


@lru_cache(maxsize=16)
def _passage(rays: int, within: tuple[float, float], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that each ray passes: offsets ``(rays, steps, 2)`` and where it enters them, ``(rays, steps)``.

    ``within`` is the start relative to its pixel's centre, each in -0.5 … 0.5.
    """
    start = np.array(within)
    way = directions(rays)
    first = np.floor(start + np.sign(way) * _NUDGE + 0.5)
    towards = np.sign(way)
    border = first + towards * 0.5  # of the first pixel, in the ray's way
    crossing = (border[:, None] + towards[:, None] * np.arange(steps)[None, :, None] - start) / way[:, None]
    both = np.concatenate([crossing[..., 0], crossing[..., 1]], axis=1)
    order = np.argsort(both, axis=1, kind="stable")[:, : steps - 1]
    entry = np.concatenate([np.zeros((rays, 1)), np.take_along_axis(both, order, axis=1)], axis=1)
    along_i = np.concatenate([np.zeros((rays, 1)), np.cumsum(order < steps, axis=1)], axis=1)
    along_j = np.arange(steps) - along_i
    offsets = np.stack([along_i, along_j], axis=-1) * towards[:, None] + first[:, None]
    return offsets.astype(np.int64), entry.astype(np.float32)
