"""Steps whose loss or gradient is not finite are left out, without asking the device at each of them."""

import torch
from torch import nn

from pipeline.errors import DatasetError

MOST_SKIPPED = 20


def spoiling(loss: torch.Tensor) -> torch.Tensor:
    """``loss`` as it is, with a gradient that is nowhere finite if it is not.

    So the gradient alone tells, and where several processes share a batch all of them see it.
    """
    return loss * (1.0 + 0.0 * loss.detach())


class StepGuard:
    """Leaves out the steps that would spoil weights: weights, optimiser state and running statistics stay as they were.

    Only the schedule goes on: a step that is left out was still planned. What was found is kept on the device, where a
    fused optimiser reads it (as ``found_inf``, which it has for gradient scaling). ``applied`` is 1 after a step that
    was taken, 0 after one that was not; ``skipped`` counts the latter, over all starts.
    """

    def __init__(self, network: nn.Module) -> None:
        self._parameters = [one for one in network.parameters() if one.requires_grad]
        self._norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        self._statistics: list[torch.Tensor] = []
        self._before: torch.Tensor | None = None
        self.applied, self.skipped = torch.ones(()), torch.zeros(())

    def to(self, device: torch.device) -> None:
        self.applied, self.skipped = self.applied.to(device), self.skipped.to(device)

    def before_step(self) -> None:
        """Remember what a forward pass changes."""
        # Looked up anew: a network that moves to another device gets other tensors.
        found = (one for norm in self._norms for one in (norm.running_mean, norm.running_var))
        self._statistics = [one for one in found if one is not None]
        if self._statistics:
            self._before = torch.cat(self._statistics)

    @torch.no_grad()
    def clip(self, optimiser: torch.optim.Optimizer, norm: float) -> None:
        """Clip the gradients to a common ``norm``; have ``optimiser`` leave the step out if theirs is not finite."""
        finite = torch.nn.utils.clip_grad_norm_(self._parameters, norm).isfinite()
        self.applied = finite.float()
        self.skipped = self.skipped + (1.0 - self.applied)
        optimiser.found_inf = 1.0 - self.applied  # type: ignore[attr-defined]
        if self._before is not None:
            kept = torch.where(finite, torch.cat(self._statistics), self._before)
            torch._foreach_copy_(self._statistics, list(kept.split([one.numel() for one in self._statistics])))

    def check(self) -> None:
        """Asks the device.

        Raises:
            DatasetError: more steps than a few were left out, which has a cause.
        """
        if self.skipped > MOST_SKIPPED:
            raise DatasetError(
                f"{int(self.skipped)} training steps had a loss or gradient that is not a number, expected at most "
                f"{MOST_SKIPPED}: look for voxels that are not finite, or lower training.learning_rate"
            )
