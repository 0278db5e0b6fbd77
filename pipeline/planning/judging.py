"""Detection in large scans, suppression of doubles, and what counts as found."""

from collections.abc import Sequence
from math import prod

from pipeline.planning.choice import Choice, number, numbers, significant
from pipeline.planning.device import Device
from pipeline.planning.fingerprint import Fingerprint
from pipeline.planning.network import Pixels, has_outlines

_WINDOW = {("cpu", 2): 512, ("cpu", 3): 96, ("cuda", 2): 1024, ("cuda", 3): 160}
_OVERLAPS = (0.1, 0.5)
_IOU = (0.2, 0.6)
_ROOM = 0.1
_FEW, _FAR_APART = 20, 0.05
_FOUND_WITHIN = 0.45  # of the nominal edge; 6 px of 14 on CRCHistoPhenotypes, where 6 px is the published rule
_NOT_NEARER = 0.8
_HALF = 0.5
_CONFLUENT = 8
_VIEWS = "flips"


def sparse(fingerprint: Fingerprint) -> bool:
    """Whether objects are few or far apart: in 3D, fewer than 20 a scan or less than a twentieth of it."""
    objects = fingerprint.objects
    return fingerprint.dims == 3 and (_few(fingerprint) or objects.share_of_volume < _FAR_APART)


def _in_or_over(fingerprint: Fingerprint) -> Choice:
    """LUNA16's rule, unless the largest object's radius would hold many others."""
    extent = fingerprint.objects.extent
    if extent is not None and extent.largest > _CONFLUENT * extent.p50:
        reason = (
            f"the largest object measures {number(extent.largest)} {fingerprint.unit}, the usual one "
            f"{number(extent.p50)}: its radius would hold many others, so boxes must overlap (nnDetection's 0.1)"
        )
        return Choice("evaluation.match", {"kind": "box_overlap", "iou": 0.1}, reason)
    return Choice("evaluation.match", {"kind": "centre_in_lesion"}, "separate objects in 3D: LUNA16's rule")


def _few(fingerprint: Fingerprint) -> bool:
    return fingerprint.objects.per_scan.p50 < _FEW


def window(
    fingerprint: Fingerprint, pixels: Pixels, patch: Sequence[int], coarsest: Sequence[int], device: Device
) -> list[Choice]:
    """``inference.window`` and ``inference.overlap``."""
    finest = min(pixels.spacing)
    usual = _WINDOW[device.kind, fingerprint.dims]
    edges = []
    for axis, step in enumerate(coarsest):
        wanted = max(usual * finest / pixels.spacing[axis], 2 * pixels.largest[axis], patch[axis])
        edges.append(-(-round(wanted) // step) * step)
    share = max(size / edge for size, edge in zip(pixels.largest, edges, strict=True))
    overlap = min(max(-(-share // 0.05) * 0.05, _OVERLAPS[0]), _OVERLAPS[1])
    covered = (
        f"the overlap of {number(100 * overlap)} % of the window holds objects up to their 99th percentile, "
        f"{numbers(pixels.largest)} voxels"
    )
    extent = fingerprint.objects.extent
    if extent is not None:
        covered += f" (the largest edge of all is {number(extent.largest)} {fingerprint.unit})"
    memory = f"{prod(edges)} voxels at once, {number(prod(edges) / prod(patch))} patches, without a backward pass"
    return [
        Choice(
            "inference.window", edges, f"{memory}, for a {device.text()}; no smaller than twice the largest objects"
        ),
        Choice("inference.overlap", round(overlap, 2), covered),
    ]


def views(fingerprint: Fingerprint) -> Choice:
    """``inference.views``."""
    count = view_count(fingerprint)
    reason = f"the mean of {count} flipped views finds more; detection without (none) takes one {count}th of the time"
    return Choice("inference.views", _VIEWS, reason)


def view_count(fingerprint: Fingerprint) -> int:
    """How often the network sees each window: training flips all axes."""
    return int(2**fingerprint.dims)


def suppression(fingerprint: Fingerprint, nominal: float | None) -> list[Choice]:
    """``inference.score_floor``, ``suppression_iou``, ``suppression_distance``."""
    objects, unit = fingerprint.objects, fingerprint.unit
    near = objects.neighbour
    if sparse(fingerprint):
        floor = Choice(
            "inference.score_floor",
            0.02,
            "objects are few or far apart: sensitivity at several false positives a scan needs low scores too",
        )
    else:
        floor = Choice("inference.score_floor", 0.05, "objects are many: lower scores would only cost time")
    if objects.from_points:
        assert nominal is not None
        limits = [_FOUND_WITHIN * nominal] + ([] if near is None else [_NOT_NEARER * near.p5])
        told = (
            ""
            if near is None
            else f" or {_NOT_NEARER} of the 5th percentile between neighbours ({number(near.p5)} {unit})"
        )
        reason = f"the lesser of {_FOUND_WITHIN} of the nominal edge{told}: what is nearer is the same object"
        return [
            floor,
            Choice("inference.suppression_iou", 1.0, "boxes are nominal, so distance decides"),
            Choice("inference.suppression_distance", significant(min(limits)), reason),
        ]
    iou = min(max(objects.overlap + _ROOM, _IOU[0]), _IOU[1])
    iou = round(round(iou / 0.05) * 0.05, 2)
    reason = (
        f"1 % of annotated boxes share more than {number(objects.overlap)} with another; {_ROOM} more, within "
        f"{_IOU[0]} and {_IOU[1]}"
    )
    if near is None or sparse(fingerprint):
        apart = Choice(
            "inference.suppression_distance", 0.0, "objects are rarely neighbours: the overlap decides alone"
        )
    else:
        apart = Choice(
            "inference.suppression_distance",
            float(number(_HALF * near.p5)),
            f"half the 5th percentile of the distance between neighbours, {number(near.p5)} {unit}",
        )
    return [floor, Choice("inference.suppression_iou", iou, reason), apart]


def judged_by(fingerprint: Fingerprint, nominal: float | None) -> list[Choice]:
    """``evaluation.match``, ``primary``, ``overlap_ious``."""
    objects, unit = fingerprint.objects, fingerprint.unit
    median = f"a median of {number(objects.per_scan.p50)} objects a scan"
    if "points" in fingerprint.annotated_by:
        assert nominal is not None
        distance = significant(_FOUND_WITHIN * nominal)
        return [
            Choice(
                "evaluation.match",
                {"kind": "centre_distance", "distance": distance},
                f"annotations are points: a centre within {_FOUND_WITHIN} of the nominal edge ({unit})",
            ),
            Choice("evaluation.primary", "f1", f"{median}: hits, misses and false ones weigh alike"),
        ]
    if sparse(fingerprint):
        return [
            _in_or_over(fingerprint),
            Choice("evaluation.primary", "cpm", f"{median}: sensitivity over false positives a scan (LUNA16)")
            if _few(fingerprint)
            else Choice("evaluation.primary", "f1", f"{median}: hits, misses and false ones weigh alike"),
            Choice("evaluation.overlap_ious", [0.1, 0.25], "small objects in 3D overlap less (nnDetection uses 0.1)"),
        ]
    if has_outlines(fingerprint):
        return [
            Choice(
                "evaluation.match", {"kind": "mask_overlap", "iou": 0.5}, "annotations are masks and outlines are found"
            ),
            Choice("evaluation.primary", "f1", f"{median}: hits, misses and false ones weigh alike"),
            Choice("evaluation.overlap_ious", [0.5, 0.6, 0.7, 0.8, 0.9], "the overlaps that StarDist's paper gives"),
        ]
    form = "masks, whose boxes" if "masks" in fingerprint.annotated_by else "boxes, which"
    return [
        Choice("evaluation.match", {"kind": "box_overlap", "iou": 0.5}, f"annotations are {form} can be compared"),
        Choice("evaluation.primary", "f1", f"{median}: hits, misses and false ones weigh alike"),
        Choice("evaluation.overlap_ious", [0.5, 0.75], "COCO's two usual overlaps"),
    ]
