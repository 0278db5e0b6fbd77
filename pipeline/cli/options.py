"""Arguments and options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer


def _set_home(folder: Path | None) -> Path | None:
    if folder is not None:
        os.environ["CELLSCAN_HOME"] = str(folder.expanduser().resolve())
    return folder


def _set_devices(count: str | None) -> str | None:
    if count is not None:
        os.environ["CELLSCAN_DEVICES"] = count
    return count


def _set_compile(wanted: bool) -> bool:
    if wanted:
        os.environ["CELLSCAN_COMPILE"] = "1"
    return wanted


def _set_workers(count: int | None) -> int | None:
    if count is not None:
        os.environ["CELLSCAN_RUNNER"] = f"processes:{count}"
    return count


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show the libraries' own warnings and logs, and errors with their traceback.")
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Folder for everything that cellscan writes.",
        show_default="$CELLSCAN_HOME or ~/.cellscan",
        callback=_set_home,
        is_eager=True,
        file_okay=False,
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="N|auto",
        help="Train in this many processes, one a GPU (or part of the CPU); batches stay as large as they are.",
        show_default="$CELLSCAN_DEVICES or 1",
        callback=_set_devices,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Detect in this many processes of this machine; each loads the model.",
        show_default="$CELLSCAN_RUNNER or 1",
        callback=_set_workers,
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network first: quicker on many scans, after some 15 s (needs g++ or clang++).",
        show_default="$CELLSCAN_COMPILE or not",
        callback=_set_compile,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value of the experiment; may be given again."),
]
Experiment = Annotated[Path, typer.Argument(help="YAML file of one experiment, e.g. from configs/experiments/.")]
Version = Annotated[
    str, typer.Argument(help="A registered model version, name/3 or name@champion, or a starter model: starter/name.")
]
Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        help="YAML file of what a champion must show, e.g. from configs/policies/.",
        show_default="not worse, and no class lost",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 when a file was quarantined.")]
