"""Whether bf16 may be used: what the device computes, and what it makes of the gradient of the network at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from pipeline.devices import computes_bf16
from pipeline.errors import ConfigError

# Measured on crc/dsb/lidc (avx512_bf16), on first weights and after 6 and 12 steps: cosines 0.990 … 1.000, the least
# in 3D on first weights; losses within 0.13 %.
LEAST_COSINE = 0.97
MOST_LOSS_DIFFERENCE = 0.01


@dataclass(frozen=True)
class Precision:
    """What was chosen and why. ``cosine`` of the two gradients and ``loss_difference``, relative, where measured."""

    name: Literal["32", "bf16"]
    reason: str
    cosine: float | None = None
    loss_difference: float | None = None


def choose_precision(
    asked: Literal["32", "bf16", "auto"], network: nn.Module, loss: Callable[[], torch.Tensor], device: torch.device
) -> Precision:
    """The precision to train in.

    ``auto`` compares: half of the mantissa is enough where the gradient points the same way and the loss is the same;
    some devices compute 3D convolutions in bf16 wrongly (pytorch issue 169688).

    Args:
        asked: the experiment's wish.
        network: whose gradients are compared; they and its running statistics are as before afterwards.
        loss: computes its loss on a batch, on ``device``.
        device: where it is trained.
    """
    if asked != "auto":
        return Precision(asked, "asked for")
    if not computes_bf16(device):
        return Precision("32", f"this {device.type} does not compute bf16")
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    whole, half = (_gradient(network, loss, device, bf16) for bf16 in (False, True))
    network.load_state_dict(kept)
    network.zero_grad()
    cosine = float(nn.functional.cosine_similarity(whole[1], half[1], dim=0))
    difference = abs(half[0] - whole[0]) / max(abs(whole[0]), 1e-6)
    passes = cosine >= LEAST_COSINE and difference <= MOST_LOSS_DIFFERENCE  # false for what is not a number
    reason = f"gradient of bf16 to that of 32 bits: cosine {cosine:.4f}, loss differs by {difference:.1%}"
    return Precision("bf16" if passes else "32", reason, cosine, difference)


def _gradient(
    network: nn.Module, loss: Callable[[], torch.Tensor], device: torch.device, bf16: bool
) -> tuple[float, torch.Tensor]:
    network.zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        value = loss()
    value.backward()
    parts = [one.grad.flatten().double() for one in network.parameters() if one.grad is not None]
    if not parts:
        raise ConfigError("no weight of the network learns: lower training.frozen_stages")
    return float(value.detach()), torch.cat(parts)
