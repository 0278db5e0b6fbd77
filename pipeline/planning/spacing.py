"""The voxel spacing of the network's grid, and the nominal size of objects that are only points."""

from pipeline.errors import DatasetError
from pipeline.planning.choice import Choice, number, numbers, significant
from pipeline.planning.fingerprint import Fingerprint
from pipeline.planning.objects import ObjectFacts

# nnU-Net's threshold: above it the coarse axis is resampled less coarsely than half of the scans have it.
_ANISOTROPIC = 3.0
_SAME = 1.05
_EQUAL, _DIGITS = 1.001, 4  # what is as near as this is not resampled; three digits might be further off
# 25th percentile of the distance to the nearest neighbour → median edge of the box. Measured where both are known: DSB
# 2018 fluorescence 1.18, tissue 1.25, brightfield 1.57; NucMM-like 3D crop of StarDist 1.4; generated H&E 1.43 and
# fluorescence 1.35. A higher percentile depends on how densely the cells lie, a lower one on overlapping ones.
_EDGE_OF_NEIGHBOUR = 1.35


def point_box(objects: ObjectFacts, unit: str, pointed: int, given: float | None = None) -> Choice | None:
    """``data.point_box``, where any scan (``pointed`` of them) is annotated by points.

    Raises:
        DatasetError: nothing says how large the objects are: no box, and never two points in one scan.
    """
    if not pointed:
        return None
    key = "data.point_box"
    if given is not None:
        return Choice(key, given, "given by --point-box")
    if objects.extent is not None:
        reason = (
            f"{pointed} scans are annotated by points: their objects get the median edge of the {objects.extent.count} "
            "boxes in others"
        )
        return Choice(key, significant(objects.extent.p50), reason)
    if objects.neighbour is None:
        raise DatasetError(
            "the annotations are points, at most one a scan, so nothing says how large the objects are: "
            f"give their usual edge in {unit} with --point-box"
        )
    near = objects.neighbour.p25
    reason = (
        f"annotated by points alone: {_EDGE_OF_NEIGHBOUR} times the 25th percentile of the distance to the nearest "
        f"neighbour, {number(near)} {unit} (on sets with known sizes this gives the median edge within 20 %)"
    )
    return Choice(key, significant(_EDGE_OF_NEIGHBOUR * near), reason)


def target_spacing(fingerprint: Fingerprint) -> Choice:
    """``preprocessing.spacing``: nnU-Net's rule, the median of each axis; none where all scans share one (2D: within
    5 %).

    Where one axis is three times as coarse as the finest, its 10th percentile is taken (nnU-Net). In-plane
    spacings that differ by less than 5 % become one, so that quarter turns are possible.
    """
    spread = fingerprint.spacing
    target = [one.p50 for one in spread]
    apart = max(target[:2]) / min(target[:2])
    alike = _SAME if fingerprint.dims == 2 else _EQUAL
    made_square = fingerprint.dims == 3 and _EQUAL < apart <= _SAME
    if all(one.largest <= one.smallest * alike for one in spread) and not made_square:
        return Choice("preprocessing.spacing", None, f"all scans have {numbers(target)} {fingerprint.unit}")
    coarse = max(range(len(target)), key=target.__getitem__)
    rule = "the median of each axis (nnU-Net)"
    if target[coarse] > _ANISOTROPIC * min(target):
        target[coarse] = max(spread[coarse].p10, min(target))
        rule += f", the 10th percentile of axis {'ijk'[coarse]}, which is over {number(_ANISOTROPIC)} times as coarse"
    if apart <= _SAME:
        target[:2] = [(target[0] * target[1]) ** 0.5] * 2
        rule += ", i and j made one" if target[0] != spread[0].p50 else ""
    found = "; ".join(f"{axis} {one.text()}" for axis, one in zip("ijk", spread, strict=False))
    value = [significant(one, _DIGITS) for one in target]
    return Choice("preprocessing.spacing", value, f"{rule}; spacings (5th, 50th, 95th percentile): {found}")
