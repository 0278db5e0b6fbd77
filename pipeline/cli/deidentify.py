"""The command that takes patients out of scans."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.lines import reason_lines
from pipeline.cli.options import AsJson, Home, Strict, Verbose
from pipeline.cli.screen import PARTIAL, Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.sources.deidentification.run import DeidentifySummary


class Dates(StrEnum):
    """What becomes of dates and times."""

    remove = "remove"
    shift = "shift"
    keep = "keep"


def deidentify(
    source: Annotated[Path, typer.Argument(help="A folder of DICOM and NIfTI files, or one file.")],
    out: Annotated[Path, typer.Argument(help="Folder for the files without patients; it must lie apart.")],
    dates: Annotated[
        Dates,
        typer.Option(help="Take dates and times away, shift them by a secret number of days a patient, or keep them."),
    ] = Dates.remove,
    retain_uids: Annotated[bool, typer.Option("--retain-uids", help="Keep UIDs as they are.")] = False,
    retain_device: Annotated[
        bool, typer.Option("--retain-device", help="Keep serial numbers and names of devices.")
    ] = False,
    retain_institution: Annotated[
        bool, typer.Option("--retain-institution", help="Keep the institution's name and address.")
    ] = False,
    retain_patient_characteristics: Annotated[
        bool, typer.Option("--retain-patient-characteristics", help="Keep age, sex, size, weight and the like.")
    ] = False,
    retain_safe_private: Annotated[
        bool, typer.Option("--retain-safe-private", help="Keep private attributes that the standard lists as safe.")
    ] = False,
    clean_descriptors: Annotated[
        bool, typer.Option("--clean-descriptors", help="Keep the medical words of descriptions instead of none.")
    ] = False,
    clean_structured_content: Annotated[
        bool, typer.Option("--clean-structured-content", help="Keep codes and numbers of reports instead of dummies.")
    ] = False,
    clean_graphics: Annotated[
        bool, typer.Option("--clean-graphics", help="Keep the shapes of graphic annotations, without their texts.")
    ] = False,
    accept_burned_in: Annotated[
        bool, typer.Option("--accept-burned-in", help="Take images that may show text too: you have looked at them.")
    ] = False,
    strict: Strict = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Write scans without their patients, by DICOM PS3.15's Basic Application Level Confidentiality Profile.

    Pixel data are copied as they are. Patients, UIDs and dates are replaced by a key that stays in the home folder:
    the same input gets the same replacement in every run. OUT/report tells, for each study, what was done. Images that
    may show text (ultrasound, screenshots, slide labels …) are refused unless --accept-burned-in is given. Files that
    were done before are not done again, so that a command that was stopped continues.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.sources.deidentification.options import DeidentifyOptions
        from pipeline.stages.deidentify import deidentify_archive

        options = DeidentifyOptions(
            dates=dates.value,
            retain_uids=retain_uids,
            retain_device=retain_device,
            retain_institution=retain_institution,
            retain_patient_characteristics=retain_patient_characteristics,
            retain_safe_private=retain_safe_private,
            clean_descriptors=clean_descriptors,
            clean_structured_content=clean_structured_content,
            clean_graphics=clean_graphics,
            accept_burned_in=accept_burned_in,
        )
        summary = deidentify_archive(source, out, options, Settings.from_environment(), screen.progress)
        screen.say(*deidentify_lines(summary))
        screen.give(summary)
        counts = summary.counts()
        if strict and counts["refused"] + counts["quarantined"]:
            raise typer.Exit(PARTIAL)


def deidentify_lines(summary: "DeidentifySummary") -> list[str]:
    """Counts, what a person should look at, then each reason for which a file was not copied."""
    counts = summary.counts()
    told = ", ".join(f"{counts[name]} {name}" for name in ("written", "copy", "refused", "quarantined", "ignored"))
    whose = f"{counts['studies']} studies of {counts['patients']} patients"
    lines = [
        f"{summary.root}: {counts['files']} files: {told}; {whose}",
        f"  written to {summary.out}, what was done to {summary.out / 'report'}",
    ]
    if summary.unchanged:
        lines.append(f"  {summary.unchanged} files had been done before")
    lines += reason_lines("to look at", ((flag, file.path) for file in summary.files for flag in file.flags))
    for outcome in ("refused", "quarantined"):
        lines += reason_lines(outcome, ((one.reason, one.path) for one in summary.files if one.outcome == outcome))
    return lines
