"""The measurement groups of a report, one a detection (PS3.16 TID 1410, 1411).

highdicom makes and checks the first; the others are copies of it with their own values, since its way takes 30 ms a
group and an archive has thousands. What they share is encoded once.
"""

from typing import Any, TypeAlias

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pipeline.detections.detection import Detections
from pipeline.detections.dicom import codes, regions
from pipeline.detections.dicom.encoded import copy_with, frozen, item_bytes, settled
from pipeline.detections.dicom.identity import Author, Identity
from pipeline.detections.dicom.places import SliceImage, slice_images
from pipeline.detections.dicom.regions import Region
from pipeline.geometry import Grid
from pipeline.sources.dicom.origin import Origin, OriginInstance
from pipeline.types import Corners

Group: TypeAlias = (
    hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations | hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations
)
_Measured: TypeAlias = tuple[CodedConcept, list[str], CodedConcept, CodedConcept | None]
_TRACKING, _TRACKING_UID, _FINDING, _CATEGORY = "112039", "112040", "121071", "276214006"
_DRAWN = ("SCOORD", "SCOORD3D")
# An item of a group by its concept, or by its type of value where that says enough; as bytes where all groups have it.
# Of the regions, which follow each other, only the first one is listed.
_Part: TypeAlias = tuple[str, Dataset | bytes]


class Groups:
    """What a report says of ``detections``; see `pipeline.detections.dicom.report`.

    Raises:
        GeometryError: a slice of the volume has no image among the files of ``origin``.
    """

    def __init__(
        self, detections: Detections, origin: Origin, author: Author, identity: Identity, kind: regions.Regions
    ) -> None:
        self._detections, self._origin, self._author, self._identity = detections, origin, author, identity
        self._kind = kind
        self._coded = [codes.coded(name) for name in detections.classes]
        needs_slices = detections.boxes.grid.dims == 3 and len(detections) > 0
        self._images: list[SliceImage] = slice_images(origin, detections.boxes.grid) if needs_slices else []
        self._measured = _measurements(detections)
        self._used: dict[str, OriginInstance] = {}
        self._shared: dict[Any, bytes] = {}

    def first(self) -> Group | None:
        """The group of the first detection; `None` without detections."""
        if not len(self._detections):
            return None
        label = self._coded[int(self._detections.labels[0])]
        measured = [
            hd.sr.Measurement(name, float(number), unit, method=how) for name, (number, *_), unit, how in self._measured
        ]
        algorithm = hd.sr.AlgorithmIdentification(
            f"cellscan/{self._author.name}",
            self._author.version,
            [f"digest {self._author.digest}"],
            manufacturer="cellscan",
        )
        tracking = hd.sr.TrackingIdentifier(self._tracking_uid(0), self._tracking(0))
        region = self._regions(0)
        images = [_source_of_region(one) for one in region]
        common: dict[str, Any] = {
            "tracking_identifier": tracking,
            "finding_type": label.type,
            "finding_category": label.category,
            "algorithm_id": algorithm,
            "measurements": measured,
        }
        line = hd.sr.GraphicTypeValues.POLYLINE
        if self._detections.boxes.grid.dims == 2:
            flat = hd.sr.ImageRegion(line, region[0].points, images[0], _origin_of_pixels(region[0]))
            return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=flat, **common)
        if self._kind == "slices":
            drawn = [hd.sr.ImageRegion(line, one.points, image) for one, image in zip(region, images, strict=True)]
            return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=drawn, **common)
        source = hd.sr.SourceImageForSegmentation(*_reference(region[0]))
        surface = hd.sr.VolumeSurface(
            hd.sr.GraphicTypeValues3D.POLYGON,
            [one.points for one in region],
            regions.frame_of_reference(self._origin),
            source_images=[source],
        )
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_volume_surface=surface, **common)

    def fill(self, made: Dataset) -> None:
        """Give the report that holds the first group all of them, and the evidence that they refer to."""
        container = made.ContentSequence[-1]
        pattern = container.ContentSequence[0]
        parts = _parts(pattern)
        groups = b"".join(self._group(pattern, parts, n) for n in range(len(self._detections)))
        made.ContentSequence = Sequence([*made.ContentSequence[:-1], copy_with(container, ContentSequence=groups)])
        made.CurrentRequestedProcedureEvidenceSequence = _evidence(list(self._used.values()))
        unused = [one for one in self._origin.instances if one.instance_uid not in self._used]
        if unused:
            made.PertinentOtherEvidenceSequence = _evidence(unused)
        settled(made)

    def _group(self, pattern: Dataset, parts: list[_Part], n: int) -> bytes:
        label = self._coded[int(self._detections.labels[n])]
        found = self._regions(n)
        numbers = iter(self._measured)
        items: list[bytes] = []
        for part, item in parts:
            if isinstance(item, bytes):
                items.append(item)
            elif part in _DRAWN:
                items += [self._drawn(item, one) for one in found]
            elif part == "IMAGE":
                items.append(self._image(item, found[0]))
            elif part == "NUM":
                items.append(_number(item, next(numbers)[1][n]))
            elif part == _TRACKING:
                items.append(item_bytes(copy_with(item, TextValue=self._tracking(n))))
            elif part == _TRACKING_UID:
                items.append(item_bytes(copy_with(item, UID=self._tracking_uid(n))))
            else:
                items.append(self._code(item, label.type if part == _FINDING else label.category))
        return item_bytes(copy_with(pattern, ContentSequence=b"".join(items)))

    def _regions(self, n: int) -> list[Region]:
        return regions.regions(self._detections, n, self._origin, self._images, self._kind)

    def _tracking(self, n: int) -> str:
        return f"{self._author.name}/{self._author.version} {n + 1}"

    def _tracking_uid(self, n: int) -> str:
        return self._identity.part("finding", n + 1)

    def _drawn(self, pattern: Dataset, region: Region) -> bytes:
        own: dict[str, object] = {"GraphicData": region.points.ravel().tolist()}
        if pattern.ValueType == "SCOORD":
            own["ContentSequence"] = self._image(pattern.ContentSequence[0], region)
        return item_bytes(copy_with(pattern, **own))

    def _image(self, pattern: Dataset, region: Region) -> bytes:
        """A reference to the region's image, the same for all that refer to it."""
        key = region.instance.instance_uid, region.frame
        if key not in self._shared:
            self._used[region.instance.instance_uid] = region.instance
            referred = copy_with(
                pattern.ReferencedSOPSequence[0],
                ReferencedSOPClassUID=region.instance.sop_class,
                ReferencedSOPInstanceUID=region.instance.instance_uid,
            )
            if "ReferencedFrameNumber" in referred:
                del referred.ReferencedFrameNumber
            if region.frame is not None:
                referred.ReferencedFrameNumber = region.frame
            self._shared[key] = item_bytes(copy_with(pattern, ReferencedSOPSequence=item_bytes(referred)))
        return self._shared[key]

    def _code(self, pattern: Dataset, code: CodedConcept) -> bytes:
        key = pattern.ConceptNameCodeSequence[0].CodeValue, id(code)
        if key not in self._shared:
            self._shared[key] = item_bytes(copy_with(pattern, ConceptCodeSequence=item_bytes(code)))
        return self._shared[key]


def _parts(pattern: Dataset) -> list[_Part]:
    parts: list[_Part] = []
    for item in pattern.ContentSequence:
        kind = str(item.ValueType)
        part = kind if kind in (*_DRAWN, "IMAGE", "NUM") else str(item.ConceptNameCodeSequence[0].CodeValue)
        if part in _DRAWN:
            if all(other not in _DRAWN for other, _ in parts):
                parts.append((part, frozen(item, "ContentSequence")))
        elif part == "NUM":
            value = frozen(item.MeasuredValueSequence[0])
            own = copy_with(frozen(item, "MeasuredValueSequence"), MeasuredValueSequence=Sequence([value]))
            parts.append((part, own))
        elif part in (_TRACKING, _TRACKING_UID):
            parts.append((part, frozen(item)))
        else:
            parts.append((part, item if part in ("IMAGE", _FINDING, _CATEGORY) else item_bytes(item)))
    return parts


def _number(pattern: Dataset, number: str) -> bytes:
    value = pattern.MeasuredValueSequence[0]
    exact = {"FloatingPointValue": float(number)} if "FloatingPointValue" in value else {}
    value = copy_with(value, NumericValue=number, **exact)
    return item_bytes(copy_with(pattern, MeasuredValueSequence=item_bytes(value)))


def _reference(region: Region) -> tuple[str, str, list[int] | None]:
    return (
        region.instance.sop_class,
        region.instance.instance_uid,
        None if region.frame is None else [region.frame],
    )


def _source_of_region(region: Region) -> hd.sr.SourceImageForRegion:
    return hd.sr.SourceImageForRegion(*_reference(region))


def _origin_of_pixels(region: Region) -> hd.sr.PixelOriginInterpretationValues | None:
    return hd.sr.PixelOriginInterpretationValues.VOLUME if region.on_slide else None


def _evidence(instances: list[OriginInstance]) -> Sequence:
    """Instances by study and series (PS3.3 table 10-3b)."""
    found: dict[str, dict[str, list[Dataset]]] = {}
    for one in instances:
        referred = Dataset()
        referred.ReferencedSOPClassUID, referred.ReferencedSOPInstanceUID = one.sop_class, one.instance_uid
        found.setdefault(one.study_uid, {}).setdefault(one.series_uid, []).append(referred)
    studies = []
    for study_uid, by_series in found.items():
        study = Dataset()
        study.StudyInstanceUID, listed = study_uid, []
        for series_uid, referred_instances in by_series.items():
            series = Dataset()
            series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, Sequence(referred_instances)
            listed.append(series)
        study.ReferencedSeriesSequence = Sequence(listed)
        studies.append(study)
    return Sequence(studies)


def _measurements(detections: Detections) -> list[_Measured]:
    """``(name, a value for each detection, unit, method)``; values have seven digits, as the shapes' 32-bit floats."""
    grid, sizes = detections.boxes.grid, detections.boxes.sizes_world
    found: list[tuple[CodedConcept, np.ndarray, CodedConcept, CodedConcept | None]] = [
        (codes.CERTAINTY, 100 * detections.scores.astype(np.float64), codes.PERCENT, None)
    ]
    if grid.unit == "mm":
        found.append((codes.LONG_AXIS, sizes[:, :2].max(axis=1), codes.MM, codes.OF_THE_BOX))
        found.append((codes.SHORT_AXIS, sizes[:, :2].min(axis=1), codes.MM, codes.OF_THE_BOX))
        if grid.dims == 3:
            found.append((codes.HEIGHT, sizes[:, 2], codes.MM, codes.OF_THE_BOX))
            found.append((codes.VOLUME, sizes.prod(axis=1), codes.MM3, codes.OF_THE_BOX))
        elif detections.outlines is None:
            found.append((codes.AREA, sizes.prod(axis=1), codes.MM2, codes.OF_THE_BOX))
        else:
            found.append((codes.AREA, _areas(detections.outlines, grid), codes.MM2, codes.OF_THE_OUTLINE))
    return [(name, [f"{value:.7g}" for value in values.tolist()], unit, how) for name, values, unit, how in found]


def _areas(outlines: Corners, grid: Grid) -> np.ndarray:
    """Of closed lines, by the shoelace formula, in the grid's unit squared."""
    i, j = np.moveaxis(outlines - outlines.mean(axis=1, keepdims=True), 2, 0)
    return np.abs((i * np.roll(j, -1, axis=1) - j * np.roll(i, -1, axis=1)).sum(axis=1)) / 2 * grid.spacing.prod()
