"""The patient's own names and numbers: found in one place of a header, they must be in no other."""

import re
from collections.abc import Iterator

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from pipeline.sources.deidentification.words import words

_NAMES = words("OtherPatientNames PatientBirthName PatientMotherBirthName PatientName")
_NUMBERS = words("""
    AccessionNumber AdmissionID InsurancePlanIdentification MedicalRecordLocator OtherPatientIDs PatientAddress
    PatientBirthDate PatientID PatientTelephoneNumbers ServiceEpisodeID
    """)
_NAME_PARTS = re.compile(rb"[\^=\\\s,]+")
# A shorter part would be found in half of all words; a short one counts as a word of its own only.
_SHORTEST_NAME, _SHORTEST_NUMBER, _ANYWHERE = 3, 4, 6
_NOBODY = frozenset((b"none", b"unknown", b"anonymous", b"anonymized", b"patient", b"name", b"test", b"phantom"))
_CUT_OUT = "REMOVED"
_BULK_BYTES = 1 << 20


class Identity:
    """The names and numbers of ``dataset``'s patient, searched for without regard to case."""

    def __init__(self, dataset: Dataset) -> None:
        needles = set(_needles(dataset))
        self._pattern = _pattern(needles)
        self._wide = [
            needle.decode("latin-1").encode(form) for needle in needles for form in ("utf-16-le", "utf-16-be")
        ]

    def is_in(self, value: bytes) -> bool:
        """Whether one of them stands in a value, in the header's encoding or in UTF-16."""
        if self._pattern is None or len(value) > _BULK_BYTES:
            return False
        lowered = value.lower()
        return self._pattern.search(value) is not None or any(wide in lowered for wide in self._wide)

    def out_of(self, text: str) -> str:
        """A text with blanks in the place of each of them."""
        if self._pattern is None:
            return text
        return self._pattern.sub(b" ", text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def cut_from(self, value: bytes) -> bytes:
        """A text with those of its values (between backslashes) that hold one of them replaced."""
        parts = value.split(b"\\")
        return b"\\".join(_CUT_OUT.encode() if self.is_in(part) else part for part in parts)


def _pattern(needles: set[bytes]) -> re.Pattern[bytes] | None:
    if not needles:
        return None
    forms = [
        re.escape(needle) if len(needle) >= _ANYWHERE else rb"(?<![a-z0-9])" + re.escape(needle) + rb"(?![a-z0-9])"
        for needle in sorted(needles, key=len, reverse=True)
    ]
    return re.compile(b"|".join(forms), re.IGNORECASE)


def _needles(dataset: Dataset) -> Iterator[bytes]:
    for keyword, value in _identifying(dataset):
        cleaned = value.strip(b" \0\t\r\n").lower()
        if keyword not in _NAMES:
            yield from (part for part in cleaned.split(b"\\") if len(part) >= _SHORTEST_NUMBER and part not in _NOBODY)
            continue
        for part in _NAME_PARTS.split(cleaned):
            if len(part) >= _SHORTEST_NAME and part not in _NOBODY:
                yield part


def _identifying(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    """Keyword and raw value, at every depth."""
    for tag in list(dataset.keys()):
        keyword = keyword_for_tag(tag)
        item = dataset.get_item(tag)
        if keyword in _NAMES or keyword in _NUMBERS:
            raw = item.value if isinstance(item, RawDataElement) else str(item.value).encode("utf-8", "surrogateescape")
            yield keyword, raw or b""
        elif keyword.endswith("Sequence"):
            yield from _nested(dataset, tag)


def _nested(dataset: Dataset, tag: int) -> Iterator[tuple[str, bytes]]:
    try:
        items = dataset[tag].value
    except Exception:  # a sequence that cannot be read is taken away later
        return
    for item in items or ():
        if isinstance(item, Dataset):
            yield from _identifying(item)
