"""Start a network from another one's weights: other classes, channels and outlines are allowed."""

from dataclasses import dataclass

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.centre import CentreDetector
from pipeline.detectors.detector import Detector
from pipeline.errors import ModelError

_LEAST_BACKBONE = 0.5
_HEAD = "out."
_SCORE_BY_CLASS = "score_head.cls_logits."  # of a RetinaNet: a row for each anchor and class


@dataclass(frozen=True)
class Transferred:
    """``share`` of the target's numbers that came from the source.

    ``anew`` are layers that keep their first weights, ``adapted`` those whose input channels were repeated or summed,
    ``classes`` those whose rows of the head were copied.
    """

    share: float
    anew: tuple[str, ...]
    adapted: tuple[str, ...]
    classes: tuple[str, ...]

    def __str__(self) -> str:
        told = [f"{self.share:.0%} of the weights"]
        told += [f"for other channels: {', '.join(self.adapted)}"] if self.adapted else []
        told += [f"classes: {', '.join(self.classes)}"] if self.classes else []
        told += [f"anew: {', '.join(self.anew)}"] if self.anew else []
        return "; ".join(told)


def transfer(source: Bundle, target: Detector, config: ExperimentConfig) -> Transferred:
    """Copy into ``target`` every weight of ``source`` that fits it by name and shape; the rest stays.

    In the head, rows of classes are matched by name, and rows of distances are copied where the outline is the same.
    First layers for one channel and for three are made from each other, so that a grey image, three times, has the
    same features: weights are divided by three and repeated, or summed. Others start anew.

    Args:
        source: what to start from; of an ensemble, its first network.
        target: of ``config``.
        config: the experiment to train.

    Raises:
        ModelError: less than half of the backbone would be copied: the two are different networks.
    """
    source = source.plain
    own, given = target.state_dict(), source.network.state_dict()
    channels = source.config.preprocessing.channels, config.preprocessing.channels
    fitting: dict[str, torch.Tensor] = {}
    adapted = []
    for name, wanted in own.items():
        if name.startswith(_HEAD) or name not in given:
            continue
        if name.startswith(_SCORE_BY_CLASS) and source.classes != config.data.classes:
            continue
        value = given[name]
        if value.shape != wanted.shape and _differ_in_channels(value, wanted, channels):
            value = _for_channels(value, wanted.shape[1])
            adapted.append(_layer(name))
        if value.shape == wanted.shape:
            fitting[name] = value
    _check_backbone(own, fitting)
    head, copied, classes = _head(source, target, config)
    target.load_state_dict(own | fitting | head)
    copied += sum(value.numel() for value in fitting.values())
    anew = {_layer(name) for name in own if name not in fitting and name not in head}
    return Transferred(copied / sum(v.numel() for v in own.values()), tuple(sorted(anew)), tuple(adapted), classes)


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _differ_in_channels(value: torch.Tensor, wanted: torch.Tensor, channels: tuple[int, int]) -> bool:
    if value.ndim != wanted.ndim or value.ndim < 3 or sorted(channels) != [1, 3]:
        return False
    rest = value.shape[:1] + value.shape[2:] == wanted.shape[:1] + wanted.shape[2:]
    return rest and (value.shape[1], wanted.shape[1]) == channels


def _for_channels(value: torch.Tensor, channels: int) -> torch.Tensor:
    """1 → 3 or 3 → 1 input channels."""
    if channels == 1:
        return value.sum(dim=1, keepdim=True)
    return (value / channels).repeat(1, channels, *(1,) * (value.ndim - 2))


def _check_backbone(own: dict[str, torch.Tensor], fitting: dict[str, torch.Tensor]) -> None:
    backbone = {name: value.numel() for name, value in own.items() if name.startswith("backbone.")}
    share = sum(number for name, number in backbone.items() if name in fitting) / sum(backbone.values())
    if share < _LEAST_BACKBONE:
        raise ModelError(
            f"only {share:.0%} of the backbone fits the weights to start from, expected at least "
            f"{_LEAST_BACKBONE:.0%}: use the same data.dims, backbone and widths, or leave out training.initial_weights"
        )


def _head(
    source: Bundle, target: Detector, config: ExperimentConfig
) -> tuple[dict[str, torch.Tensor], int, tuple[str, ...]]:
    """The last layer, with the rows that mean the same; how many numbers were copied; whose classes."""
    if not isinstance(target, CentreDetector) or not isinstance(source.network, CentreDetector):
        return {}, 0, ()
    own, given = target.out.state_dict(), source.network.out.state_dict()
    if own["weight"].shape[1:] != given["weight"].shape[1:]:
        return {}, 0, ()
    classes = tuple(name for name in config.data.classes if name in source.classes)
    rows = [(0, 0)] + [(1 + config.data.classes.index(name), 1 + source.classes.index(name)) for name in classes]
    if source.network.shape == target.shape:
        first, other = 1 + len(config.data.classes), 1 + len(source.classes)
        rows += [(first + n, other + n) for n in range(target.shape.distances)]
    to, of = (torch.tensor(numbers) for numbers in zip(*rows, strict=True))
    head, copied = {}, 0
    for name, value in own.items():
        value = value.clone()
        value[to] = given[name][of]
        head[_HEAD + name] = value
        copied += value[to].numel()
    return head, copied, classes
