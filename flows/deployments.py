"""Serve flows on a schedule: ``python -m flows.deployments [FOLDER]``.

Each YAML file of the folder (default ``configs/deployments``) describes one deployment. Runs are started by this
process, for as long as it lives, on the server of ``PREFECT_API_URL`` or, without one, on a server of its own.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.session import prefect_session
from pipeline.errors import ConfigError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

FOLDER = Path("configs/deployments")
# Describes the same for `prefect deploy`, in Prefect's own words.
_FOR_PREFECT = "prefect.yaml"


class Trigger(BaseModel):
    """An event (of `flows.events`, or any other) that starts a run, beside the schedule; ``match`` says whose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["event"] = "event"
    expect: list[str] = Field(min_length=1)
    match: dict[str, str] = {}


class Deployment(BaseModel):
    """One flow, when it runs, and with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    flow: Literal[
        "ingest",
        "train",
        "train_group",
        "transfer_curve",
        "ensemble",
        "evaluate",
        "compare",
        "promote",
        "detect",
        "report",
        "scan_to_report",
        "watch",
    ]
    description: str
    cron: str
    timezone: str = "UTC"
    triggers: list[Trigger] = []
    parameters: dict[str, Any]


def read_deployments(folder: Path) -> list[Deployment]:
    """The deployments that a folder describes, by file name.

    Raises:
        ConfigError: there is none, or a file does not hold.
    """
    files = sorted(path for path in folder.glob("*.yaml") if path.name != _FOR_PREFECT)
    if not files:
        raise ConfigError(f"no deployment in {folder}: expected YAML files with name, flow, cron and parameters")
    return [_read(path) for path in files]


def to_runner(deployment: Deployment) -> "RunnerDeployment":
    """What Prefect serves; its parameters are checked against the flow's.

    Raises:
        ConfigError: the flow does not take these parameters.
    """
    from prefect.deployments.runner import EntrypointType
    from prefect.events import DeploymentEventTrigger
    from prefect.schedules import Cron

    flow = getattr(importlib.import_module(_module(deployment.flow)), deployment.flow)
    try:
        flow.validate_parameters(deployment.parameters)
    except Exception as error:
        raise ConfigError(
            f"deployment {deployment.name}: flow {deployment.flow} does not take this: {error}"
        ) from error
    return flow.to_deployment(
        name=deployment.name,
        description=deployment.description,
        schedule=Cron(deployment.cron, timezone=deployment.timezone),
        triggers=[DeploymentEventTrigger.model_validate(one.model_dump()) for one in deployment.triggers],
        parameters=deployment.parameters,
        concurrency_limit=1,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def serve_deployments(deployments: Sequence[Deployment], settings: Settings) -> None:
    """Serve until stopped; one run at a time, since each uses the whole machine."""
    with prefect_session(settings, quiet=False, schedules=True) as address:
        from prefect import serve

        # Prefect's own, when it is told to end by SIGTERM; it ends all the same.
        warnings.filterwarnings("ignore", message="coroutine 'Runner.astop' was never awaited")
        print(f"serving {', '.join(d.name for d in deployments)}; pages: {address.removesuffix('/api')}", flush=True)
        serve(*(to_runner(deployment) for deployment in deployments), limit=1, print_starting_message=False)


def _module(flow: str) -> str:
    return f"flows.{'compare' if flow == 'promote' else flow}"


def _read(path: Path) -> Deployment:
    try:
        return Deployment.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path} does not describe a deployment: {error}") from error


if __name__ == "__main__":
    serve_deployments(read_deployments(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER), Settings.from_environment())
