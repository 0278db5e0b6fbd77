"""Which DICOM objects hold scans or annotations, by their SOP class (PS3.6 annex A, PS3.4 annex B.5)."""

from typing import Literal

HeaderKind = Literal["slice", "plane", "enhanced", "slide", "annotation", "directory", "ignored"]

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_DIRECTORY = "1.2.840.10008.1.3.10"
_CROSS_SECTIONAL = {
    f"{_STORAGE}2": "CT Image Storage",
    f"{_STORAGE}4": "MR Image Storage",
    f"{_STORAGE}128": "PET Image Storage",
}
_ENHANCED = {
    f"{_STORAGE}2.1": "Enhanced CT",
    f"{_STORAGE}2.2": "Legacy Converted Enhanced CT",
    f"{_STORAGE}4.1": "Enhanced MR",
    f"{_STORAGE}4.3": "Enhanced MR Color",
    f"{_STORAGE}4.4": "Legacy Converted Enhanced MR",
    f"{_STORAGE}130": "Enhanced PET",
    f"{_STORAGE}128.1": "Legacy Converted Enhanced PET",
}
# Many frames without functional groups: their frames have no place each.
_CINE = {
    f"{_STORAGE}3.1": "Ultrasound Multi-frame",
    f"{_STORAGE}20": "Nuclear Medicine",
}
_SLIDE = f"{_STORAGE}77.1.6"
_ANNOTATIONS = {
    f"{_STORAGE}{leaf}"
    for leaf in (
        "66.4",  # Segmentation
        "66.7",  # Label Map Segmentation
        "481.3",  # RT Structure Set
        "91.1",  # Microscopy Bulk Simple Annotations
        # Structured reports that may measure in images; dose reports, logs and key objects do not.
        *("88.11", "88.22", "88.33", "88.34", "88.35", "88.50", "88.65", "88.69"),
    )
}
# One picture a file: projection X-ray, ultrasound, secondary capture, visible light.
_PLANE_PREFIXES = tuple(f"{_STORAGE}{leaf}" for leaf in ("1", "1.1", "1.2", "1.3", "6.1", "7", "12.1", "12.2", "77.1"))


def kind_of(sop_class: str) -> HeaderKind:
    """How files of this class are read."""
    if sop_class in _CROSS_SECTIONAL:
        return "slice"
    if sop_class in _ENHANCED:
        return "enhanced"
    if sop_class == _SLIDE:
        return "slide"
    if sop_class in _ANNOTATIONS:
        return "annotation"
    if sop_class == _DIRECTORY:
        return "directory"
    if sop_class in _CINE or any(sop_class == one or sop_class.startswith(one + ".") for one in _PLANE_PREFIXES):
        return "plane"
    return "ignored"


def is_cross_sectional(sop_class: str) -> bool:
    return sop_class in _CROSS_SECTIONAL


def multi_frame_name(sop_class: str) -> str | None:
    """The name of a class whose files hold many frames, else `None`."""
    return _ENHANCED.get(sop_class) or _CINE.get(sop_class)
