"""Batch size by memory, length of training by time."""

from math import ceil

from pipeline.errors import DatasetError
from pipeline.planning.choice import Choice, number
from pipeline.planning.cost import Cost
from pipeline.planning.device import Device
from pipeline.planning.fingerprint import Fingerprint
from pipeline.planning.judging import view_count

_OBJECTS_A_STEP = 10
_BATCHES = {"cpu": (4, 16), "cuda": (8, 32)}
_FEWEST_STEPS = 300
_NO_FEWER_STEPS = 100  # below it the average over a tenth of them is one over fewer than ten
_EPOCHS = 30
_VALIDATIONS = 8
_VALIDATING = 0.2
_MEMORY_OF_STEPS = 0.1
_RATE = 2e-3


def batch_size(cost: Cost, objects_in_patch: float, device: Device) -> int:
    """Enough patches for ten objects a step, as far as they fit into memory; 0 where not even two fit."""
    batch, most = _BATCHES[device.kind]
    while batch < most and batch * objects_in_patch < _OBJECTS_A_STEP:
        batch *= 2
    fits = cost.largest_batch(device)
    while batch > fits:
        batch //= 2
    return batch if batch >= 2 else 0


def training(
    fingerprint: Fingerprint,
    cost: Cost,
    device: Device,
    objects_in_patch: float,
    minutes: float,
    validation_voxels: float,
    patch_voxels: int,
) -> tuple[Choice, ...]:
    """The keys of ``training``, and ``sampling.samples_per_epoch``; the batch of `batch_size`, halved until the time
    allows 300 steps. ``validation_voxels`` are all that a validation shows to the network, once.

    Raises:
        DatasetError: beside validation, the time does not even allow 100 steps of two patches.
    """
    size = wanted = batch_size(cost, objects_in_patch, device)
    validating = cost.seconds_of_detecting(device, validation_voxels, patch_voxels) * view_count(fingerprint)
    budget = minutes * 60
    validations = max(1, min(_VALIDATIONS, int(_VALIDATING * budget / max(validating, 1e-9))))
    training_seconds = budget - validations * validating
    while size > 2 and training_seconds / cost.seconds(device, size) < _FEWEST_STEPS * size:
        size //= 2
    seconds = cost.seconds(device, size)
    patches = training_seconds / seconds
    if patches < _NO_FEWER_STEPS * size:
        raise DatasetError(_too_short(minutes, validating, _NO_FEWER_STEPS * size * seconds, device))
    epochs = max(1, min(_EPOCHS, round(patches / (4 * size))))
    samples = max(round(patches / epochs / size), 1) * size
    steps = samples // size * epochs
    decay = min(max(1 - 1 / (_MEMORY_OF_STEPS * steps), 0.9), 0.999)
    told = "modelled" if cost.pace is None else "measured"
    spent = f"{number(minutes)} minutes on a {device.text()} at a {told} {number(seconds)} s a patch"
    return (
        _batch_choice(cost, objects_in_patch, device, size, wanted),
        Choice("sampling.samples_per_epoch", samples, f"{spent}: {epochs * samples} patches, in {steps} steps"),
        Choice("training.max_epochs", epochs, f"the patches of {number(minutes)} minutes in portions"),
        Choice(
            "training.learning_rate", _RATE, "AdamW, warm-up and cosine: what the shipped experiments were tuned to"
        ),
        Choice("training.average_decay", round(decay, 3), f"averages the weights over a tenth of the {steps} steps"),
        Choice(
            "training.validate_every",
            ceil(epochs / validations),
            f"a validation costs about {number(validating)} s by the model",
        ),
        Choice("training.precision", "auto", _precision_reason(device)),
        Choice(
            "training.workers",
            0 if device.kind == "cpu" else min(device.cores, 8),
            "the CPU trains" if device.kind == "cpu" else "processes prepare patches while the GPU trains",
        ),
    )


def _too_short(minutes: float, validating: float, stepping: float, device: Device) -> str:
    # Validations beyond the first take at most a share `_VALIDATING` of the time.
    needed = ceil(max(stepping + validating, stepping / (1 - _VALIDATING)) / 6) / 10
    return (
        f"{number(minutes)} minutes on a {device.text()} are too few: by the model one validation takes "
        f"{number(validating / 60)} minutes and the fewest sensible steps, {_NO_FEWER_STEPS}, {number(stepping / 60)} "
        f"minutes: give --minutes {needed:.1f} or more, smaller or fewer scans, or a faster device (CELLSCAN_DEVICE)"
    )


def _batch_choice(cost: Cost, objects_in_patch: float, device: Device, size: int, wanted: int) -> Choice:
    fewest, most = _BATCHES[device.kind]
    reason = (
        f"a patch holds {number(objects_in_patch)} objects, and a step should see {_OBJECTS_A_STEP} ({fewest} to "
        f"{most} patches); memory modelled, not measured: {number(cost.memory(size) / 1e6)} MB a step, from the "
        "tensors that autograd keeps (counted on the meta device) and 70 % for what passes; "
        f"{cost.largest_batch(device)} patches would fit into {number(device.training_bytes / 1e9)} GB of a "
        f"{device.text()}"
    )
    if size < wanted:
        reason += f"; {wanted} would leave fewer than {_FEWEST_STEPS} steps in the time"
    return Choice("training.batch_size", size, reason)


def _precision_reason(device: Device) -> str:
    if device.bf16:
        return "bfloat16, which this device computes, where the first batch's gradient is the same by it"
    return "32 bits here, bfloat16 on a device that computes it and where the first batch's gradient is the same by it"
