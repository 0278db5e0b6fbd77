"""Detections → a structured report of image measurements (PS3.16 TID 1500), one measurement group a detection.

==========  ==========================================================================================================
scan        group and region
==========  ==========================================================================================================
volume      TID 1411. ``surface``: the six faces of the box as a Volume Surface (SCOORD3D POLYGON, LPS mm), exact at
            any orientation. ``slices``: the box's rectangle on every slice whose centre it holds, or on the nearest one
            (SCOORD POLYLINE), which viewers draw that know regions on images only; extents are whole slices then.
picture     TID 1410, the outline or else the box (SCOORD POLYLINE), in pixels from the outer edge of the first one; of
            a slide's total pixel matrix
==========  ==========================================================================================================

Measurements: the score as Certainty of Finding in per cent; of the box in mm, along the array axes: Long and Short axis
(the longer and the shorter edge within the slice or picture), Height (across slices), Volume or Area. Sizes are left
out where a picture has none in mm. A report without detections says "Finding: Not detected" under Qualitative
Evaluations: TID 1500 wants one of its containers, and measurements there are none.
"""

import highdicom as hd
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from pipeline.detections.detection import Detections
from pipeline.detections.dicom import codes
from pipeline.detections.dicom.groups import Group, Groups
from pipeline.detections.dicom.identity import Author, Identity, common, identify, settle, subject
from pipeline.detections.dicom.regions import Regions
from pipeline.sources.dicom.origin import Origin

SERIES_NUMBER = 7001
_TITLE = CodedConcept("126000", "DCM", "Imaging Measurement Report")
_PROCEDURE = CodedConcept("363679005", "SCT", "Imaging procedure")
_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
_DEVICE = CodedConcept("121007", "DCM", "Device")
_SOP = {2: hd.sr.ComprehensiveSR, 3: hd.sr.Comprehensive3DSR}


def report(detections: Detections, origin: Origin, author: Author, regions: Regions = "surface") -> Dataset:
    """The report as a data set that is ready to be saved.

    Raises:
        GeometryError: a slice of the volume has no image among the files of ``origin``.
    """
    kind = "SR" if regions == "surface" else "SR slices"
    identity = identify(kind, origin, detections, author)
    groups = Groups(detections, origin, author, identity, regions)
    made = _SOP[detections.boxes.grid.dims](
        evidence=_evidence(origin),
        content=_content(groups.first(), author, identity),
        is_complete=True,
        coding_schemes=codes.own_schemes(),
        **common(identity, author, SERIES_NUMBER, "Detections"),
    )
    if len(detections):
        groups.fill(made)
    return settle(made, identity)


def _evidence(origin: Origin) -> list[Dataset]:
    """A data set for each instance: the first one says whose it is."""
    found = []
    for number, one in enumerate(origin.instances):
        made = subject(origin) if number == 0 else Dataset()
        made.SOPClassUID, made.SOPInstanceUID = one.sop_class, one.instance_uid
        made.SeriesInstanceUID, made.StudyInstanceUID = one.series_uid, one.study_uid
        found.append(made)
    return found


def _content(group: Group | None, author: Author, identity: Identity) -> Dataset:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=identity.part("device", author.digest),
        name=f"cellscan/{author.name}",
        manufacturer_name="cellscan",
        model_name=author.name,
        serial_number=author.digest[:16],
    )
    observer = hd.sr.ObserverContext(_DEVICE, device)
    context = hd.sr.ObservationContext(observer_device_context=observer)
    if group is not None:
        return hd.sr.MeasurementReport(context, _PROCEDURE, [group], title=_TITLE)[0]
    root = hd.sr.ContainerContentItem(_TITLE, template_id="1500")
    language = hd.sr.LanguageOfContentItemAndDescendants(CodedConcept("en-US", "RFC5646", "English (United States)"))
    procedure = hd.sr.CodeContentItem(
        CodedConcept("121058", "DCM", "Procedure reported"), _PROCEDURE, hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD
    )
    nothing = hd.sr.CodeContentItem(codes.FINDING, codes.NOT_DETECTED, hd.sr.RelationshipTypeValues.CONTAINS)
    evaluations = hd.sr.ContainerContentItem(_EVALUATIONS, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)
    evaluations.ContentSequence = hd.sr.ContentSequence([nothing])
    root.ContentSequence = hd.sr.ContentSequence([*language, *context, procedure, evaluations])
    return root
