"""Where cellscan runs: read from the environment, never from an experiment."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from pipeline.errors import ConfigError

RunnerKind = Literal["processes", "threads", "dask", "ray"]


@dataclass(frozen=True)
class Runner:
    """Who detects on an archive: so many workers, here (``processes``, ``threads``) or in a cluster.

    ``address``: of a cluster's scheduler; without one, ``dask`` and ``ray`` start a cluster on this machine.
    """

    kind: RunnerKind = "processes"
    workers: int = 1
    address: str | None = None


@dataclass(frozen=True)
class Settings:
    """Places and addresses.

    ``CELLSCAN_HOME``: everything that cellscan writes (default ``~/.cellscan``).
    ``CELLSCAN_DATA``: the folder that holds data sets that experiments name by folder (default: the working folder).
    ``CELLSCAN_DEVICE``: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    ``CELLSCAN_DEVICES``: on how many of them one training runs, as many processes (default 1), or ``auto``: every GPU.
    ``CELLSCAN_CATALOG_URL``: SQLAlchemy URL of the catalog and ledger (default: SQLite in the home folder).
    ``CELLSCAN_RUNNER``: who detects on an archive: ``processes:3``, ``threads:3``, ``dask:8@tcp://host:8786`` or
    ``ray:8@ray://host:10001``; a cluster's workers read the same home folder, and a catalog in PostgreSQL.
    ``CELLSCAN_COMPILE``: ``1`` has the network compiled before it detects on an archive (see `detectors.compiled`).
    ``MLFLOW_TRACKING_URI``: default ``sqlite:///<home>/mlflow.db``.
    ``CELLSCAN_GANTRY_TILT``: ``refuse`` (default) or ``shear``: what becomes of series whose gantry was tilted.
    ``PREFECT_API_URL``: a running Prefect server; without it one is started and stopped for each run.
    """

    home: Path
    data: Path
    device: str
    catalog_url: str
    tracking_uri: str
    prefect_api_url: str | None
    gantry_tilt: Literal["refuse", "shear"] = "refuse"
    devices: int | Literal["auto"] = 1
    runner: Runner = Runner()
    compile: bool = False

    @classmethod
    def from_environment(cls) -> "Settings":
        """What the environment says.

        Raises:
            ConfigError: ``CELLSCAN_GANTRY_TILT`` is neither of its two words, ``CELLSCAN_DEVICES`` no number,
                ``CELLSCAN_RUNNER`` none of its kinds, or ``CELLSCAN_COMPILE`` neither 0 nor 1.
        """
        home = Path(os.environ.get("CELLSCAN_HOME", "~/.cellscan")).expanduser().resolve()
        return cls(
            home=home,
            data=Path(os.environ.get("CELLSCAN_DATA", ".")).expanduser().resolve(),
            device=os.environ.get("CELLSCAN_DEVICE", "auto"),
            catalog_url=os.environ.get("CELLSCAN_CATALOG_URL", f"sqlite:///{home / 'catalog.db'}"),
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}"),
            prefect_api_url=os.environ.get("PREFECT_API_URL"),
            gantry_tilt=_gantry_tilt(os.environ.get("CELLSCAN_GANTRY_TILT", "refuse")),
            devices=_devices(os.environ.get("CELLSCAN_DEVICES", "1")),
            runner=_runner(os.environ.get("CELLSCAN_RUNNER", "processes:1")),
            compile=_switch("CELLSCAN_COMPILE"),
        )

    @property
    def volumes(self) -> Path:
        return self.home / "volumes"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def detections(self) -> Path:
        return self.home / "detections"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps artifacts when it tracks into the home folder."""
        return self.home / "mlartifacts"


def _gantry_tilt(word: str) -> Literal["refuse", "shear"]:
    if word in ("refuse", "shear"):
        return cast(Literal["refuse", "shear"], word)
    raise ConfigError(f"CELLSCAN_GANTRY_TILT must be refuse or shear, got {word!r}")


def _devices(word: str) -> int | Literal["auto"]:
    if word == "auto":
        return "auto"
    if word.isdecimal() and int(word) > 0:
        return int(word)
    raise ConfigError(f"CELLSCAN_DEVICES must be a number from 1, or auto, got {word!r}")


def _runner(word: str) -> Runner:
    match = re.fullmatch(r"([a-z]+):([1-9][0-9]*)(?:@(\S+))?", word)
    if match is None or match[1] not in get_args(RunnerKind) or (match[3] and match[1] in ("processes", "threads")):
        raise ConfigError(
            "CELLSCAN_RUNNER must be KIND:WORKERS, such as processes:3, threads:3, dask:8@tcp://host:8786 or "
            f"ray:8@ray://host:10001, got {word!r}"
        )
    return Runner(cast(RunnerKind, match[1]), int(match[2]), match[3])


def _switch(name: str) -> bool:
    word = os.environ.get(name, "0")
    if word not in ("0", "1"):
        raise ConfigError(f"{name} must be 0 or 1, got {word!r}")
    return word == "1"
