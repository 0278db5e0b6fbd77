"""What is done to each attribute: PS3.15 Table E.1-1 with the chosen options, and stricter where it says nothing."""

from functools import cache
from typing import Literal

from pydicom.datadict import dictionary_VR, keyword_for_tag

from pipeline.sources.deidentification import columns
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.words import words

# What is done to one element. The last four are about the items of a sequence:
# items: as everywhere; dummies: every value replaced; references: nothing but UIDs stays; texts: cleaned.
Verb = Literal[
    "remove", "empty", "replace", "remap", "shift", "keep date", "keep offset", "clean", "keep", "scrub",
    "items", "dummies", "references", "texts",
]  # fmt: skip
# How the items of a sequence are gone through.
Manner = Literal["items", "dummies", "references", "texts"]

# The library's lists, by the action code of the table.
_CODES = {
    "D": "D_TAGS",
    "Z": "Z_TAGS",
    "X": "X_TAGS",
    "U": "U_TAGS",
    "Z/D": "Z_D_TAGS",
    "X/Z": "X_Z_TAGS",
    "X/D": "X_D_TAGS",
    "X/Z/D": "X_Z_D_TAGS",
    "X/Z/U*": "X_Z_U_STAR_TAGS",
}
# A compound code leaves the choice to the IOD's type. What is right for the strictest type is right for all: a value
# becomes a dummy, or nothing where the code allows no dummy.
_VERBS: dict[str, Verb] = {
    "D": "replace", "Z": "empty", "X": "remove", "U": "remap", "Z/D": "replace", "X/Z": "empty", "X/D": "replace",
    "X/Z/D": "replace", "X/Z/U*": "references",
}  # fmt: skip
# Not in the table, but named so that they can hold identity: taken away.
_ALSO_REMOVED = words("""
    AssertionComments CommentsOnTheScheduledProcedureStep EncryptedAttributesSequence FilenameInContainer
    FillerOrderNumberImagingServiceRequestRetired FillerOrderNumberProcedure HL7InstanceIdentifier
    IdentificationDescriptionTrial IssuerOfAccessionNumberSequence IssuerOfPatientIDQualifiersSequence
    MACParametersSequence OrderFillerIdentifierSequence OrderPlacerIdentifierSequence PatientAlternativeCalendar
    PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar
    PlacerOrderNumberImagingServiceRequestRetired PlacerOrderNumberProcedure ReportStatusCommentTrial RetrieveURI
    RetrieveURL SpecimenDescriptionTrial SubstanceAdministrationDeviceID SubstanceAdministrationNotes
    UniformResourceLocatorTrial
    """)
# UIDs that name a kind of thing, not a thing.
_KINDS = words("""
    AvailableTransferSyntaxUID CodingSchemeUID ContextUID EncryptedContentTransferSyntaxUID FlowTransferSyntaxUID
    MACCalculationTransferSyntaxUID MappingResourceUID OriginalSpecializedSOPClassUID PertinentSOPClassesInSeries
    PertinentSOPClassesInStudy ReferencedSOPClassUID ReferencedSOPClassUIDInFile ReferencedTransferSyntaxUIDInFile
    RelatedGeneralSOPClassUID SOPClassUID SOPClassesInStudy SOPClassesSupported StoredInstanceTransferSyntaxUID
    """)
# What stays in a reference: what it points at, and why.
_REFERENCE = words("""
    CodeMeaning CodeValue CodingSchemeDesignator PurposeOfReferenceCodeSequence ReferencedFrameNumber
    ReferencedSOPClassUID ReferencedSOPInstanceUID ReferencedSegmentNumber
    """)
_DATED = ("DA", "TM", "DT")
_TEXTS = ("CS", "LO", "LT", "SH", "ST", "UC", "UT")
_FIRST_GROUP = 0x0008


class Rules:
    """The verb for each attribute under ``options``."""

    def __init__(self, options: DeidentifyOptions) -> None:
        self._options = options
        self._chosen = {tag: self._choose(tag, code) for tag, code in table().items()}

    def verb(self, tag: int, vr: str, manner: Manner) -> Verb:
        """What is done to a public element of value representation ``vr`` among items of this ``manner``."""
        if manner == "references" and _keyword(tag) not in _REFERENCE:
            return "remove"
        chosen = self._chosen.get(tag) or self._unlisted(tag, vr)
        if chosen == "replace" and vr == "SQ":
            return "references" if _keyword(tag).startswith("Referenced") else "dummies"
        if chosen == "items" and manner != "items":
            return manner
        if chosen in ("scrub", "keep") and manner == "dummies":
            return "keep" if vr == "UI" else "replace"
        return "clean" if chosen == "scrub" and manner == "texts" and vr in _TEXTS else chosen

    def without_words(self, tag: int) -> Verb:
        """What is done to a text of which cleaning leaves nothing."""
        verb = _VERBS[table().get(tag, "D")]
        return "replace" if verb in ("remap", "references") else verb

    def _choose(self, tag: int, code: str) -> Verb:
        keyword, vr = _keyword(tag), _vr(tag)
        if self._is_kept(keyword, code):
            return "items" if vr == "SQ" else "keep"
        if vr in _DATED and keyword not in columns.NEVER_DATED and self._options.dates != "remove":
            return "shift" if self._options.dates == "shift" else "keep date"
        if keyword == "TimezoneOffsetFromUTC" and self._options.dates != "remove":
            return "keep offset"
        if self._is_cleaned(keyword):
            return "texts" if vr == "SQ" else "clean"
        return _VERBS[code]

    def _is_kept(self, keyword: str, code: str) -> bool:
        options = self._options
        return (
            (options.retain_uids and (code == "U" or keyword in columns.UIDS_KEEP))
            or (options.retain_device and keyword in columns.DEVICE_KEEPS)
            or (options.retain_institution and keyword in columns.INSTITUTION_KEEPS)
            or (options.retain_patient_characteristics and keyword in columns.PATIENT_KEEPS)
        )

    def _is_cleaned(self, keyword: str) -> bool:
        options = self._options
        return (
            (options.clean_descriptors and keyword in columns.DESCRIPTORS_CLEAN)
            or (options.retain_patient_characteristics and keyword in columns.PATIENT_CLEANS)
            or (options.clean_structured_content and keyword in columns.STRUCTURED_CLEANS)
            or (options.clean_graphics and keyword in columns.GRAPHICS_CLEANS)
        )

    def _unlisted(self, tag: int, vr: str) -> Verb:
        """An attribute that the table does not name."""
        keyword = _keyword(tag)
        if tag >> 16 < _FIRST_GROUP or tag & 0xFFFF == 0 or not keyword or vr == "UN" or keyword in _ALSO_REMOVED:
            return "remove"
        if _is_graphic_plane(tag):
            return "remove"
        if vr == "SQ":
            return "items"
        if vr == "UI":
            return "keep" if keyword in _KINDS or self._options.retain_uids else "remap"
        if vr in _DATED:
            return {"remove": "replace", "shift": "shift", "keep": "keep date"}[self._options.dates]  # type: ignore[return-value]
        return "replace" if vr in ("PN", "AE", "AS") or (vr == "UR" and keyword != "CodingSchemeURL") else "scrub"


@cache
def table() -> dict[int, str]:
    """Tag → action code of the table's basic profile; repeating groups and private attributes are no single tags."""
    from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as fields

    return {
        one[0] << 16 | one[1]: code for code, name in _CODES.items() for one in getattr(fields, name) if len(one) == 2
    }


def _is_graphic_plane(tag: int) -> bool:
    """Curves (50xx) and overlays (60xx): without their data, the attributes that describe the data mean nothing."""
    return tag >> 24 in (0x50, 0x60)


def _keyword(tag: int) -> str:
    return keyword_for_tag(tag)


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
