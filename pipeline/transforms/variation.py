"""What is varied in one training patch: drawn from a seed, before anything is applied."""

from dataclasses import dataclass

import numpy as np

from pipeline.config.transforms import AugmentationConfig

# The share of patches that each of these steps touches; the others are drawn for every patch.
_ELASTIC, _GAMMA, _BLUR, _NOISE = 0.5, 0.3, 0.2, 0.3
_DYES = 2


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a patch come from.

    ``flips``: array axes that are turned around. ``quarter_turns`` and ``rotation_degrees``: in the i, j plane, the
    latter as it is in the world, also where i and j are sampled unevenly. ``zoom``: source voxels a patch voxel, an
    axis; above 1, objects shrink. ``elastic``: standard deviation of the displacement, in voxels of the finest axis; 0
    is none. ``elastic_seed``: which displacement.
    """

    flips: tuple[bool, ...]
    quarter_turns: int
    rotation_degrees: float
    zoom: tuple[float, ...]
    elastic: float
    elastic_seed: int

    @property
    def turns_boxes(self) -> bool:
        """Whether a box along the axes of the source is none along those of the patch."""
        return self.rotation_degrees != 0.0 or self.elastic > 0.0


@dataclass(frozen=True)
class Intensity:
    """How the values of a patch change, in the order of the fields.

    ``dye_gain`` and ``dye_shift``: of haematoxylin and eosin (`pipeline.transforms.stain`), `None` without. ``gain``
    and ``shift``: one a channel. ``blur``: standard deviations in voxels, one an axis; 0 is none. ``noise``: standard
    deviation; 0 is none. ``noise_seed``: which noise.
    """

    dye_gain: tuple[float, ...] | None
    dye_shift: tuple[float, ...] | None
    gamma: float
    gain: tuple[float, ...]
    shift: tuple[float, ...]
    blur: tuple[float, ...]
    noise: float
    noise_seed: int


@dataclass(frozen=True)
class Variation:
    """One patch's variation: everything random about it but the place."""

    geometry: Geometry
    intensity: Intensity


def draw_variation(config: AugmentationConfig, dims: int, channels: int, seed: int) -> Variation:
    """The variation that ``seed`` names. Switching one kind on leaves what is drawn of the others as it was."""
    rng = np.random.default_rng(seed)
    chance = rng.random(4 + dims)
    unit = rng.uniform(-1.0, 1.0, (2 + 2 * dims + 2 * _DYES,))
    per_channel = rng.uniform(-1.0, 1.0, (2, channels))
    quarter, elastic_seed, noise_seed = (int(one) for one in rng.integers((4, 2**32, 2**32)))
    strength = rng.random(1 + dims)
    geometry = Geometry(
        tuple(axis in config.flip and bool(chance[4 + axis] < 0.5) for axis in range(dims)),
        quarter if config.rotate90 else 0,
        float(unit[0] * config.rotation),
        tuple((1.0 + config.scale * unit[2 : 2 + dims]).tolist()),
        config.elastic if chance[0] < _ELASTIC else 0.0,
        elastic_seed,
    )
    dyes = unit[2 + dims : 2 + dims + 2 * _DYES].reshape(2, _DYES) * config.stain
    intensity = Intensity(
        tuple((1.0 + dyes[0]).tolist()) if config.stain else None,
        tuple(dyes[1].tolist()) if config.stain else None,
        float((1.0 + config.gamma) ** unit[1]) if chance[1] < _GAMMA else 1.0,
        tuple((1.0 + config.contrast * per_channel[0]).tolist()),
        tuple((config.brightness * per_channel[1]).tolist()),
        tuple((config.blur * strength[1:]).tolist()) if chance[2] < _BLUR else (0.0,) * dims,
        float(config.noise * strength[0]) if chance[3] < _NOISE else 0.0,
        noise_seed,
    )
    return Variation(geometry, intensity)
