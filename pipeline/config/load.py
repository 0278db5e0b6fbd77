"""YAML file and dotted overrides → a validated experiment; a YAML file → a validated policy."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config.detector import DEFAULT_DETECTOR
from pipeline.config.experiment import ExperimentConfig
from pipeline.config.policy import Policy
from pipeline.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would keep the last without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[Hashable] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.composer.ComposerError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.update({name} if name else ())
        return node


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read one experiment.

    Args:
        path: a YAML file.
        overrides: ``key.path=value`` strings; the value is read as YAML (``training.max_epochs=3``).

    Raises:
        ConfigError: the file is missing, an override has no ``=``, or a value does not hold; the message names
            each key with what was expected and what came.
    """
    tree = _tree(path, "experiment", "stages")
    for override in overrides:
        _apply(tree, override)
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path} does not hold together:\n{_explain(error, 'experiment', tree)}") from error


def load_policy(path: Path) -> Policy:
    """Read one promotion policy.

    Raises:
        ConfigError: the file is missing, or a value does not hold; the message names each key.
    """
    tree = _tree(path, "policy", "demands")
    try:
        return Policy.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path} does not hold together:\n{_explain(error, 'policy', tree)}") from error


def _tree(path: Path, what: str, parts: str) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"no {what} file at {path}")
    try:
        tree = _read(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold a mapping of {parts}, got {type(tree).__name__}")
    return tree


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
    try:
        node[leaf] = _read(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not valid YAML: {error}") from error


def _read(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _explain(error: ValidationError, whole: str, tree: dict[str, Any]) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(_key(problem["loc"], tree)) or whole
        lines.append(f"  {where}: {problem['msg']} (got {problem['input']!r:.80})")
    return "\n".join(lines)


def _key(place: Sequence[int | str], tree: dict[str, Any]) -> list[str]:
    """Where pydantic found a problem, without the names of kinds, which it puts in between and nobody wrote."""
    key: list[str] = []
    node: Any = tree
    for part in place:
        if isinstance(node, dict):
            if part not in node and part == node.get("kind", DEFAULT_DETECTOR):
                continue
            node = node.get(part, {})
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part]
        else:  # a value where several kinds of mapping would do
            continue
        key.append(str(part))
    return key
