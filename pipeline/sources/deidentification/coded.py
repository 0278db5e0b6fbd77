"""Codes that are in the standard's own context groups: such a code, with its published meaning, identifies nobody."""

from functools import cache

from pydicom.dataset import Dataset

_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")


def is_code(item: Dataset) -> bool:
    """Whether a sequence's item is a coded entry (PS3.3 8.8)."""
    return any(keyword in item for keyword in _VALUES)


def meaning_of(item: Dataset) -> str | None:
    """A published meaning of a coded entry: its own if it is one; `None` for a code that PS3.16 does not hold."""
    try:
        value = next(str(item[keyword].value) for keyword in _VALUES if keyword in item)
        scheme, stated = (str(item.get(one, "")) for one in ("CodingSchemeDesignator", "CodeMeaning"))
    except Exception:  # a value that cannot be decoded is no published code
        return None
    meanings = _published().get((_designator(scheme), _current(scheme, value)), [None])
    return stated if stated in meanings else meanings[0]


@cache
def _published() -> dict[tuple[str, str], list[str]]:
    from pydicom.sr.codedict import codes

    meanings: dict[tuple[str, str], list[str]] = {}
    for scheme in codes.schemes():
        for code in getattr(codes, scheme).concepts.values():
            meanings.setdefault((code.scheme_designator, code.value), []).append(code.meaning)
    return meanings


def _designator(scheme: str) -> str:
    """SNOMED CT's designator of today for its former ones (PS3.16 8.1)."""
    return "SCT" if scheme in ("SRT", "SNM3", "99SDM") else scheme


def _current(scheme: str, value: str) -> str:
    if _designator(scheme) == scheme:
        return value
    from pydicom.sr._snomed_dict import mapping

    return mapping["SRT"].get(value, value)
