"""A network's weights in half the space, as far as that changes nothing that counts."""

from collections.abc import Mapping

import torch

_STEP = 2.0**-11  # rounding to 11 binary digits changes a number by at most this share of it
_STATISTICS = ("running_mean", "running_var")


def halved(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, those of 32-bit floats as 16-bit floats where they survive it.

    A weight is summed with its like, so a tensor survives if no number changes by more than 2⁻¹¹ of the largest. A
    batch norm's statistics are used one by one, and a variance is divided by: there each number must keep its own 11
    digits, and a tensor stays as it is if one is too small or too large for that.
    """
    return {name: value.half() if _survives(name, value) else value for name, value in weights.items()}


def _survives(name: str, value: torch.Tensor) -> bool:
    if value.dtype != torch.float32:
        return False
    change = (value.half().float() - value).abs()
    allowed = value.abs() if name.endswith(_STATISTICS) else value.abs().max()
    return bool((change <= _STEP * allowed).all())
