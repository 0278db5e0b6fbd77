"""What training minimises."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.datasets.samples import Objects
from pipeline.detectors.detector import CentreBoxDetector, Maps
from pipeline.detectors.targets import draw_targets


@dataclass(frozen=True)
class Loss:
    """Sums over the batch, each divided by the number of objects (at least 1)."""

    score: torch.Tensor
    box: torch.Tensor
    label: torch.Tensor


def detection_loss(network: CentreBoxDetector, maps: Maps, batch: list[Objects], spread: float) -> Loss:
    """Focal loss of peaks, box loss and class loss at the locations that answer for an object.

    Args:
        network: for the place of its locations.
        maps: its output for the batch.
        batch: the objects of each patch; a patch without any is normal.
        spread: see `draw_targets`.
    """
    locations = network.locations(tuple(maps.score.shape[1:]), maps.score.device)
    centres = torch.stack([axis.flatten() for axis in torch.meshgrid(*locations, indexing="ij")], dim=1)
    score = box = label = maps.score.sum() * 0.0
    count = 0
    for n, objects in enumerate(batch):
        targets = draw_targets(objects, locations, spread)
        count += targets.objects
        score = score + peak_focal_loss(maps.score[n], targets.score, targets.weight)
        if len(targets.where) == 0:
            continue
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
        known = labels >= 0
        if network.class_count > 1 and known.any():
            logits = maps.classes[n].flatten(1)[:, targets.where].T[known]
            label = label + (functional.cross_entropy(logits, labels[known], reduction="none") * share[known]).sum()
    total = max(count, 1)
    return Loss(score / total, box / total, label / total)


def peak_focal_loss(logit: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Penalty-reduced focal loss (CornerNet, arXiv 1808.01244, eq. 1; exponents 2 and 4), summed."""
    probability = torch.sigmoid(logit)
    hit = target == 1.0
    found = -functional.logsigmoid(logit) * (1 - probability) ** 2
    false = -functional.logsigmoid(-logit) * probability**2 * (1 - target) ** 4
    return (torch.where(hit, found, false) * weight).sum()


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
