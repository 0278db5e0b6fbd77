"""The attributes that tell of a de-identification (PS3.15 E.1.1, PS3.3 C.7.1.1 and C.12.1)."""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from pipeline.sources.deidentification.options import EDITION, DeidentifyOptions

_METHOD = f"DICOM PS3.15 {EDITION} annex E, by cellscan"
_TEMPORAL = {"remove": "REMOVED", "shift": "MODIFIED", "keep": "UNMODIFIED"}
# What somebody did to the pixels before remains done.
_OF_PIXELS = frozenset(("113101", "113102"))


def record(dataset: Dataset, options: DeidentifyOptions) -> None:
    """Write into ``dataset`` that, and how, it was de-identified."""
    before = _codes_of_pixels(dataset)
    meanings = {code.value: code.meaning for code in codes.cid7050.concepts.values()}
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = _METHOD
    chosen = sorted({*options.codes, *before})
    dataset.DeidentificationMethodCodeSequence = Sequence([_item(value, meanings[value]) for value in chosen])
    dataset.LongitudinalTemporalInformationModified = _TEMPORAL[options.dates]


def _codes_of_pixels(dataset: Dataset) -> set[str]:
    try:
        items = list(dataset.get("DeidentificationMethodCodeSequence") or ())
        return {str(item.get("CodeValue", "")) for item in items} & _OF_PIXELS
    except Exception:  # a sequence that cannot be read says nothing
        return set()


def _item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
