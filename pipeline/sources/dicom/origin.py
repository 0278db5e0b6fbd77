"""What an object about a scan must say of the DICOM files that the scan was read from.

`describe` reads their headers and runs where untrusted files are decoded; an `Origin` is what comes back. It holds
patient identifiers, since an object of the same study must repeat them: never log it, nor write it but into DICOM.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from pipeline.errors import SourceError
from pipeline.sources.dicom.functional_groups import FrameValues, FunctionalGroups
from pipeline.sources.dicom.header import numbers, open_dataset, text, whole_number

# Patient, Patient Study, General Study and Clinical Trial modules (PS3.3 C.7.1, C.7.2), Frame of Reference (C.7.4.1).
_WHOSE = (
    "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientBirthTime PatientSex PatientIdentityRemoved "
    "DeidentificationMethod DeidentificationMethodCodeSequence PatientAge PatientSize PatientWeight "
    "ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID "
    "ClinicalTrialSubjectID ClinicalTrialSubjectReadingID ClinicalTrialTimePointID StudyInstanceUID StudyDate "
    "StudyTime ReferringPhysicianName StudyID AccessionNumber StudyDescription FrameOfReferenceUID "
    "PositionReferenceIndicator"
)
# What places an object's frames or points on a slide, and whose tissue it is (C.7.6.22, C.8.12.4, C.8.12.5).
_SLIDE = (
    "ContainerIdentifier IssuerOfTheContainerIdentifierSequence ContainerTypeCodeSequence "
    "SpecimenDescriptionSequence TotalPixelMatrixColumns TotalPixelMatrixRows TotalPixelMatrixFocalPlanes "
    "TotalPixelMatrixOriginSequence ImageOrientationSlide ImagedVolumeWidth ImagedVolumeHeight ImagedVolumeDepth"
)
_OTHER = (
    "Modality Rows Columns SeriesDate SeriesTime AcquisitionDate AcquisitionTime AcquisitionDateTime ContentDate "
    "ContentTime PixelSpacing ImageType"
)
_SEXES = ("M", "F", "O")
# Representations that are text, in which invalid values are met; numbers of bytes cannot be invalid.
_CHECKED = ("AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI")


@dataclass(frozen=True)
class OriginInstance:
    """One file. ``places`` has a row a frame: ImagePositionPatient, ImageOrientationPatient; empty where not stated."""

    sop_class: str
    instance_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    study_uid: str = field(repr=False)
    frames: int = 1
    places: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Origin:
    """``header`` is that of the first instance, as DICOM JSON (PS3.18 annex F), of chosen elements that are valid.

    ``left_out`` names those that were not, so that they are missing from what is made of it.
    """

    instances: tuple[OriginInstance, ...]
    header: dict[str, Any] = field(repr=False)
    left_out: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Origin":
        instances = [OriginInstance(**{**one, "places": tuple(map(tuple, one["places"]))}) for one in said["instances"]]
        return cls(tuple(instances), said["header"], tuple(said["left_out"]))

    def dataset(self) -> Dataset:
        """The header as a data set, with the first instance's identifiers."""
        made = Dataset.from_json(self.header)
        first = self.instances[0]
        made.SOPClassUID, made.SOPInstanceUID = first.sop_class, first.instance_uid
        made.StudyInstanceUID, made.SeriesInstanceUID = first.study_uid, first.series_uid
        return made


def describe(paths: list[Path]) -> dict[str, Any]:
    """``origins``: an `Origin` as JSON for each series among the files of one volume, in their order.

    A file that is there twice counts once.

    Raises:
        SourceError: a file is no DICOM image or lacks the identifiers that refer to it.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        dataset = open_dataset(path)
        one = _instance(dataset)
        if one.series_uid not in found:
            header, left_out = _header(dataset)
            found[one.series_uid] = {"instances": {}, "header": header, "left_out": left_out}
        found[one.series_uid]["instances"].setdefault(one.instance_uid, asdict(one))
    if not found:
        raise SourceError("a scan must come from at least one DICOM file, got none")
    return {"origins": [{**one, "instances": list(one["instances"].values())} for one in found.values()]}


def _instance(dataset: Dataset) -> OriginInstance:
    uids = [text(dataset, f"{one}UID") for one in ("SOPClass", "SOPInstance", "SeriesInstance", "StudyInstance")]
    if not all(uids):
        raise SourceError("an object can refer to an image with SOP class, instance, series and study UIDs only")
    for uid in uids:
        _check("UI", uid)
    count = whole_number(dataset, "NumberOfFrames", 1)
    sop_class, instance, series, study = uids
    return OriginInstance(sop_class, instance, series, study, count, _places(dataset, count))


def _places(dataset: Dataset, count: int) -> tuple[tuple[float, ...], ...]:
    if "TotalPixelMatrixColumns" in dataset:
        return ()
    groups = FunctionalGroups.of(dataset, count)
    found = []
    for frame in range(count):
        values = FrameValues(groups, frame)
        position = numbers(values, "ImagePositionPatient", 3)
        turned = numbers(values, "ImageOrientationPatient", 6)
        if position is None or turned is None:
            return ()
        found.append((*position, *turned))
    return tuple(found)


def _header(dataset: Dataset) -> tuple[dict[str, Any], tuple[str, ...]]:
    kept, left_out = Dataset(), []
    for keyword in f"{_WHOSE} {_SLIDE} {_OTHER}".split():
        if keyword not in dataset:
            continue
        try:
            element = dataset[keyword]
            _check_element(element.VR, keyword, element.value)
            json = element.to_json_dict(None, 0)
        except Exception:
            left_out.append(keyword)
        else:
            kept[keyword] = element
            assert json is not None
    return kept.to_json_dict(), tuple(left_out)


def _check_element(vr: str, keyword: str, value: Any) -> None:
    if keyword == "PatientSex" and value and value not in _SEXES:
        raise SourceError(f"PatientSex must be one of {', '.join(_SEXES)}")
    if vr in _CHECKED and value is not None:
        for one in value if hasattr(value, "append") else [value]:
            _check(vr, str(one))


def _check(vr: str, value: str) -> None:
    """Raise `SourceError` where a value breaks its representation's rules (PS3.5 6.2), without quoting it."""
    try:
        validate_value(vr, value, config.RAISE)
    except ValueError as error:
        raise SourceError(f"a value of representation {vr} breaks DICOM's rules: nothing can refer to it") from error
