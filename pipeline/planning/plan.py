"""Scans → fingerprint → choices → an experiment that holds together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from pipeline.config import ExperimentConfig
from pipeline.datasets.select import select_volumes
from pipeline.errors import DatasetError
from pipeline.inference.windows import windows_of
from pipeline.planning import balance, budget, judging, network, variation
from pipeline.planning.choice import Choice, number, numbers
from pipeline.planning.cost import Cost, cost_of
from pipeline.planning.device import Device
from pipeline.planning.dividing import Division, divide
from pipeline.planning.fingerprint import Fingerprint, forms, take_fingerprint
from pipeline.planning.intensity import intensity, scaled
from pipeline.planning.kinds import Asked, Scans, find_scans
from pipeline.planning.objects import object_facts
from pipeline.planning.spacing import point_box, target_spacing
from pipeline.volumes import Volume

_SEED = 0
_HALVINGS = 6
_CENTRED = 0.9
_OFFSET = {"kind": "random_offset", "share": 0.7, "minimum_px": 10}


@dataclass(frozen=True)
class Wish:
    """What the user says. ``source`` is how the experiment names the folder; ``measure``: training steps are timed on
    this machine, and the length of training follows from that and not from a model of it."""

    name: str
    source: str
    asked: Asked = field(default_factory=Asked)
    minutes: float = 25.0
    point_box: float | None = None
    measure: bool = False


@dataclass(frozen=True)
class Plan:
    """``choices`` are in the order of the file; ``config`` is what they amount to."""

    fingerprint: Fingerprint
    choices: tuple[Choice, ...]
    config: ExperimentConfig
    device: Device

    def reason(self, key: str) -> str:
        return next(one.reason for one in self.choices if one.key == key)

    def to_json(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint.to_json(),
            "choices": [{"key": one.key, "value": one.value, "reason": one.reason} for one in self.choices],
            "device": self.device.text(),
        }


def make_plan(volumes: Sequence[Volume], wish: Wish, device: Device) -> Plan:
    """Configure an experiment on the scans of a folder.

    Only training and validation scans of the split that is chosen enter the fingerprint. The same scans, wish and
    device give the same plan, but for the length of training where steps are timed.

    Raises:
        DatasetError: no annotated scan, several kinds of scans, one patient alone, no object that counts in training
            or none in validation, points whose size nothing tells, objects so large that two patches do not fit into
            memory, or too few minutes.
    """
    scans = find_scans(volumes, wish.asked)
    division = divide(scans.data(wish.source, wish.asked), scans.volumes, _SEED)
    unit = division.shaping[0].grid.unit
    pointed = forms(scans.volumes).get("points", 0)
    nominal = point_box(object_facts(division.shaping), unit, pointed, wish.point_box)
    if nominal is not None:
        division = _with_boxes(division, nominal)
    fingerprint = take_fingerprint(
        division.shaping, scans.channels, division.patients, division.held_back, division.left_out
    )
    data = tuple(_data(scans, division, fingerprint, nominal, wish))
    return choose(fingerprint, wish, device, data, division.validating)


def choose(fingerprint: Fingerprint, wish: Wish, device: Device, data: tuple[Choice, ...], validating: float) -> Plan:
    """The rules, given the choices of ``data``, and how many scans validate."""
    nominal = next((float(one.value) for one in data if one.key == "data.point_box"), None)
    spacing = target_spacing(fingerprint)
    pixels = network.Pixels.of(fingerprint, spacing.value, nominal)
    turns = network.can_turn(pixels, spacing.value)
    levels = intensity(fingerprint)
    channels = Choice("preprocessing.channels", fingerprint.channels, _channels_reason(fingerprint))
    left = scaled(fingerprint.intensity.scans, levels.value)
    fixed = (
        Choice("seed", _SEED, "fixed, so that the same plan gives the same weights"),
        *data,
        *([] if spacing.value is None else [spacing]),
        channels,
        levels,
        *variation.augmentation(fingerprint, pixels, left, turns, levels.value),
    )
    for halvings in range(_HALVINGS):
        wanted = network.wanted_patch(pixels, device, fingerprint.dims, halvings)
        net = network.design(fingerprint, pixels, wanted, device)
        patch = network.rounded_patch(wanted, net.coarsest, turns)
        ending = tuple(_ending(fingerprint, pixels, net, patch, nominal, device, halvings))
        draft = _config(wish.name, (*fixed, *ending, *_DRAFT))
        cost = cost_of(draft)
        if budget.batch_size(cost, _objects_in_patch(fingerprint, pixels, patch), device):
            return _finished(fingerprint, wish, device, pixels, patch, cost, (*fixed, *ending), validating)
    raise DatasetError(
        f"objects of up to {number(max(pixels.large))} voxels need patches of which not two fit into the memory of a "
        f"{device.text()}: name another device (CELLSCAN_DEVICE), or plan by hand with a coarser preprocessing.spacing"
    )


# What a draft needs to hold together before its cost is known.
_DRAFT = (Choice("training.max_epochs", 1, ""), Choice("sampling.samples_per_epoch", 1, ""))


def _finished(
    fingerprint: Fingerprint,
    wish: Wish,
    device: Device,
    pixels: network.Pixels,
    patch: Sequence[int],
    cost: Cost,
    others: tuple[Choice, ...],
    validating: float,
) -> Plan:
    drafted = _config(wish.name, (*others, *_DRAFT))
    objects = _objects_in_patch(fingerprint, pixels, patch)
    if wish.measure:
        from pipeline.planning.measuring import measured_seconds  # here: it imports Lightning

        batch = budget.batch_size(cost, objects, device)
        seconds = measured_seconds(drafted, batch, device)
        cost = cost.measured(seconds, device, batch)
    voxels = _voxels_seen(pixels, drafted) * validating
    trained = budget.training(fingerprint, cost, device, objects, wish.minutes, voxels, prod(patch))
    choices = sorted((*others, *trained), key=lambda one: _SECTIONS.index(one.key.partition(".")[0]))
    return Plan(fingerprint, tuple(choices), _config(wish.name, choices), device)


def _voxels_seen(pixels: network.Pixels, drafted: ExperimentConfig) -> int:
    """Of a usual scan, in windows that overlap."""
    shape = tuple(max(round(n), 1) for n in pixels.shape)
    plan = windows_of(drafted, shape, (1,) * len(shape))
    return len(plan.starts) * prod(plan.size)


_SECTIONS = (
    "seed", "data", "preprocessing", "augmentation", "sampling", "detector", "training", "inference", "evaluation",
)  # fmt: skip


def _ending(
    fingerprint: Fingerprint,
    pixels: network.Pixels,
    net: network.Network,
    patch: Sequence[int],
    nominal: float | None,
    device: Device,
    halvings: int,
) -> list[Choice]:
    objects = _objects_in_patch(fingerprint, pixels, patch)
    halved = f", halved {halvings} times so that two fit into memory" if halvings else ""
    reason = (
        f"about as long along each axis, {prod(patch)} voxels for a {device.text()}{halved}; the median scan has "
        f"{numbers(round(n) for n in pixels.shape)}, objects up to {numbers(pixels.large)} voxels "
        "(95th percentile); multiples of the coarsest stride"
    )
    return [
        Choice("sampling.patch", list(patch), reason),
        variation.object_share(objects),
        *balance.sampling(fingerprint.objects.named),
        *net.choices,
        network.outline(fingerprint),
        *network.peak(fingerprint),
        *balance.weighting(fingerprint.objects.named),
        *judging.window(fingerprint, pixels, patch, net.coarsest, device),
        Choice("inference.batch_size", 1 if device.kind == "cpu" else 4, f"windows at once on a {device.text()}"),
        judging.views(fingerprint),
        *judging.suppression(fingerprint, nominal),
        *judging.judged_by(fingerprint, nominal),
    ]


def _objects_in_patch(fingerprint: Fingerprint, pixels: network.Pixels, patch: Sequence[int]) -> float:
    objects = fingerprint.objects
    return objects.count / objects.scans * min(prod(patch) / prod(pixels.shape), 1.0)


def _data(
    scans: Scans, division: Division, fingerprint: Fingerprint, nominal: Choice | None, wish: Wish
) -> list[Choice]:
    data = division.data
    counts = ", ".join(f"{count} {label}" for label, count in fingerprint.objects.classes.items())
    choices = [
        Choice("data.source", data.source, "the folder, absolute or below the data folder (CELLSCAN_DATA)"),
        Choice("data.dims", data.dims, f"{len(scans.volumes)} annotated scans of {data.dims}D"),
        Choice("data.classes", list(data.classes), f"in training and validation: {counts}"),
    ]
    if data.merge_classes:
        choices.append(Choice("data.merge_classes", True, "no object has a class: all are one"))
    if data.modalities:
        choices.append(Choice("data.modalities", list(data.modalities), "as asked for"))
    if data.where:
        choices.append(Choice("data.where", dict(data.where), "as asked for"))
    if data.in_pixels:
        choices.append(Choice("data.in_pixels", True, "some images state a physical size and some do not"))
    if nominal is not None:
        choices.append(nominal)
    choices.append(division.choice)
    objects = fingerprint.objects
    with_objects = objects.scans - objects.scans_without
    if (
        data.dims == 3
        and division.choice.value.get("validation") != "within"  # that takes slabs of whole scans
        and not objects.scans_without
        and objects.centred >= _CENTRED
        and objects.scans_of_one == with_objects
    ):
        reason = (
            f"each of the {objects.scans} scans holds one object, in {number(100 * objects.centred)} % in its middle: "
            "crops made around objects, whose place must say nothing and of which none is without an object"
        )
        choices.append(Choice("data.cases", dict(_OFFSET), reason))
    return choices


def _with_boxes(division: Division, nominal: Choice) -> Division:
    """The same division, points with their nominal boxes."""
    data = division.data.model_copy(update={"point_box": nominal.value})
    shaping = tuple(select_volumes(data, division.shaping))
    return replace(division, shaping=shaping, data=data)


def _channels_reason(fingerprint: Fingerprint) -> str:
    if fingerprint.channels == 1:
        return "one channel, or several that are equal"
    return f"{fingerprint.channels} channels that differ"


def _config(name: str, choices: Sequence[Choice]) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"name": name, **tree_of(choices)})


def tree_of(choices: Sequence[Choice]) -> dict[str, Any]:
    """Dotted keys → the nested mapping of the file."""
    tree: dict[str, Any] = {}
    for choice in choices:
        *parents, leaf = choice.key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = choice.value
    return tree
