"""Classes and quantities as codes.

A class whose name is known here gets the standard's code (SNOMED CT as PS3.16 uses it). Any other class keeps its name
under cellscan's own scheme, so that nothing is said that its annotators did not say.
"""

import hashlib
from dataclasses import dataclass

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

OWN_SCHEME = "99CELLSCAN"
MORPHOLOGY = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY = CodedConcept("91723000", "SCT", "Anatomical Structure")
NOT_DETECTED = CodedConcept("260415000", "SCT", "Not detected")
FINDING = CodedConcept("121071", "DCM", "Finding")
CERTAINTY = CodedConcept("111012", "DCM", "Certainty of Finding")
LONG_AXIS = CodedConcept("103339001", "SCT", "Long axis")
SHORT_AXIS = CodedConcept("103340004", "SCT", "Short axis")
HEIGHT = CodedConcept("121207", "DCM", "Height")
VOLUME = CodedConcept("118565006", "SCT", "Volume")
AREA = CodedConcept("42798000", "SCT", "Area")
OF_THE_BOX = CodedConcept("box", OWN_SCHEME, "Of the bounding box")
OF_THE_OUTLINE = CodedConcept("outline", OWN_SCHEME, "Of the outline")
NETWORK = CodedConcept("123110", "DCM", "Artificial Intelligence")
PERCENT = CodedConcept("%", "UCUM", "Percent")
MM = CodedConcept("mm", "UCUM", "mm")
MM2 = CodedConcept("mm2", "UCUM", "mm2")
MM3 = CodedConcept("mm3", "UCUM", "mm3")

_KNOWN = {
    "lesion": ("52988006", "Lesion", True),
    "nodule": ("27925004", "Nodule", True),
    "mass": ("4147007", "Mass", True),
    "tumour": ("108369006", "Neoplasm", True),
    "tumor": ("108369006", "Neoplasm", True),
    "neoplasm": ("108369006", "Neoplasm", True),
    "nucleus": ("84640000", "Nucleus", False),
    "cell nucleus": ("84640000", "Nucleus", False),
    "cell": ("4421005", "Cell", False),
}
_VALUE_LENGTH, _MEANING_LENGTH = 16, 64


@dataclass(frozen=True, eq=False)
class Coded:
    """``category`` and ``type`` of a class's objects."""

    category: CodedConcept
    type: CodedConcept


def coded(name: str) -> Coded:
    """A class as a code: by its name in any case, with ``_`` as a blank; else under `OWN_SCHEME`."""
    known = _KNOWN.get(name.strip().lower().replace("_", " "))
    if known is None:
        return Coded(MORPHOLOGY, CodedConcept(_own_value(name), OWN_SCHEME, name[:_MEANING_LENGTH]))
    value, meaning, abnormal = known
    return Coded(MORPHOLOGY if abnormal else ANATOMY, CodedConcept(value, "SCT", meaning))


def own_schemes() -> list[CodingSchemeIdentificationItem]:
    """What the scheme of one's own is, for objects that use it (PS3.3 C.12.1)."""
    return [CodingSchemeIdentificationItem(OWN_SCHEME, name="cellscan classes and methods")]


def _own_value(name: str) -> str:
    """A code value has 16 characters at most: longer names end in a digest."""
    if len(name) <= _VALUE_LENGTH:
        return name
    return f"{name[:7]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
