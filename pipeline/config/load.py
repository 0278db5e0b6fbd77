"""YAML file and dotted overrides → a validated experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config.experiment import ExperimentConfig
from pipeline.errors import ConfigError


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read one experiment.

    Args:
        path: a YAML file.
        overrides: ``key.path=value`` strings; the value is read as YAML (``training.max_epochs=3``).

    Raises:
        ConfigError: the file is missing, an override has no ``=``, or a value does not hold; the message names
            each key with what was expected and what came.
    """
    if not path.is_file():
        raise ConfigError(f"no experiment file at {path}")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold a mapping of stages, got {type(tree).__name__}")
    for override in overrides:
        _apply(tree, override)
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path} does not hold together:\n{_explain(error)}") from error


def _apply(tree: dict[str, Any], override: str) -> None:
    dotted, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"an override looks like training.max_epochs=3, got {override!r}")
    *parents, leaf = dotted.strip().split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(f"override {override!r}: {parent!r} holds a value, so nothing can be set inside it")
    node[leaf] = yaml.safe_load(text)


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "experiment"
        lines.append(f"  {where}: {problem['msg']} (got {problem['input']!r:.80})")
    return "\n".join(lines)
