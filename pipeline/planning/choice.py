"""One value of an experiment and why it is so."""

from dataclasses import dataclass
from math import isnan
from typing import Any


@dataclass(frozen=True)
class Choice:
    """``key``: dotted path in the experiment; ``value``: what YAML can hold; ``reason``: a sentence with numbers."""

    key: str
    value: Any
    reason: str


def number(value: float) -> str:
    """Three digits, without an exponent or trailing zeros: 0.703, 12, 1050; "none" of NaN."""
    if isnan(value):
        return "none"
    if value == 0:
        return "0"
    text = f"{value:.3g}"
    return f"{float(text):.0f}" if "e" in text else text


def numbers(values: object) -> str:
    """``0.703 x 0.703 x 1.25``."""
    return " x ".join(number(float(value)) for value in values)  # type: ignore[attr-defined]


def significant(value: float, digits: int = 3) -> float:
    """Rounded to so many digits: two machines that differ in the last bit write the same file."""
    return float(f"{value:.{digits}g}")
