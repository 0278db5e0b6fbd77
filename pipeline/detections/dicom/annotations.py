"""Detections on a slide → Microscopy Bulk Simple Annotations (PS3.3 A.87, C.37.1), one group a class.

Coordinates are millimetres on the slide (3D, one common z of 0): the same for every level of a pyramid, however many
files a level has. Polygons where there are outlines, else rectangles. Each group carries its scores as a measurement,
Certainty of Finding in per cent. Numbers are 32-bit floats: 75 mm from the origin they are exact to 4 nm.
A class without detections has no group, and the standard wants at least one group: of a slide without detections there
is no such object, a report says it instead.
"""

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from pipeline.detections.detection import Detections
from pipeline.detections.dicom import codes
from pipeline.detections.dicom.identity import Author, Identity, algorithm_of, common, identify, settle, subject
from pipeline.errors import SourceError
from pipeline.sources.dicom.origin import Origin
from pipeline.sources.dicom.slide_frame import index_to_slide
from pipeline.sources.dicom.sop_classes import kind_of

SERIES_NUMBER = 7003
_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])


def bulk_annotations(
    detections: Detections, origin: Origin, author: Author, attributes: dict[str, str]
) -> Dataset | None:
    """The object as a data set that is ready to be saved; `None` without detections.

    Args:
        detections: on the grid of one picture of a slide.
        origin: the picture's files.
        author: who says it.
        attributes: the picture's own: where it lies on the slide.

    Raises:
        SourceError: the scan is no slide, or one without frame of reference.
        GeometryError: the slide states no place, or no pixel size.
    """
    if kind_of(origin.instances[0].sop_class) != "slide":
        raise SourceError("bulk annotations belong to whole slide images; use a report (dicom-sr) for other pictures")
    if not len(detections):
        return None
    identity = identify("ANN", origin, detections, author)
    made = hd.ann.MicroscopyBulkSimpleAnnotations(
        source_images=_sources(origin),
        annotation_coordinate_type=hd.ann.AnnotationCoordinateTypeValues.SCOORD3D,
        annotation_groups=_groups(detections, author, identity, attributes),
        content_label="DETECTIONS",
        coding_schemes=codes.own_schemes(),
        **common(identity, author, SERIES_NUMBER, "Detections"),
    )
    return settle(made, identity)


def _sources(origin: Origin) -> list[Dataset]:
    first = subject(origin)
    if "FrameOfReferenceUID" not in first:
        raise SourceError("the slide states no frame of reference, which annotations must share with it")
    others = []
    for one in origin.instances[1:]:
        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = one.sop_class, one.instance_uid, one.series_uid
        made.FrameOfReferenceUID = first.FrameOfReferenceUID
        others.append(made)
    return [first, *others]


def _groups(
    detections: Detections, author: Author, identity: Identity, attributes: dict[str, str]
) -> list[hd.ann.AnnotationGroup]:
    used = np.unique(detections.labels).tolist()
    shapes = _shapes(detections, attributes)
    return [_group(detections, label, number, shapes, author, identity) for number, label in enumerate(used, start=1)]


def _group(
    detections: Detections, label: int, number: int, shapes: np.ndarray, author: Author, identity: Identity
) -> hd.ann.AnnotationGroup:
    mine = detections.labels == label
    coded = codes.coded(detections.classes[label])
    group = hd.ann.AnnotationGroup(
        number=number,
        uid=identity.part("group", number),
        label=detections.classes[label][:64],
        annotated_property_category=coded.category,
        annotated_property_type=coded.type,
        graphic_type="RECTANGLE" if detections.outlines is None else "POLYGON",
        # highdicom looks at every shape by itself, which takes seconds a million: it sees one, the others follow.
        graphic_data=[np.pad(shapes[mine][0], ((0, 0), (0, 1)))],
        algorithm_type=hd.ann.AnnotationGroupGenerationTypeValues.AUTOMATIC,
        algorithm_identification=algorithm_of(author),
    )
    count, corners, _ = shapes[mine].shape
    group.NumberOfAnnotations = count
    group.PointCoordinatesData = shapes[mine].tobytes()
    if detections.outlines is not None:
        # Counted in numbers from 1; z is common to all, so each corner has two.
        group.LongPrimitivePointIndexList = (np.arange(count, dtype=np.uint32) * 2 * corners + 1).tobytes()
    scores = (100 * detections.scores[mine]).astype(np.float32)
    group.MeasurementsSequence = [hd.ann.Measurements(codes.CERTAINTY, scores, codes.PERCENT)]
    return group


def _shapes(detections: Detections, attributes: dict[str, str]) -> np.ndarray:
    """Corners ``(n, vertices, 2)`` in slide mm, float32."""
    if detections.outlines is None:
        lower, upper = detections.boxes.lower[:, None], detections.boxes.upper[:, None]
        corners = lower + _CORNERS * (upper - lower)
    else:
        corners = detections.outlines
    flat = index_to_slide(corners.reshape(-1, 2), detections.boxes.grid, attributes)
    shapes = flat.astype(np.float32).reshape(corners.shape)
    return shapes if detections.outlines is None else _open_rings(shapes)


def _open_rings(rings: np.ndarray) -> np.ndarray:
    """The same polygons, begun where their last vertex is not their first, which the standard forbids."""
    for n in np.flatnonzero((rings[:, 0] == rings[:, -1]).all(axis=1)):
        differs = (rings[n] != np.roll(rings[n], 1, axis=0)).any(axis=1)
        rings[n] = np.roll(rings[n], -int(np.argmax(differs)), axis=0)
    return rings
