"""A folder of annotated scans → an experiment's YAML file, each choice with its reason."""

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, StoreError
from pipeline.planning import Plan, Wish, make_plan
from pipeline.planning.device import find_device
from pipeline.planning.kinds import Asked
from pipeline.planning.picture import save_picture
from pipeline.planning.writing import check_text, plan_text
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.experiment import volumes_below
from pipeline.stages.ingest import ingest_archive, source_folder

EXPERIMENTS = Path("configs") / "experiments"
PLANS = "plans"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class PlanRequest:
    """What to plan for. ``name`` and ``out`` follow from the folder where they are not given."""

    folder: Path
    name: str | None = None
    out: Path | None = None
    asked: Asked = field(default_factory=Asked)
    minutes: float = 25.0
    point_box: float | None = None
    force: bool = False
    measure: bool = False


@dataclass(frozen=True)
class PlannedExperiment:
    """``unchanged``: the file was there with the same text."""

    path: Path
    picture: Path
    plan: Plan
    unchanged: bool

    def to_json(self) -> dict[str, Any]:
        files = {"experiment": str(self.path), "picture": str(self.picture), "unchanged": self.unchanged}
        return {"name": self.plan.config.name, **files, **self.plan.to_json()}


def plan_experiment(request: PlanRequest, settings: Settings, progress: Progress | None = None) -> PlannedExperiment:
    """Ingest what is new in a folder, measure its annotated scans, and write an experiment that suits them.

    The same folder, request and device give the same file, unless the time of steps is measured.

    Raises:
        SourceError: the folder is not there.
        DatasetError: see `make_plan`.
        ConfigError: the name is none, or another file is there and ``force`` is not given.
    """
    root = source_folder(request.folder, settings)
    name = request.name or experiment_name(root, request.asked)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"a name has lower-case letters, digits and _, and starts with a letter; got {name!r}: --name"
        )
    path = request.out or EXPERIMENTS / f"{name}.yaml"
    ingest_archive(root, settings, progress)
    volumes = volumes_below(root, settings)
    wish = Wish(name, _source(root, settings), request.asked, request.minutes, request.point_box, request.measure)
    plan = make_plan(volumes, wish, find_device(settings.device))
    text = plan_text(plan)
    check_text(text, plan)
    unchanged = _write(path, text, request.force)
    picture = settings.home / PLANS / f"{name}.png"
    save_picture(plan, picture)
    return PlannedExperiment(path, picture, plan, unchanged)


def experiment_name(root: Path, asked: Asked) -> str:
    """From the folder's name and what was asked for: ``dsb2018_fluorescence``."""
    words = [root.name.partition(".")[0], *(m for m in asked.modalities), *asked.where.values()]
    words += [f"{asked.dims}d"] if asked.dims else []
    text = "_".join(re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_") for word in words).strip("_")
    return text if text[:1].isalpha() else f"plan_{text}".rstrip("_")


def _source(root: Path, settings: Settings) -> str:
    return str(root.relative_to(settings.data)) if root.is_relative_to(settings.data) else str(root)


def _write(path: Path, text: str, force: bool) -> bool:
    """Whether the file was there with this very text; a file appears whole or not at all."""
    if path.is_file() and not force:
        if path.read_text(encoding="utf-8") == text:
            return True
        raise ConfigError(f"{path} is there and says something else: --force writes over it, --out names another file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as part:
            part.write(text)
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): name another place with --out") from error
    return False
