"""What training of anchors minimises: MONAI's parts, each patch matched on its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.apps.detection.utils.hard_negative_sampler import HardNegativeSampler
from monai.losses import BoxGIoULoss
from torch.nn import functional

from pipeline.config.detector import Focal, HardNegatives
from pipeline.datasets.samples import Objects
from pipeline.detectors.anchors import IGNORED, Matches, logging_as_it_is

# Of the smooth L1 loss; MONAI's and Torchvision's.
_BETA = 1 / 9

# Logits and targets ``(anchors, classes)``, and the owner of each anchor → a sum, and how many it is of.
ScoreLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, int]]


@dataclass(frozen=True)
class Parts:
    """Of one patch: a sum, and how many it is of."""

    score: torch.Tensor
    score_count: int
    box: torch.Tensor
    box_count: int


def patch_loss(
    logits: torch.Tensor,
    deltas: torch.Tensor,
    anchors: torch.Tensor,
    matches: Matches,
    labels: torch.Tensor,
    score_loss: ScoreLoss,
    box_loss: str,
) -> Parts:
    """Loss of the scores of anchors that are asked, and of the boxes of those with an object.

    Args:
        logits: ``(anchors, classes)``.
        deltas: ``(anchors, 2 d)`` boxes relative to the anchors, as MONAI encodes them.
        anchors: ``(anchors, 2 d)``.
        matches: of this patch.
        labels: ``(objects,)``; of an object without a class (-1) nothing is asked about the score unless there is one
            class only.
        score_loss: see `score_loss_of`.
        box_loss: ``smooth_l1`` of the relative boxes, or ``giou``.
    """
    found = torch.nonzero(matches.owner >= 0).flatten()
    owner = matches.owner[found]
    label = labels[owner].clamp(min=0) if logits.shape[1] == 1 else labels[owner]
    target = torch.zeros_like(logits)
    target[found[label >= 0], label[label >= 0]] = 1.0
    asked = matches.owner.clone()
    asked[found[label < 0]] = IGNORED
    score, count = score_loss(logits, target, asked)
    box = _box_loss(deltas[found], anchors[found], matches.boxes[owner], box_loss)
    return Parts(score, count, box, len(found))


def score_loss_of(config: HardNegatives | Focal) -> ScoreLoss:
    return _FocalOfAll(config) if isinstance(config, Focal) else _EntropyOfSome(config)


@dataclass(frozen=True)
class _FocalOfAll:
    """The paper's equation 5, summed. MONAI's `FocalLoss` takes the mean of a table also where it is told to sum."""

    config: Focal

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, asked: torch.Tensor) -> tuple[torch.Tensor, int]:
        chosen = asked != IGNORED
        logits, target = logits[chosen], target[chosen]
        right = torch.sigmoid(torch.where(target > 0, logits, -logits))
        weight = torch.where(target > 0, self.config.alpha, 1 - self.config.alpha) * (1 - right) ** self.config.gamma
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (weight * entropy).sum(), int((asked >= 0).sum())


class _EntropyOfSome:
    def __init__(self, config: HardNegatives) -> None:
        with logging_as_it_is():
            self._sampler = HardNegativeSampler(
                config.anchors, config.positive_share, config.least_negatives, config.pool
            )

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, asked: torch.Tensor) -> tuple[torch.Tensor, int]:
        positive, negative = self._sampler([asked + 1], logits.detach().amax(dim=1))
        chosen = (positive[0] + negative[0]).bool()
        entropy = functional.binary_cross_entropy_with_logits(logits[chosen], target[chosen], reduction="sum")
        return entropy, target[chosen].numel()


@contextmanager
def drawn_alike(batch: list[Objects]) -> Iterator[None]:
    """MONAI's sampler draws from PyTorch's generator: from here on by the batch alone, so that training that was
    resumed draws what it would have drawn."""
    seed = sum(float(edges.double().abs().sum()) for objects in batch for edges in (objects.lower, objects.upper))
    device = batch[0].lower.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed * 1000) % 2**32)
        yield


def _box_loss(deltas: torch.Tensor, anchors: torch.Tensor, boxes: torch.Tensor, kind: str) -> torch.Tensor:
    """Summed over objects; smooth L1 is the mean over an anchor's numbers."""
    if not len(deltas):
        return deltas.sum()
    coder = BoxCoder((1.0,) * boxes.shape[1])
    if kind == "giou":
        return BoxGIoULoss(reduction="sum")(coder.decode_single(deltas, anchors), boxes)
    wanted = coder.encode_single(boxes, anchors)
    return functional.smooth_l1_loss(deltas, wanted, beta=_BETA, reduction="none").mean(dim=1).sum()
