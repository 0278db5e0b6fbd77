"""The lock says what `make venv` installs."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["pretrained"],
    *PROJECT["dependency-groups"]["dev"],
]


def pins() -> dict[str, Requirement]:
    lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    entries = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(entry.name): entry for entry in entries}


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_lock_pins_every_requirement_within_its_range(text):
    requirement = Requirement(text)
    pin = pins()[canonicalize_name(requirement.name)]
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    assert requirement.specifier.contains(specifier.version, prereleases=True)


def test_lock_names_no_build_of_torch():
    # With a label the lock would hold only for a CPU, or only for one CUDA version.
    assert str(pins()["torch"].specifier) == "==2.13.0"
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-", "triton"))]
