"""What training minimises."""

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from pipeline.datasets.samples import Objects
from pipeline.detectors.detector import Count, Loss, at_least_one
from pipeline.detectors.grades import Answers, grade_loss
from pipeline.detectors.maps import Maps
from pipeline.detectors.shapes import StarShape
from pipeline.detectors.star_targets import draw_star_targets
from pipeline.detectors.targets import draw_targets

if TYPE_CHECKING:
    from pipeline.detectors.centre import CentreDetector

# Of a sum of rays, in voxels: keeps objects of one pixel finite.
_LEAST = 0.1


def detection_loss(
    network: "CentreDetector",
    maps: Maps,
    batch: list[Objects],
    class_weights: torch.Tensor | None = None,
    divisor: Count = at_least_one,
) -> Loss:
    """Score loss everywhere; outline, class and grade loss at the locations that answer for an object.

    Outline and class losses are means over objects, the grade loss over those whose grade is known. The score loss is
    summed and divided by the number of objects for boxes, and a mean over locations for stars.

    Args:
        network: for the place of its locations, its kind of outline and of score target.
        maps: its output for the batch.
        batch: the objects of each patch; a patch without any is normal.
        class_weights: ``(classes,)`` of the class loss; `None`: 1 each.
        divisor: given the objects (and, for stars, the locations) counted in this batch.
    """
    if isinstance(network.shape, StarShape):
        return _star_loss(network, network.shape, maps, batch, class_weights, divisor)
    return _box_loss(network, maps, batch, class_weights, divisor)


def _box_loss(
    network: "CentreDetector",
    maps: Maps,
    batch: list[Objects],
    class_weights: torch.Tensor | None,
    divisor: Count,
) -> Loss:
    locations = network.locations(tuple(maps.score.shape[1:]), maps.score.device)
    centres = torch.stack([axis.flatten() for axis in torch.meshgrid(*locations, indexing="ij")], dim=1)
    score_loss = soft_focal_loss if network.soft else peak_focal_loss
    score = box = label = maps.score.sum() * 0.0
    count, answers = 0, {}
    for n, objects in enumerate(batch):
        targets = draw_targets(objects, locations, network.spread)
        count += targets.objects
        score = score + score_loss(maps.score[n], targets.score, targets.weight)
        if len(targets.where) == 0:
            continue
        answers[n] = Answers(targets.where, targets.owner)
        share = 1.0 / torch.bincount(targets.owner, minlength=len(objects.labels))[targets.owner]
        at = maps.distances[n].flatten(1)[:, targets.where].T
        wanted = torch.cat(
            [
                centres[targets.where] - objects.lower[targets.owner],
                objects.upper[targets.owner] - centres[targets.where],
            ],
            dim=1,
        )
        box = box + (box_loss(at, wanted) * share).sum()
        labels = objects.labels[targets.owner]
        label = label + _label_loss(network, maps.classes[n], targets.where, labels, share, class_weights)
    total = divisor(torch.tensor(float(count), device=score.device))
    return Loss(score / total, box / total, label / total, grade_loss(maps.grade, batch, answers, divisor))


def _star_loss(
    network: "CentreDetector",
    shape: StarShape,
    maps: Maps,
    batch: list[Objects],
    class_weights: torch.Tensor | None,
    divisor: Count,
) -> Loss:
    locations = network.locations(tuple(maps.score.shape[1:]), maps.score.device)
    score = box = label = maps.score.sum() * 0.0
    asked = count = score.detach()
    answers = {}
    for n, objects in enumerate(batch):
        targets = draw_star_targets(objects, locations, shape.rays)
        asked = asked + targets.weight.sum()
        count = count + targets.share.sum()  # the shares of one object are 1 together
        score = score + centrality_loss(maps.score[n], targets.score, targets.weight)
        answers[n] = Answers(targets.where, targets.owner)
        at = maps.distances[n].flatten(1)[:, targets.where].T
        box = box + (ray_loss(at, targets.lengths, targets.cut) * targets.share).sum()
        labels = objects.labels[targets.owner]
        label = label + _label_loss(network, maps.classes[n], targets.where, labels, targets.share, class_weights)
    count = divisor(count)
    grade = grade_loss(maps.grade, batch, answers, divisor)
    return Loss(score / divisor(asked), box / count, label / count, grade)


def _label_loss(
    network: "CentreDetector",
    classes: torch.Tensor,
    where: torch.Tensor,
    labels: torch.Tensor,
    share: torch.Tensor,
    class_weights: torch.Tensor | None,
) -> torch.Tensor:
    """Cross-entropy at the locations whose object has a class, summed by share and weight."""
    known = labels >= 0
    if network.class_count == 1 or not known.any():
        return classes.sum() * 0.0
    logits = classes.flatten(1)[:, where].T[known]
    each = functional.cross_entropy(logits, labels[known], weight=class_weights, reduction="none")
    return (each * share[known]).sum()


def centrality_loss(logit: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Four times the quality focal loss (see `soft_focal_loss`) with exponent 1, summed.

    Against cross-entropy (exponent 0): after 600 steps on DSB 2018 (fluorescence, validation) F1 of masks at an IoU of
    0.5 was 0.825 instead of 0.803.
    """
    miss = (torch.sigmoid(logit) - target).abs()
    return 4.0 * (functional.binary_cross_entropy_with_logits(logit, target, reduction="none") * miss * weight).sum()


def ray_loss(distances: torch.Tensor, wanted: torch.Tensor, cut: torch.Tensor) -> torch.Tensor:
    """Minus the logarithm of the rays' overlap, sum of the shorter over sum of the longer (PolarMask, arXiv
    1909.13325, eq. 4): ``(m,)``.

    All are ``(m, rays)``. It depends on shape alone, not on size. Along rays that are ``cut`` the object reaches at
    least as far as ``wanted``: more costs nothing.
    """
    reached = torch.where(cut, torch.minimum(distances, wanted), distances)
    shorter, longer = torch.minimum(reached, wanted).sum(dim=1), torch.maximum(reached, wanted).sum(dim=1)
    return torch.log((longer + _LEAST) / (shorter + _LEAST))


def peak_focal_loss(logit: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Penalty-reduced focal loss (CornerNet, arXiv 1808.01244, eq. 1; exponents 2 and 4), summed."""
    probability = torch.sigmoid(logit)
    hit = target == 1.0
    found = -functional.logsigmoid(logit) * (1 - probability) ** 2
    false = -functional.logsigmoid(-logit) * probability**2 * (1 - target) ** 4
    return (torch.where(hit, found, false) * weight).sum()


def soft_focal_loss(logit: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Half the quality focal loss (Generalized Focal Loss, arXiv 2006.04388, eq. 4; exponent 2), summed.

    Every location of a peak teaches, where `peak_focal_loss` has one an object: cells of one size (CRC, validation,
    five minutes on 2 cores) are found with an F1 of 0.818 instead of 0.805. A large object has more locations and
    counts for more: lung nodules of 3 to 30 mm (LIDC, validation, as many steps) fall from a CPM of 0.935 to 0.815.
    """
    miss = (torch.sigmoid(logit) - target).abs()
    cost = functional.binary_cross_entropy_with_logits(logit, target, reduction="none") * miss**2
    return 0.5 * (cost * weight).sum()


def box_loss(distances: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - IoU of two boxes that share a location, plus their side distances relative to the size: ``(m,)``.

    Both are ``(m, 2 d)``: distances to the lower sides, then to the upper sides, which may be negative where
    the location lies beside a small object.
    """
    dims = wanted.shape[1] // 2
    size = (wanted[:, :dims] + wanted[:, dims:]).clamp(min=1e-3)
    relative = functional.smooth_l1_loss(
        distances / size.repeat(1, 2), wanted / size.repeat(1, 2), beta=0.1, reduction="none"
    ).mean(dim=1)
    shared_sides = torch.minimum(distances, wanted)
    shared = (shared_sides[:, :dims] + shared_sides[:, dims:]).clamp(min=0).prod(dim=1)
    own = (distances[:, :dims] + distances[:, dims:]).clamp(min=1e-3).prod(dim=1)
    iou = shared / (own + size.prod(dim=1) - shared).clamp(min=1e-6)
    return 1.0 - iou + relative
