"""The weights that an experiment starts from: of a version or starter model, a bundle's folder, or its weight file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.detectors.bundle import Bundle
from pipeline.errors import ModelError
from pipeline.settings import Settings
from pipeline.tracking.registry import DIGEST_TAG, folder_digest, resolve

_PATH_STARTS = ("/", "./", "../", "~")


@dataclass(frozen=True)
class InitialWeights:
    """Where they are now; ``digest`` says which they are, also when an alias moves or a file changes."""

    path: Path
    digest: str

    @classmethod
    def named(cls, name: str, settings: Settings) -> "InitialWeights":
        """What ``training.initial_weights`` names.

        Raises:
            ModelError: there is no such version or file.
        """
        if not is_path(name):
            record = resolve(settings, name)
            return cls(record.bundle_folder, record.tags[DIGEST_TAG])
        path = Path(name).expanduser().resolve()
        if path.is_dir():
            return cls(path, folder_digest(path))
        if path.is_file():
            return cls(path, hashlib.sha256(path.read_bytes()).hexdigest())
        raise ModelError(f"training.initial_weights: expected a bundle's folder or .safetensors, nothing is at {path}")

    def load(self) -> Bundle:
        return Bundle.load(self.path) if self.path.is_dir() else Bundle.load_file(self.path)


def is_path(name: str) -> bool:
    """Whether ``training.initial_weights`` names a file or folder, and not a version or starter model."""
    return name.startswith(_PATH_STARTS)
