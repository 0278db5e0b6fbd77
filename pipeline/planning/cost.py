"""What a training step costs: counted on PyTorch's meta device, which computes shapes and no values."""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.detector import BoxOutline, StarOutline
from pipeline.config.experiment import ExperimentConfig
from pipeline.planning.device import Device

# Weight, gradient, two moments of Adam, moving average; float32.
_BYTES_A_WEIGHT = 20
# Beside what is kept: gradients on their way and workspaces. Peaks measured on a CPU were 1.15 (CRC), 1.58 (DSB) and
# 1.64 (3D demo) times what the count alone gives.
_PASSING = 1.7
# A backward pass computes about twice what the forward pass does.
_PASSES = 3
# What a core of a server's CPU does in float32 convolutions, and what its memory moves: 35e9 and 5e9 fitted to training
# runs of five experiments on 2 cores (0.024 to 0.115 s a patch, augmentation included), within 15 % of each; by
# channels last, steps of CRC, DSB and LIDC then came to 0.76, 0.84 and 0.69 of that, in bfloat16 to 0.90, 0.73 and
# 0.75 of the rest.
_CPU_RATE, _CPU_BYTES = 46e9, 6.6e9
_HALF = 0.8
# Of a data-centre GPU, assumed and not fitted: a third of its usual float32 (TF32) rate, and the start of a step.
_GPU_RATE, _GPU_BYTES, _GPU_STEP = 20e12, 500e9, 0.02
# Rays are followed in portions (`detectors.rays`); lengths of all of them, and four more of their size in the loss.
_RAYS_TOGETHER, _BYTES_A_RAY = 64 * 10**6, 20
# Peaks are drawn for 64 objects at a time (`detectors.targets`), three float32 each at the most.
_BYTES_A_PEAK = 64 * 12
# One core cuts and varies so many values a second.
_PREPARED = 2e7


@dataclass(frozen=True)
class Cost:
    """Of one patch: ``forward`` floating-point operations, ``kept`` bytes for the backward pass; ``weights`` in number;
    ``values`` of its input; ``targets`` bytes while it is worked out what the network should say, of one patch at a
    time. ``pace`` is a measured time of a step over the modelled one, `None` where none was measured."""

    forward: int
    kept: int
    weights: int
    values: int
    targets: int = 0
    pace: float | None = None

    def memory(self, batch: int) -> int:
        """Bytes of a training step."""
        return int(self.kept * _PASSING) * batch + self._whatever_the_batch

    def largest_batch(self, device: Device) -> int:
        """How many patches fit; 0 where not even one does."""
        return max((device.training_bytes - self._whatever_the_batch) // int(self.kept * _PASSING), 0)

    @property
    def _whatever_the_batch(self) -> int:
        return self.weights * _BYTES_A_WEIGHT + self.targets

    def measured(self, seconds: float, device: Device, batch: int) -> "Cost":
        """The same, with what a patch took as one of a batch."""
        return replace(self, pace=seconds / self._modelled(device, batch))

    def seconds(self, device: Device, batch: int) -> float:
        """Of training on one patch, as one of a batch."""
        return self._modelled(device, batch) * (1.0 if self.pace is None else self.pace)

    def _modelled(self, device: Device, batch: int) -> float:
        if device.kind == "cpu":
            whole = _PASSES * self.forward / (_CPU_RATE * device.cores) + self.kept / _CPU_BYTES
            return whole * (_HALF if device.bf16 else 1.0)
        network = _PASSES * self.forward / _GPU_RATE + self.kept / _GPU_BYTES + _GPU_STEP / batch
        return max(network, self.values / (_PREPARED * device.cores))

    def seconds_of_detecting(self, device: Device, voxels: float, patch_voxels: int) -> float:
        """Of so many ``voxels`` in the network's grid: a forward pass."""
        return voxels / patch_voxels * self.seconds(device, 1) / _PASSES


def cost_of(config: ExperimentConfig) -> Cost:
    """Count what autograd keeps and the network computes for one patch of an experiment."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from pipeline.detectors.build import build_detector

    with torch.device("meta"):
        network = build_detector(_without_weights(config))
    patch = torch.empty((1, config.preprocessing.channels, *config.sampling.patch), device="meta")
    own = {_storage(weight) for weight in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        return kept.setdefault(_storage(tensor), tensor)

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = network(patch)
    locations = maps.score.numel()
    return Cost(
        forward=int(counter.get_total_flops()),
        kept=sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own),
        weights=sum(weight.numel() for weight in network.parameters()),
        values=patch.numel(),
        targets=_target_bytes(config.detector.outline, locations),
    )


def _target_bytes(outline: BoxOutline | StarOutline, locations: int) -> int:
    if isinstance(outline, StarOutline):
        return _RAYS_TOGETHER + _BYTES_A_RAY * outline.rays * locations
    return _BYTES_A_PEAK * locations


def _storage(tensor: Any) -> int:
    return int(tensor.untyped_storage()._cdata)


def _without_weights(config: ExperimentConfig) -> ExperimentConfig:
    """The same network, its ImageNet weights not read."""
    tree = config.model_dump(mode="json")
    if "pretrained" in tree["detector"]["backbone"]:
        tree["detector"]["backbone"]["pretrained"] = False
    return ExperimentConfig.model_validate(tree)
