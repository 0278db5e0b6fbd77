"""What every configuration model shares."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Config(BaseModel):
    """Frozen, without room for a misspelt key, and without ``true`` where a number belongs.

    Text stays a number where it reads as one: YAML 1.1 takes ``1e-3`` for text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, given: Any) -> Any:
        for name, field in cls.model_fields.items() if isinstance(given, dict) else ():
            number = _names(field.annotation, (int, float)) and not _names(field.annotation, (bool,))
            if number and _holds_bool(given.get(name)):
                raise ValueError(f"{name} must be a number, and true and false are none")
        return given


def _holds_bool(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_bool(one) for one in value)
    return isinstance(value, bool)


def _names(annotation: Any, kinds: tuple[type, ...]) -> bool:
    """Whether one of ``kinds`` is in an annotation such as ``tuple[float, ...] | None``."""
    return annotation in kinds or any(_names(part, kinds) for part in get_args(annotation))
