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

from collections.abc import Iterator
from typing import Literal

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from highdicom.sr.templates import Template
from pydicom.dataset import Dataset

from pipeline.detections.detection import Detections
from pipeline.detections.dicom import codes
from pipeline.detections.dicom.identity import Author, Identity, common, identify, settle, subject
from pipeline.detections.dicom.places import SliceImage, slice_images
from pipeline.geometry.frames import ras_to_lps
from pipeline.sources.dicom.origin import Origin
from pipeline.sources.dicom.sop_classes import kind_of

Regions = Literal["surface", "slices"]
SERIES_NUMBER = 7001
_TITLE = CodedConcept("126000", "DCM", "Imaging Measurement Report")
_PROCEDURE = CodedConcept("363679005", "SCT", "Imaging procedure")
_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
_DEVICE = CodedConcept("121007", "DCM", "Device")
# Corners of a box as (i, j, k) of 0 lower and 1 upper, around each face.
_FACES = np.array(
    [
        [(a, 0, 0), (a, 1, 0), (a, 1, 1), (a, 0, 1), (a, 0, 0)] for a in (0, 1)
    ]
    + [
        [(0, a, 0), (1, a, 0), (1, a, 1), (0, a, 1), (0, a, 0)] for a in (0, 1)
    ]
    + [
        [(0, 0, a), (1, 0, a), (1, 1, a), (0, 1, a), (0, 0, a)] for a in (0, 1)
    ]
)  # fmt: skip
_RECTANGLE = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])


def report(detections: Detections, origin: Origin, author: Author, regions: Regions = "surface") -> Dataset:
    """The report as a data set that is ready to be saved.

    Raises:
        GeometryError: a slice of the volume has no image among the files of ``origin``.
    """
    kind = "SR" if regions == "surface" else "SR slices"
    identity = identify(kind, origin, detections, author)
    groups = _groups(detections, origin, author, identity, regions)
    content = _content(list(groups), author, identity)
    made = _SOP[detections.boxes.grid.dims](
        evidence=_evidence(origin),
        content=content,
        is_complete=True,
        coding_schemes=codes.own_schemes(),
        **common(identity, author, SERIES_NUMBER, "Detections"),
    )
    return settle(made, identity)


_SOP = {2: hd.sr.ComprehensiveSR, 3: hd.sr.Comprehensive3DSR}


def _evidence(origin: Origin) -> list[Dataset]:
    """A data set for each instance: the first one says whose it is."""
    found = []
    for number, one in enumerate(origin.instances):
        made = subject(origin) if number == 0 else Dataset()
        made.SOPClassUID, made.SOPInstanceUID = one.sop_class, one.instance_uid
        made.SeriesInstanceUID, made.StudyInstanceUID = one.series_uid, one.study_uid
        found.append(made)
    return found


def _content(groups: list[Template], author: Author, identity: Identity) -> Dataset:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=identity.part("device", author.digest),
        name=f"cellscan/{author.name}",
        manufacturer_name="cellscan",
        model_name=author.name,
        serial_number=author.digest[:16],
    )
    observer = hd.sr.ObserverContext(_DEVICE, device)
    context = hd.sr.ObservationContext(observer_device_context=observer)
    if groups:
        return hd.sr.MeasurementReport(context, _PROCEDURE, groups, title=_TITLE)[0]
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


def _groups(
    detections: Detections, origin: Origin, author: Author, identity: Identity, regions: Regions
) -> Iterator[Template]:
    algorithm = hd.sr.AlgorithmIdentification(
        f"cellscan/{author.name}", author.version, [f"digest {author.digest}"], manufacturer="cellscan"
    )
    grid = detections.boxes.grid
    images = slice_images(origin, grid) if grid.dims == 3 and len(detections) else []
    coded = [codes.coded(name) for name in detections.classes]
    for n in range(len(detections)):
        label = coded[int(detections.labels[n])]
        tracking = hd.sr.TrackingIdentifier(identity.part("finding", n + 1), f"{author.name}/{author.version} {n + 1}")
        shared = {
            "tracking_identifier": tracking,
            "finding_type": label.type,
            "finding_category": label.category,
            "algorithm_id": algorithm,
            "measurements": _measurements(detections, n),
        }
        if grid.dims == 2:
            yield hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                referenced_region=_picture_region(detections, n, origin), **shared
            )
        elif regions == "surface":
            yield hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                referenced_volume_surface=_surface(detections, n, origin, images), **shared
            )
        else:
            yield hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                referenced_regions=_slice_regions(detections, n, images), **shared
            )


def _measurements(detections: Detections, n: int) -> list[hd.sr.Measurement]:
    grid = detections.boxes.grid
    found = [(codes.CERTAINTY, 100 * float(detections.scores[n]), codes.PERCENT, None)]
    if grid.unit == "mm":
        sizes = detections.boxes.sizes_world[n]
        found += [
            (codes.LONG_AXIS, float(sizes[:2].max()), codes.MM, codes.OF_THE_BOX),
            (codes.SHORT_AXIS, float(sizes[:2].min()), codes.MM, codes.OF_THE_BOX),
        ]
        if grid.dims == 3:
            found.append((codes.HEIGHT, float(sizes[2]), codes.MM, codes.OF_THE_BOX))
            found.append((codes.VOLUME, float(sizes.prod()), codes.MM3, codes.OF_THE_BOX))
        else:
            found.append(_area(detections, n))
    return [hd.sr.Measurement(name, float(f"{value:.7g}"), unit, method=how) for name, value, unit, how in found]


def _area(detections: Detections, n: int) -> tuple[CodedConcept, float, CodedConcept, CodedConcept]:
    pixel = float(detections.boxes.grid.spacing.prod())
    if detections.outlines is None:
        return codes.AREA, float(detections.boxes.sizes_world[n].prod()), codes.MM2, codes.OF_THE_BOX
    i, j = (detections.outlines[n] - detections.outlines[n].mean(axis=0)).T
    area = abs(float(i @ np.roll(j, -1) - j @ np.roll(i, -1))) / 2
    return codes.AREA, area * pixel, codes.MM2, codes.OF_THE_OUTLINE


def _picture_region(detections: Detections, n: int, origin: Origin) -> hd.sr.ImageRegion:
    image = origin.instances[0]
    slide = kind_of(image.sop_class) == "slide"
    source = hd.sr.SourceImageForRegion(image.sop_class, image.instance_uid)
    return hd.sr.ImageRegion(
        hd.sr.GraphicTypeValues.POLYLINE,
        outline_edge_px(detections, n),
        source,
        hd.sr.PixelOriginInterpretationValues.VOLUME if slide else None,
    )


def outline_edge_px(detections: Detections, n: int) -> np.ndarray:
    """The closed outline or rectangle ``(m, 2)`` in columns and rows from the outer edge of the first pixel."""
    if detections.outlines is not None:
        corners = detections.outlines[n] + 0.5
        return np.concatenate([corners, corners[:1]])
    lower, upper = detections.boxes.lower[n], detections.boxes.upper[n]
    return lower + _RECTANGLE * (upper - lower) + 0.5


def _surface(detections: Detections, n: int, origin: Origin, images: list[SliceImage]) -> hd.sr.VolumeSurface:
    boxes = detections.boxes
    corners = boxes.lower[n] + _FACES.reshape(-1, 3) * (boxes.upper[n] - boxes.lower[n])
    faces = ras_to_lps(boxes.grid.to_world(corners)).reshape(6, 5, 3)
    faces[:, -1] = faces[:, 0]
    image = images[_middle(detections, n)]
    source = hd.sr.SourceImageForSegmentation(
        image.instance.sop_class, image.instance.instance_uid, None if image.frame is None else [image.frame]
    )
    return hd.sr.VolumeSurface(
        hd.sr.GraphicTypeValues3D.POLYGON, list(faces), _frame_of_reference(origin), source_images=[source]
    )


def _frame_of_reference(origin: Origin) -> str:
    """The images' own; where they state none, one that depends on their series alone."""
    from pipeline.detections.dicom.identity import derived_uid

    stated = origin.dataset().get("FrameOfReferenceUID")
    return str(stated) if stated else derived_uid("frame of reference", origin.instances[0].series_uid)


def _middle(detections: Detections, n: int) -> int:
    last = detections.boxes.grid.shape[2] - 1
    return int(np.clip(np.floor(detections.boxes.centres[n, 2] + 0.5), 0, last))


def _slice_regions(detections: Detections, n: int, images: list[SliceImage]) -> list[hd.sr.ImageRegion]:
    grid = detections.boxes.grid
    lower, upper = detections.boxes.lower[n], detections.boxes.upper[n]
    first, last = max(int(np.ceil(lower[2])), 0), min(int(np.floor(upper[2])), grid.shape[2] - 1)
    found = []
    for k in range(first, last + 1) if first <= last else [_middle(detections, n)]:
        flat = lower[:2] + _RECTANGLE * (upper - lower)[:2]
        lps = ras_to_lps(grid.to_world(np.column_stack([flat, np.full(len(flat), float(k))])))
        image = images[k]
        source = hd.sr.SourceImageForRegion(
            image.instance.sop_class, image.instance.instance_uid, None if image.frame is None else [image.frame]
        )
        points = image.to_edge_px(lps, grid.spacing[:2])
        points[-1] = points[0]
        found.append(hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, points, source))
    return found
