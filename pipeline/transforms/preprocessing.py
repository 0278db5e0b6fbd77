"""A volume as acquired → the network's input, by MONAI, and the grid that it then lies on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRange, SpatialResample
from monai.transforms.utils_pytorch_numpy_unification import percentile

from pipeline.config.transforms import Percentiles, PreprocessingConfig, Window
from pipeline.errors import DatasetError
from pipeline.geometry import Grid
from pipeline.transforms.along import Along
from pipeline.types import Image
from pipeline.volumes.arrays import Voxels

Region = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Network input: ``image`` is float32 ``(channel, i, j[, k])`` in -1 … 1, on ``grid``."""

    image: torch.Tensor
    grid: Grid


def prepare(
    image: Image | Voxels, grid: Grid, config: PreprocessingConfig, device: torch.device = torch.device("cpu")
) -> Prepared:
    """Reorient (3D: array axes nearest to R, A, S), resample, set the channels and scale the intensity.

    The resampled grid has the outer edges of the original, the last ones within half of its voxels; what it samples
    beyond the outermost voxel centres repeats the border.

    Args:
        image: ``(channel, i, j[, k])`` as stored, any number type.
        grid: where the image lies.
        config: how to prepare.
        device: where it is done, and where the result lies.
    """
    target = network_grid(grid, config)
    if grid.dims == 2:
        steps = along(grid, target)
        return Prepared(prepare_region(needed(image, steps), steps, config, device), target)
    tensor = _set_channels(_tensor(image, device), config.channels)
    if target is not grid:
        tensor = _resample(tensor, grid, target)
    return Prepared(_plain(_scale(tensor, config)), target)


def prepare_region(
    image: Image | Voxels, steps: Sequence[Along], config: PreprocessingConfig, device: torch.device
) -> torch.Tensor:
    """A region of a picture: the same to the byte as in the whole, where the intensity is a window.

    Args:
        image: ``(channel, i, j)`` as stored, what is `needed`.
        steps: for each axis, by `along`.
        config: how to prepare.
        device: where it is done, and where the result lies.
    """
    tensor = _set_channels(_tensor(image, device), config.channels)
    for axis, step in enumerate(steps, start=1):
        tensor = step.of_source(tensor, axis)
    return _plain(_scale(tensor, config))


def along(grid: Grid, target: Grid, region: Region | None = None) -> tuple[Along, ...]:
    """How a ``region`` (slices) of a 2D ``target``, by default all of it, is made from ``grid``, axis by axis."""
    wanted = region or tuple(slice(0, n) for n in target.shape)
    if target is grid:
        return tuple(Along(one) for one in wanted)
    ratios = target.spacing / grid.spacing
    return tuple(Along.of(n, float(ratio), one) for n, ratio, one in zip(grid.shape, ratios, wanted, strict=True))


def needed(image: Image | Voxels, steps: Sequence[Along]) -> np.ndarray:
    """What ``steps`` take of a picture ``(channel, i, j)``; no more of it is read."""
    return np.asarray(image[(slice(None), *(step.source for step in steps))])


def scaled(values: np.ndarray, config: PreprocessingConfig) -> torch.Tensor:
    """Stored ``values`` ``(channel, n)`` as the network is given them, where the intensity is a window."""
    return _scale(_set_channels(torch.from_numpy(values.astype(np.float32)), config.channels), config)


def stretch(values: np.ndarray | torch.Tensor, intensity: Percentiles) -> Window:
    """The range between percentiles of an image's ``values``.

    Where nearly all are one value, as in a field with hardly any signal, both percentiles are that: the range is then
    between the extremes. A constant image has none, and becomes 0, the middle.
    """
    asked = [intensity.lower, intensity.upper]
    if isinstance(values, torch.Tensor) and values.device.type != "cpu":
        lower, upper = torch.as_tensor(percentile(values, asked)).tolist()
    else:  # NumPy selects where torch sorts: 2 ms for 500 x 500 pixels instead of 28
        lower, upper = np.percentile(np.asarray(values), asked).tolist()
    if upper <= lower:
        lower, upper = float(values.min()), float(values.max())
    return Window(lower=lower, upper=upper) if upper > lower else Window(lower=lower - 1, upper=lower + 1)


def window_of(values: np.ndarray, intensity: Percentiles, channels: int) -> Window:
    """As `stretch`, of stored ``values`` ``(channel, …)`` as the network's ``channels`` have them."""
    return stretch(values.mean(axis=0, dtype=np.float32) if channels == 1 else values, intensity)


def network_grid(grid: Grid, config: PreprocessingConfig) -> Grid:
    """The grid of the network's input; ``grid`` itself where nothing changes."""
    oriented = _nearest_to_ras(grid) if grid.dims == 3 else grid
    if config.spacing is None or np.allclose(oriented.spacing, config.spacing, rtol=1e-3):
        return oriented
    return oriented.resampled(config.spacing)


def cache_key(volume_id: str, config: PreprocessingConfig) -> str:
    """Names prepared input by its source and every setting that shapes it."""
    settings = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(f"prepared-2:{volume_id}:{settings}".encode()).hexdigest()[:32]


def _nearest_to_ras(grid: Grid) -> Grid:
    """The same voxels with axes permuted and flipped so that each runs nearest to R, A, S."""
    orientation = grid.orientation()
    if np.array_equal(orientation, [[0, 1], [1, 1], [2, 1]]):
        return grid
    matrix = grid.affine.copy()
    columns, origin, shape = np.empty((3, 3)), matrix[:3, 3].copy(), [0, 0, 0]
    for axis, (world_axis, direction) in enumerate(orientation):
        place = int(world_axis)
        step = matrix[:3, axis]
        if direction < 0:
            origin += step * (grid.shape[axis] - 1)
        columns[:, place] = step * direction
        shape[place] = grid.shape[axis]
    matrix[:3, :3], matrix[:3, 3] = columns, origin
    return Grid(tuple(shape), matrix, grid.unit)


def _tensor(image: Image | Voxels, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.array(image, dtype=np.float32)).to(device)  # a copy: stored volumes are read-only maps


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    # MONAI's tensors carry their history along, at a cost for each thing done to them.
    return tensor.contiguous().as_subclass(torch.Tensor)


def _resample(tensor: torch.Tensor, source: Grid, target: Grid) -> torch.Tensor:
    resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=True, dtype=np.float32)
    moved = resample(
        MetaTensor(tensor, affine=torch.as_tensor(source.affine.copy())),
        dst_affine=torch.as_tensor(target.affine.copy()),
        spatial_size=target.shape,
    )
    return torch.as_tensor(moved)


def _set_channels(tensor: torch.Tensor, channels: int) -> torch.Tensor:
    if tensor.shape[0] == channels:
        return tensor
    if channels == 1:
        return tensor.mean(dim=0, keepdim=True)
    if tensor.shape[0] == 1:
        return tensor.expand(channels, *tensor.shape[1:])
    raise DatasetError(f"preprocessing.channels is {channels} and the image has {tensor.shape[0]} channels")


def _scale(tensor: torch.Tensor, config: PreprocessingConfig) -> torch.Tensor:
    intensity = config.intensity
    if isinstance(intensity, Window):
        return torch.as_tensor(ScaleIntensityRange(intensity.lower, intensity.upper, -1.0, 1.0, clip=True)(tensor))
    window = stretch(tensor, intensity)
    return torch.as_tensor(ScaleIntensityRange(window.lower, window.upper, -1.0, 1.0, clip=True)(tensor))
