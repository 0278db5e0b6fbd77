"""A starter model: what it is, whether its files are whole, and which one fits an experiment."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pipeline.config import ExperimentConfig
from pipeline.errors import ModelError

SHELF = Path(__file__).parent
STARTER = "starter"
CARD = "CARD.md"
FORMAT = 1
_FACTS = "starter.json"
_BUNDLE = ("bundle.json", "experiment.json", "weights.safetensors")
_NAME = r"[a-z][a-z0-9-]*"
_SPEC = re.compile(rf"(?:models:/)?{STARTER}/(?P<name>{_NAME})")


@dataclass(frozen=True)
class Starter:
    """``digest`` is over the bundle's three files, as 64 hex digits. ``finds`` and ``tested`` are a line each: what
    it finds in which scans, and how well. ``licence`` and ``credit`` are those of its training data. ``cellscan`` made
    it; ``made_at`` is when its version was registered, in UTC.
    """

    name: str
    folder: Path
    digest: str
    finds: str
    tested: str
    data: str
    licence: str
    credit: str
    cellscan: str
    made_at: datetime

    @property
    def spec(self) -> str:
        return f"{STARTER}/{self.name}"

    @property
    def card(self) -> str:
        """Its model card, in Markdown."""
        return (self.folder / CARD).read_text(encoding="utf-8")

    @property
    def config(self) -> ExperimentConfig:
        """The experiment that made it.

        Raises:
            ModelError: it is described in another way than this cellscan reads.
        """
        try:
            return ExperimentConfig.model_validate_json((self.folder / "experiment.json").read_bytes())
        except ValueError as error:
            raise ModelError(f"{self.spec} is described in another way than this cellscan reads: {error}") from error

    def write(self) -> None:
        """Put ``starter.json`` beside the bundle."""
        told = {key: value for key, value in asdict(self).items() if key not in ("name", "folder")}
        told |= {"format": FORMAT, "made_at": self.made_at.isoformat(timespec="seconds")}
        (self.folder / _FACTS).write_text(f"{json.dumps(told, indent=1, ensure_ascii=False)}\n", encoding="utf-8")


def is_starter(spec: str) -> bool:
    """Whether ``spec`` is written as a starter is; ``starter/3`` is a registered version."""
    return _SPEC.fullmatch(spec) is not None


def starters() -> tuple[Starter, ...]:
    """All that came with this cellscan, by name.

    Raises:
        ModelError: one of them is damaged.
    """
    return tuple(read(SHELF / name) for name in _names())


def starter(spec: str) -> Starter:
    """``starter/nuclei-2d`` → that starter, its files whole.

    Raises:
        ModelError: there is none of this name (the message names those that there are), a file is damaged or missing,
            or a newer cellscan wrote it.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or match["name"] not in _names():
        raise ModelError(f"no starter model {spec!r}; {there_are()}")
    return read(SHELF / match["name"])


def fitting(config: ExperimentConfig) -> Starter | None:
    """The first starter from which an experiment could start, its whole backbone being transferred.

    It has the same dimensions and backbone, and as many channels, or one where the experiment has three, or three
    where it has one.
    """
    return next((one for one in starters() if _fits(one.config, config)), None)


def there_are() -> str:
    """Which starters there are, for the end of a message."""
    named = ", ".join(f"{STARTER}/{name}" for name in _names())
    return f"starter models that come with cellscan: {named or 'none'}"


def digest_of(folder: Path) -> str:
    """SHA-256 over names and contents of a bundle's three files, as 64 hex digits.

    Raises:
        OSError: one of them is missing.
    """
    total = hashlib.sha256()
    for name in _BUNDLE:
        total.update(f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _names() -> list[str]:
    return sorted(path.parent.name for path in SHELF.glob(f"*/{_FACTS}") if re.fullmatch(_NAME, path.parent.name))


def read(folder: Path) -> Starter:
    """The starter in a folder.

    Raises:
        ModelError: as `starter`.
    """
    spec = f"{STARTER}/{folder.name}"
    again = "install cellscan again"
    try:
        told = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        if told["format"] > FORMAT:
            raise ModelError(
                f"{spec} was written by cellscan {told['cellscan']} in format {told['format']}, and this cellscan "
                f"reads formats up to {FORMAT}: use a newer cellscan"
            )
        del told["format"]
        found = Starter(folder.name, folder, **told | {"made_at": datetime.fromisoformat(told["made_at"])})
        came = digest_of(folder)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{spec} in {folder} is damaged ({type(error).__name__}: {error}); {again}") from error
    if came != found.digest:
        told_of = f"its files have digest {came[:16]}, expected {found.digest[:16]}"
        raise ModelError(f"{spec} in {folder} is damaged: {told_of}; {again}")
    return found


def _fits(own: ExperimentConfig, config: ExperimentConfig) -> bool:
    channels = {own.preprocessing.channels, config.preprocessing.channels}
    return (
        own.data.dims == config.data.dims
        and own.detector.kind == config.detector.kind
        and own.detector.backbone == config.detector.backbone
        and (len(channels) == 1 or channels == {1, 3})
    )
