"""How training patches are drawn and varied."""

from collections.abc import Mapping

from pipeline.planning.choice import Choice, number
from pipeline.planning.fingerprint import Fingerprint
from pipeline.planning.intensity import Scaled
from pipeline.planning.network import Pixels

_ZOOM, _POINT_ZOOM = (0.1, 0.25), 0.15
_TINT = (0.05, 0.25)
_MOST_NOISE = 0.03
_TURN = 15.0
_ONE_SCAN = "a single scan does not tell how scans differ: the middle of what is usual"
_BENT, _MOST_BENT = 0.05, 2.0
_GAMMA = 0.3
_BLURRED = 5.0
_BLUR = 0.8
_DENSE = 3.0  # of a Poisson count of mean 3, one in twenty is 0


def object_share(objects_in_patch: float) -> Choice:
    """``sampling.object_share``, by how many objects a patch drawn anywhere would hold."""
    if objects_in_patch >= _DENSE:
        share, why = 0.8, "objects are nearly everywhere"
    else:
        share, why = 0.66, "one patch in three shows what is no object (nnU-Net oversamples objects too)"
    return Choice(
        "sampling.object_share", share, f"a patch drawn anywhere holds {number(objects_in_patch)} objects: {why}"
    )


def augmentation(
    fingerprint: Fingerprint, pixels: Pixels, left: Scaled, turns: bool, scaling: Mapping[str, float | str]
) -> tuple[Choice, ...]:
    """The keys of ``augmentation``; ``left`` is what ``scaling`` leaves of the differences between scans."""
    return (
        Choice("augmentation.flip", list(range(fingerprint.dims)), _flip_reason(fingerprint)),
        Choice("augmentation.rotate90", turns, _turn_reason(fingerprint, turns)),
        _rotation(fingerprint, turns),
        _zoom(fingerprint),
        _elastic(fingerprint, pixels),
        _stain(fingerprint, left, scaling),
        _gamma(scaling),
        _strength("contrast", left.contrast, "contrast (standard deviation) of a scan varies by", fingerprint),
        _strength("brightness", left.mean, "mean of a scan varies by", fingerprint),
        _noise(left),
        _blur(pixels),
    )


def _flip_reason(fingerprint: Fingerprint) -> str:
    if fingerprint.dims == 2:
        return "a field of view has no up and no left"
    return "lesions look alike on both sides, and from head or foot (nnU-Net mirrors all axes)"


def _turn_reason(fingerprint: Fingerprint, turns: bool) -> str:
    if not turns:
        return "i and j have different spacings: a quarter turn would deform"
    if fingerprint.dims == 2:
        return "a field of view has no up"
    return (
        f"in the i, j plane, whose spacings are equal; not out of it: the largest spacing is "
        f"{number(fingerprint.anisotropy)} times the smallest"
    )


def _rotation(fingerprint: Fingerprint, turns: bool) -> Choice:
    key = "augmentation.rotation"
    if not turns:
        return Choice(key, 0.0, "i and j have different spacings: a turn would deform")
    if fingerprint.dims == 2:
        return Choice(key, _TURN, "beside flips and quarter turns: a field of view has no up")
    return Choice(key, _TURN, "in the i, j plane: heads and bodies lie tilted by a few degrees")


def _elastic(fingerprint: Fingerprint, pixels: Pixels) -> Choice:
    key, large = "augmentation.elastic", min(pixels.large)
    if fingerprint.dims == 3:
        return Choice(key, 0.0, "volumes: it costs time and nnU-Net gained nothing by it")
    value = round(min(_BENT * large, _MOST_BENT), 1)
    reason = f"cells are soft: {_BENT} of the largest objects (95th percentile {number(large)} voxels)"
    return Choice(key, value, f"{reason}, at most {_MOST_BENT}")


def _stain(fingerprint: Fingerprint, left: Scaled, scaling: Mapping[str, float | str]) -> Choice:
    key = "augmentation.stain"
    inside, outside = fingerprint.intensity.inside[1], fingerprint.intensity.outside[1]
    from_zero = scaling["kind"] == "window" and scaling["lower"] == 0
    if fingerprint.dims == 3 or fingerprint.channels != 3 or not from_zero or inside >= outside:
        return Choice(key, 0.0, "for stained tissue: 8-bit colour, with objects darker than what is around them")
    value = round(min(max(left.contrast, _TINT[0]), _TINT[1]), 2)
    reason = (
        f"colour with objects darker ({number(inside)}) than the rest ({number(outside)}): a stain, that varies by "
        f"{number(left.contrast)} between scans; kept within {_TINT[0]} and {_TINT[1]}"
    )
    return Choice(key, value, reason)


def _gamma(scaling: Mapping[str, float | str]) -> Choice:
    if scaling["kind"] == "window":
        return Choice("augmentation.gamma", 0.0, "values have a fixed meaning, which a power would change")
    return Choice("augmentation.gamma", _GAMMA, "no fixed unit, so that scans differ by their curve too (nnU-Net)")


def _zoom(fingerprint: Fingerprint) -> Choice:
    objects = fingerprint.objects
    if objects.from_points:
        reason = "sizes are not annotated: what was tuned on CRCHistoPhenotypes"
        return Choice("augmentation.scale", _POINT_ZOOM, reason)
    if fingerprint.scans == 1:
        return Choice("augmentation.scale", round(sum(_ZOOM) / 2, 2), _ONE_SCAN)
    spread = objects.scan_size_spread
    value = round(min(max(spread, _ZOOM[0]), _ZOOM[1]), 2)
    reason = (
        f"the usual object differs in size between scans by {number(100 * spread)} % (standard deviation), "
        f"kept within {number(100 * _ZOOM[0])} and {number(100 * _ZOOM[1])} %"
    )
    return Choice("augmentation.scale", value, reason)


def _strength(name: str, found: float, what: str, fingerprint: Fingerprint) -> Choice:
    if fingerprint.scans == 1:
        return Choice(f"augmentation.{name}", round(sum(_TINT) / 2, 2), _ONE_SCAN)
    value = round(min(max(found, _TINT[0]), _TINT[1]), 2)
    each = ", each channel apart (stain)" if fingerprint.channels > 1 else ""
    unit = "of itself" if name == "contrast" else "of the range -1 … 1"
    reason = f"scaled, the {what} {number(found)} {unit} between scans{each}; kept within {_TINT[0]} and {_TINT[1]}"
    return Choice(f"augmentation.{name}", value, reason)


def _noise(left: Scaled) -> Choice:
    value = round(min(left.grain, _MOST_NOISE), 3)
    reason = f"as much as the scans' own grain, {number(left.grain)} of the scaled range, at most {_MOST_NOISE}"
    return Choice("augmentation.noise", value, reason)


def _blur(pixels: Pixels) -> Choice:
    small = min(pixels.small)
    if small < _BLURRED:
        reason = f"the smallest objects have {number(small)} voxels along an axis: blur would hide them"
        return Choice("augmentation.blur", 0.0, reason)
    reason = f"the smallest objects have {number(small)} voxels along each axis: focus may vary"
    return Choice("augmentation.blur", _BLUR, reason)
