"""What may tell the volumes of one series apart, in the header's words and in ours."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.sources.dicom.header import Values, open_dataset

# Codes and short technical words may be shown; anything else of free text is numbered instead.
_WORD = re.compile(r"[A-Za-z0-9_+.\-]{1,16}")


@dataclass(frozen=True)
class Attribute:
    """``shown`` names one of several values; ``{}`` stands for the value. Without ``{}`` the values are numbered."""

    keyword: str
    shown: str

    def label(self, value: str, values: list[str]) -> str:
        """``value`` among all ``values`` of the series, in order."""
        if self.keyword == "ImageType":
            return _image_type(value, values)
        name = self.shown.replace("{}", "").split("  ")[0].strip()
        if not value:
            return f"without {name}"
        if "{}" in self.shown and (_is_number(value) or _WORD.fullmatch(value)):
            return self.shown.format(value)
        return f"{name} {values.index(value) + 1} of {len(values)}"


# In the order of preference: what was measured before how it was counted.
ATTRIBUTES = (
    Attribute("ImageType", "image type"),
    Attribute("ComplexImageComponent", "component {}"),
    Attribute("DiffusionBValue", "b-value {} s/mm2"),
    Attribute("EchoTime", "echo time {} ms"),
    Attribute("EchoNumbers", "echo {}"),
    Attribute("InversionTime", "inversion time {} ms"),
    Attribute("FlipAngle", "flip angle {} degrees"),
    Attribute("KVP", "tube voltage {} kV"),
    Attribute("ConvolutionKernel", "kernel {}"),
    Attribute("SliceThickness", "slice thickness {} mm"),
    Attribute("NominalPercentageOfCardiacPhase", "cardiac phase {} %"),
    Attribute("TemporalPositionIdentifier", "phase {}"),
    Attribute("TemporalPositionIndex", "phase {}"),
    Attribute("FrameReferenceTime", "frame reference time {} ms"),
    Attribute("TriggerTime", "trigger time {} ms"),
    Attribute("AcquisitionNumber", "acquisition {}"),
    Attribute("DiffusionGradientOrientation", "gradient direction"),
    Attribute("StackID", "stack {}"),
    Attribute("SequenceName", "sequence"),
    Attribute("RepetitionTime", "repetition time {} ms"),
    Attribute("FrameOfReferenceUID", "frame of reference"),
    Attribute("DimensionIndexValues", "dimension"),
)
# What slices of one kind but of several passes differ in, slice by slice; only their order at each place counts.
TIMES = ("TriggerTime", "AcquisitionTime", "AcquisitionDateTime", "ContentTime")
KEYWORDS = tuple(dict.fromkeys([*(attribute.keyword for attribute in ATTRIBUTES), *TIMES]))

Facts = Mapping[str, str]


def facts_of(values: Values) -> Facts:
    """The values of all `KEYWORDS` as text; numbers are written one way; empty where missing or unreadable."""
    return {keyword: as_text(values, keyword) for keyword in KEYWORDS}


def as_text(values: Values, keyword: str) -> str:
    """A value as text, several with backslashes between; empty where it is missing or unreadable."""
    try:
        value: Any = values.get(keyword)
    except Exception:
        return ""
    if value is None:
        return ""
    items = [value] if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else list(value)
    return "\\".join(_one(item, keyword) for item in items)


def private_facts(path: Path) -> Facts:
    """b-value and gradient direction as Siemens, GE and Philips write them, where the standard's are missing.

    Source: the vendors' DICOM conformance statements, as dcm2niix's notes on vendors sum them up.
    """
    dataset = open_dataset(path)
    found: dict[str, str] = {}
    for creator, group, element, keyword, read in _PRIVATE:
        try:
            found.setdefault(keyword, read(dataset.private_block(group, creator)[element].value))
        except (KeyError, ValueError, TypeError, IndexError):
            continue
    return found


def seconds(value: str) -> float:
    """A time of day (TM), a moment (DT) or a number, so that later is more.

    Raises:
        ValueError: none of these.
    """
    whole, _, part = value.replace(":", "").partition(".")
    if len(whole) == 6 and whole.isdigit():
        return int(whole[:2]) * 3600 + int(whole[2:4]) * 60 + int(whole[4:]) + float(f"0.{part or 0}")
    return float(value)


def sort_key(value: str) -> tuple[bool, float, str]:
    """Numbers by size, then words; what is missing comes first."""
    return (not _is_number(value) and value != "", float(value) if _is_number(value) else float("-inf"), value)


def _one(item: Any, keyword: str) -> str:
    text = str(item).strip("\0 ")
    if (keyword in TIMES and keyword != "TriggerTime") or keyword.endswith("UID") or not _is_number(text):
        return text
    return f"{float(text):.6g}"


def _is_number(value: str) -> bool:
    try:
        return abs(float(value)) < float("inf")
    except ValueError:
        return False


def _image_type(value: str, values: list[str]) -> str:
    """The components that not all values share: ``image type PHASE``."""
    parts = [set(one.split("\\")) for one in values]
    shared = set.intersection(*parts)
    own = [part for part in value.split("\\") if part not in shared]
    if own and all(_WORD.fullmatch(part) for part in own):
        return f"image type {' '.join(own)}"
    return f"image type {values.index(value) + 1} of {len(values)}"


def _number(value: Any) -> str:
    return f"{float(value):.6g}"


def _ge_b_value(value: Any) -> str:
    first = value if isinstance(value, int | float | str) else value[0]
    return f"{int(float(first)) % 1_000_000_000}"  # newer software adds 1e9


def _vector(value: Any) -> str:
    return "\\".join(f"{float(one):.6g}" for one in value)


_Read = Callable[[Any], str]
_PRIVATE: tuple[tuple[str, int, int, str, _Read], ...] = (
    ("SIEMENS MR HEADER", 0x0019, 0x0C, "DiffusionBValue", _number),
    ("SIEMENS MR HEADER", 0x0019, 0x0E, "DiffusionGradientOrientation", _vector),
    ("GEMS_PARM_01", 0x0043, 0x39, "DiffusionBValue", _ge_b_value),
    ("GEMS_ACQU_01", 0x0019, 0xBB, "DiffusionGradientOrientation", _number),
    ("Philips Imaging DD 001", 0x2001, 0x03, "DiffusionBValue", _number),
    ("Philips Imaging DD 001", 0x2001, 0x04, "DiffusionGradientOrientation", str),
)
