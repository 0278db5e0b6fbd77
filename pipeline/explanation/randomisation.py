"""Networks that forget: layers put back to what they were before training, from the output downwards."""

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.detectors.detector import Detector

_BACKBONE_PARTS = ("last third of the backbone", "middle third of the backbone", "first third of the backbone")


def cascade(network: Detector, seed: int, image: torch.Tensor) -> Iterator[tuple[str, Detector]]:
    """The network with more and more of its layers random, beginning at the output (Adebayo et al. 2018, section 3).

    Args:
        network: stays as it is.
        seed: of the weights.
        image: window ``(channel, i, j[, k])``: a batch norm whose layers are random takes its statistics from it, since
            those of the trained layers would let nothing through.

    Yields:
        Down to which part it is random by now, and a network; the last is random altogether.
    """
    fresh = copy.deepcopy(network)
    for number, (name, modules) in enumerate(_parts(fresh)):
        _reset(modules, seed, number)
        adapted = copy.deepcopy(fresh)
        _take_statistics(adapted, image)
        yield name, adapted.eval()


def randomised(network: Detector, seed: int, image: torch.Tensor) -> Detector:
    """The same architecture with every layer as drawn before training, from ``seed`` alone."""
    fresh = copy.deepcopy(network)
    for number, (_, modules) in enumerate(_parts(fresh)):
        _reset(modules, seed, number)
    _take_statistics(fresh, image)
    return fresh.eval()


def _parts(network: Detector) -> list[tuple[str, list[nn.Module]]]:
    backbone = _layers(network.backbone)
    cuts = [len(backbone) * n // 3 for n in range(4)]
    thirds = [backbone[cuts[n] : cuts[n + 1]] for n in (2, 1, 0)]
    return [
        *((name, [layer for part in parts for layer in _layers(part)]) for name, parts in network.head_parts()),
        *zip(_BACKBONE_PARTS, thirds, strict=True),
    ]


def _layers(part: nn.Module) -> list[nn.Module]:
    return [module for module in part.modules() if callable(getattr(module, "reset_parameters", None))]


def _reset(modules: list[nn.Module], seed: int, part: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed * 100 + part)
        for module in modules:
            device = next((value.device for value in module.parameters()), torch.device("cpu"))
            module.cpu().reset_parameters()  # type: ignore[operator]  # drawn on the CPU: the same on every device
            module.to(device)


@torch.no_grad()
def _take_statistics(network: Detector, image: torch.Tensor) -> None:
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    network.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    network(image[None])
