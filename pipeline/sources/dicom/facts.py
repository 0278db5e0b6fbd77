"""What a DICOM file says of itself that identifies nobody, and remarks on what was accepted all the same."""

import re
from datetime import date
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.sources.dicom.header import Values, numbers, text, whole_number

_ATTRIBUTES = {
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model_name",
    "BodyPartExamined": "body_part_examined",
    "ConvolutionKernel": "convolution_kernel",
    "MagneticFieldStrength": "magnetic_field_strength",
    "SliceThickness": "slice_thickness_mm",
}
KEYWORDS = (*_ATTRIBUTES, "StudyDate", "BitsAllocated", "BitsStored", "HighBit", "LossyImageCompression")
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # with dots: ACR-NEMA 2.0
_SYNTAX_TAG, _IMPLICIT, _EXPLICIT = b"\2\0\x10\0UI", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
_PROGRAMS = (b"\x7fELF", b"MZ", b"#!", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def attributes(values: Values) -> dict[str, str]:
    """``format`` and the technical attributes that the header gives, as text of at most 64 characters."""
    found = {"format": "dicom"}
    for keyword, name in _ATTRIBUTES.items():
        value = text(values, keyword)[:64]
        if value and value.isprintable():
            found[name] = value
    return found


def remarks(values: Values, path: Path) -> tuple[str, ...]:
    """What is odd about one file but does not keep it from being read right.

    Raises:
        SourceError: the header contradicts itself about which bits hold the value.
    """
    found = []
    allocated, stored = whole_number(values, "BitsAllocated"), whole_number(values, "BitsStored", 0)
    high = whole_number(values, "HighBit", stored - 1)
    if stored and high != stored - 1:
        if stored < allocated:
            raise SourceError(f"HighBit must be BitsStored - 1 (PS3.5 8.1.1), got {high} and {stored} of {allocated}")
        found.append(f"HighBit is {high}, though all {allocated} bits are stored: left aside")
    if not _is_date(text(values, "StudyDate")):
        found.append("StudyDate is no date")
    if text(values, "LossyImageCompression") == "01":
        found.append("the pixels were compressed with loss")
    with path.open("rb") as stream:
        head = stream.read(1024)
    if head.startswith(_PROGRAMS):
        found.append("the file's preamble looks like a program (PS3.10 7.1): it was not used")
    odd = _other_representations(head)
    if odd:
        found.append(odd)
    return tuple(found)


def _is_date(stated: str) -> bool:
    if not stated:
        return True
    parts = _DATE.fullmatch(stated)
    try:
        return parts is not None and bool(date(*(int(part) for part in parts.groups())))
    except ValueError:
        return False


def _other_representations(head: bytes) -> str:
    """Whether the first element behind the meta group has a value representation just where the transfer syntax says
    that it has none (PS3.5 7.1.2, 7.1.3).
    """
    at = head.find(_SYNTAX_TAG)
    if head[128:132] != b"DICM" or head[136:138] != b"UL" or at < 0:
        return ""
    behind = 144 + int.from_bytes(head[140:144], "little")
    representation = head[behind + 4 : behind + 6]
    has = len(representation) == 2 and representation.isalpha() and representation.isupper()
    syntax = head[at + 8 : at + 8 + int.from_bytes(head[at + 6 : at + 8], "little")].strip(b"\0 ")
    if has and syntax == _IMPLICIT:
        return "the file says that its elements have no value representations, but they have"
    if not has and syntax == _EXPLICIT and representation:
        return "the file says that its elements have value representations, but they have none"
    return ""


def millimetres(values: Values, *keywords: str) -> float | None:
    """The first of ``keywords`` that holds one number above 0."""
    for keyword in keywords:
        value = numbers(values, keyword, 1)
        if value is not None and value[0] > 0:
            return value[0]
    return None
