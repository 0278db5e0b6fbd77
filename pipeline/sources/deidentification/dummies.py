"""Dummy values, by value representation: what action D of PS3.15 puts in the place of a value."""

from collections.abc import Callable
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from pipeline.sources.deidentification import elements
from pipeline.sources.deidentification.dates import DUMMIES
from pipeline.sources.deidentification.pseudonyms import Pseudonyms
from pipeline.sources.deidentification.words import words

REMOVED = "REMOVED"
_FIXED: dict[str, Any] = {
    **DUMMIES, "AE": "ANON", "AS": "000Y", "CS": "ANON", "LT": REMOVED, "ST": REMOVED, "UC": REMOVED, "UT": REMOVED,
    "UR": "http://removed.invalid",
}  # fmt: skip
_NUMBERS = words("FD FL SL SS SV UL US UV")
_BYTES = words("OB OD OF OL OV OW UN")
# What holds a report's tree together: its numbers of points, and the terms that PS3.3 enumerates for it.
_COUNTS = frozenset(("GraphicDimensions", "NumberOfGraphicPoints"))
_TERMS = words("""
    CODE COMPOSITE CONTAINER CONTINUOUS CONTAINS DATE DATETIME DCMR DISPLAY ELLIPSE ELLIPSOID IMAGE IMPLICIT
    INTERPOLATED MATRIX MULTIPOINT N NUM PIXEL PNAME POINT POLYGON POLYLINE CIRCLE SCOORD SCOORD3D SEPARATE TABLE
    FRAME VOLUME TCOORD TEXT TIME UIDREF WAVEFORM Y
    """) | {
    "HAS ACQ CONTEXT", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS PROPERTIES", "INFERRED FROM", "SELECTED FROM",
}  # fmt: skip


def dummy(value: Any, vr: str, pseudonyms: Pseudonyms) -> Any:
    """A value of the same number of parts that tells nothing; one identifier, one pseudonym."""
    if vr in _BYTES:
        return b"\0\0"
    several = not isinstance(value, str | bytes) and hasattr(value, "__iter__") and vr not in ("PN", "SQ")
    make = _maker(vr, pseudonyms)
    return [make(one) for one in value] if several else make(value)


def _maker(vr: str, pseudonyms: Pseudonyms) -> Callable[[Any], Any]:
    if vr in _FIXED:
        return lambda one: _FIXED[vr]
    if vr in _NUMBERS:
        return lambda one: 1
    if vr in ("DS", "IS"):
        return lambda one: "1"
    if vr == "AT":
        return lambda one: 0
    if vr == "UI":
        return lambda one: pseudonyms.uid(str(one))
    return lambda one: pseudonyms.text(str(one))


def is_structure(dataset: Dataset, tag: BaseTag) -> bool:
    """Whether an element tells how a structured report hangs together, and nothing else."""
    vr = elements.vr_of(dataset, tag)
    if vr in ("IS", "US", "UL"):
        return keyword_for_tag(tag) in _COUNTS
    if vr != "CS":
        return False
    return all(one in _TERMS or (one.isdigit() and len(one) <= 5) for one in elements.texts(dataset, tag))
