"""How long a training step really takes on this machine."""

import time

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.samples import Batch, Objects
from pipeline.detectors.bundle import seeded_network
from pipeline.planning.device import Device
from pipeline.training.module import DetectorTraining

_STEPS = 4  # the first one, which also finds memory and algorithms, is not counted


def measured_seconds(config: ExperimentConfig, batch: int, device: Device) -> float:
    """Of training on one patch, as one of ``batch``: the fastest of a few steps on noise with an object in each.

    Drawing and varying patches is not in it. In bfloat16 where the device computes it, as training does.
    """
    place = torch.device(device.name)
    module = DetectorTraining(seeded_network(config), config, _STEPS).to(place).train()
    weights = list(module.parameters())
    samples = _batch(config, batch).to(place)
    taken = []
    for _ in range(_STEPS):
        started = time.perf_counter()
        with torch.autocast(place.type, torch.bfloat16, enabled=device.bf16):
            loss = module.training_step(samples, 0)
        loss.backward()
        for weight in weights:
            weight.grad = None
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        taken.append(time.perf_counter() - started)
    return min(taken[1:]) / batch


def _batch(config: ExperimentConfig, batch: int) -> Batch:
    patch = torch.tensor(config.sampling.patch)
    lower, upper = patch // 4, patch - patch // 4
    instances = torch.zeros(config.sampling.patch, dtype=torch.int32)
    instances[tuple(slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))] = 1
    objects = Objects(
        lower[None].float(),
        upper[None].float(),
        torch.zeros(1, dtype=torch.long),
        torch.zeros(1, dtype=torch.bool),
        instances,
    )
    return Batch(torch.randn((batch, config.preprocessing.channels, *config.sampling.patch)), [objects] * batch)
