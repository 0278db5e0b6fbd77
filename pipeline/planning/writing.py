"""A plan as a YAML file: each value below the reason for it."""

import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config import ExperimentConfig
from pipeline.planning.choice import Choice, number, numbers
from pipeline.planning.plan import Plan

_WIDTH = 116
_ENDLESS = 10**6


def plan_text(plan: Plan) -> str:
    """The experiment's file."""
    return "\n".join([*_head(plan), f"name: {value_text(plan.config.name)}", *_body(plan)]) + "\n"


def check_text(text: str, plan: Plan) -> None:
    """Raise `AssertionError` where the file's text does not read as what was planned."""
    try:
        said = ExperimentConfig.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise AssertionError("the text of the plan is not an experiment") from error
    if said != plan.config:
        raise AssertionError("the text of the plan does not say what was planned")


def _head(plan: Plan) -> Iterator[str]:
    yield from _comment(
        f"Planned by `cellscan plan` for a {plan.device.text()}. Edit freely: nothing here is read back by it.", ""
    )
    for line in fingerprint_lines(plan):
        yield from _comment(line, "")


def fingerprint_lines(plan: Plan) -> list[str]:
    """What the choices rest on, a line a subject."""
    found, unit = plan.fingerprint, plan.fingerprint.unit
    objects = found.objects
    patients = "no patient known" if found.patients is None else f"{found.patients} patients"
    lines = [
        f"Fingerprint of {found.scans} training and validation scans ({patients}); the {found.held_back} test scans "
        "are not in it."
        + (f" {found.left_out} annotated scans are left out: the index puts them on no side." * bool(found.left_out)),
        f"Scans: {numbers(one.p50 for one in found.shape)} voxels of {numbers(one.p50 for one in found.spacing)} "
        f"{unit} (medians), {found.channels} channel(s), {found.intensity.dtype}, "
        + ", ".join(f"{count} {name}" for name, count in found.modalities.items()),
        f"Objects: {objects.count} in {objects.scans} scans, {objects.scans_without} of them without any; a scan has "
        f"{objects.per_scan.text()} (5th, 50th, 95th percentile); annotated by "
        + ", ".join(f"{form} ({count})" for form, count in found.annotated_by.items()),
    ]
    if objects.extent is not None:
        lines.append(
            f"Largest edge: {objects.extent.text()} {unit} (5th, 50th, 95th percentile), at most "
            f"{number(objects.extent.largest)}"
        )
    if objects.neighbour is not None:
        lines.append(f"Nearest neighbour: {objects.neighbour.text()} {unit} (5th, 50th, 95th percentile)")
    inside, outside = (tuple(number(one) for one in part) for part in (found.intensity.inside, found.intensity.outside))
    lines.append(
        f"Values inside objects: {' … '.join(inside)}; outside: {' … '.join(outside)} (percentiles 0.5, 50, 99.5; "
        f"{found.intensity.read} scans sampled)"
    )
    return lines


def _body(plan: Plan) -> Iterator[str]:
    for section, members in groupby(plan.choices, key=lambda one: one.key.partition(".")[0]):
        choices = list(members)
        nested = "." in choices[0].key
        if nested:
            yield f"{section}:"
        for choice in choices:
            yield from _entry(choice, "  " if nested else "")


def _entry(choice: Choice, indent: str) -> Iterator[str]:
    yield from _comment(choice.reason, indent)
    leaf = choice.key.rpartition(".")[2]
    yield f"{indent}{leaf}: {value_text(choice.value)}"


def value_text(value: Any) -> str:
    """A value on one line of YAML, which reads as this very value: ``on`` is quoted where it is a text."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=_ENDLESS, allow_unicode=True)
    text = text.removesuffix("...\n").rstrip("\n")
    if text.isprintable():
        return text
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=_ENDLESS, default_style='"')
    return text.rstrip("\n")


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return textwrap.wrap(printable, _WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False)
