"""Text in the pixels, which no header rule takes away: told from what the header says of the image."""

from pydicom.dataset import Dataset
from pydicom.uid import UID

from pipeline.sources.deidentification.elements import texts

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Classes whose pictures are drawn on by the device, are photographs, or are copies of a screen or a paper.
_PRONE = {
    "3": "ultrasound", "3.1": "ultrasound", "6": "ultrasound", "6.1": "ultrasound", "6.2": "ultrasound",
    "7": "secondary capture", "7.1": "secondary capture", "7.2": "secondary capture", "7.3": "secondary capture",
    "7.4": "secondary capture", "77.1.1": "endoscopic", "77.1.1.1": "endoscopic", "77.1.4": "photographic",
    "77.1.4.1": "photographic", "77.1": "photographic", "77.2": "photographic",
}  # fmt: skip
_PRONE_TYPES = frozenset(("LABEL", "OVERVIEW", "SCREEN SAVE", "SCREENSHOT", "SCREEN SHOT", "SCREEN"))
_CONVERSIONS = frozenset(("DF", "DI", "DRW", "DV", "SD", "SI", "SYN", "WSD"))
_DOCUMENTS = frozenset(f"{_STORAGE}104.{number}" for number in range(1, 6))
DIRECTORY = "1.2.840.10008.1.3.10"
_STANDARD = "1.2.840.10008."
MISSING = "BurnedInAnnotation is missing"


def no_way(dataset: Dataset) -> str:
    """Why an object cannot be de-identified at all; empty if it can."""
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class in _DOCUMENTS:
        return "an encapsulated document cannot be de-identified by rules of attributes"
    if not sop_class.startswith(_STANDARD):
        return "a private kind of object: what it holds is not known"
    if _has_overlay_in_pixels(dataset):
        return "an overlay lies in unused bits of the pixel data, which are not changed"
    return ""


def suspicion(dataset: Dataset) -> str:
    """Why text may be burned into the pixels; empty if nothing speaks for it."""
    said = _value(dataset, "BurnedInAnnotation")
    if said == "YES":
        return "BurnedInAnnotation is YES"
    if _value(dataset, "SpecimenLabelInImage") == "YES":
        return "the image shows the slide's label"
    kinds = {one.upper() for one in _values(dataset, "ImageType")} & _PRONE_TYPES
    if kinds:
        return f"ImageType says {min(kinds)}"
    if said == "NO":
        return ""
    leaf = str(dataset.get("SOPClassUID", "")).removeprefix(_STORAGE)
    if leaf in _PRONE:
        return f"{_PRONE[leaf]} images are prone to it, and BurnedInAnnotation is not NO"
    if _value(dataset, "ConversionType") in _CONVERSIONS:
        return "a copy of a screen, a film or a document, and BurnedInAnnotation is not NO"
    return ""


def flags(dataset: Dataset) -> list[str]:
    """What a person should look at, though the file is taken."""
    told = []
    if _is_image(dataset) and _value(dataset, "BurnedInAnnotation") not in ("YES", "NO"):
        told.append(MISSING)
    if _value(dataset, "RecognizableVisualFeatures") == "YES":
        told.append("RecognizableVisualFeatures is YES")
    return told


def _is_image(dataset: Dataset) -> bool:
    name = UID(str(dataset.get("SOPClassUID", ""))).name
    return "Image Storage" in name and "Rows" in dataset


def _has_overlay_in_pixels(dataset: Dataset) -> bool:
    planes = [group for group in range(0x6000, 0x6100, 2) if (group, 0x0102) in dataset]
    return any((group, 0x3000) not in dataset and dataset[group, 0x0102].value for group in planes)


def _value(dataset: Dataset, keyword: str) -> str:
    values = _values(dataset, keyword)
    return values[0].strip().upper() if values else ""


def _values(dataset: Dataset, keyword: str) -> list[str]:
    return texts(dataset, dataset[keyword].tag) if keyword in dataset else []
