"""DICOM annotation objects written for tests with highdicom, on images whose geometry is known by hand."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from pipeline.sources.identifiers import uid_digest
from tests.sources.written import CT, dataset, oblique_slice

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_WHO = {
    "FrameOfReferenceUID": "1.2.9",
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "AccessionNumber": "",
    "StudyID": "1",
    "PatientBirthDate": "",
    "PatientSex": "O",
    "ReferringPhysicianName": "",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
}
_MADE = {
    "series_instance_uid": "1.2.3.5",
    "series_number": 2,
    "sop_instance_uid": "1.2.3.5.1",
    "instance_number": 1,
    "manufacturer": "cellscan",
}
_DEVICE = {"manufacturer_model_name": "tests", "software_versions": "1", "device_serial_number": "1"}


def source_slices(count: int = 6, **elements: object) -> list[FileDataset]:
    """The oblique series: instances 1.2.3.4.0, 1.2.3.4.1 … along the normal, ``(8 rows, 12 columns)``."""
    zeros = np.zeros((8, 12), np.int16)
    return [oblique_slice(k, zeros, **{"SOPInstanceUID": f"1.2.3.4.{k}", **_WHO, **elements}) for k in range(count)]


def slice_digest(k: int) -> str:
    return str(uid_digest(f"1.2.3.4.{k}"))


def slide(columns: int = 50, rows: int = 40, full: bool = True) -> FileDataset:
    """A slide of 10 x 10 tiles: pixels of 2 um along x and 4 um along y, rows along slide -Y, columns along slide -X.

    The first pixel's centre is at slide (20, 30) mm. Without ``full`` each tile states its place, in reversed order.
    """
    tiles = [(left, top) for top in range(0, rows, 10) for left in range(0, columns, 10)][:: 1 if full else -1]
    made = dataset(np.zeros((10, 10, 3), np.uint8), SLIDE, SOPInstanceUID="1.2.3.6.1", **_WHO)
    made.Modality, made.SeriesInstanceUID = "SM", "1.2.3.6"
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made.NumberOfFrames, made.PixelData = len(tiles), bytes(300 * len(tiles))
    made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows, made.TotalPixelMatrixFocalPlanes = columns, rows, 1
    made.DimensionOrganizationType = "TILED_FULL" if full else "TILED_SPARSE"
    made.ImageOrientationSlide = [0.0, -1.0, 0.0, -1.0, 0.0, 0.0]
    made.TotalPixelMatrixOriginSequence = _items(
        XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=30.0
    )
    made.SharedFunctionalGroupsSequence = _items(
        PixelMeasuresSequence=_items(PixelSpacing=[0.004, 0.002], SliceThickness=0.01)
    )
    made.OpticalPathSequence, made.NumberOfOpticalPaths = _items(OpticalPathIdentifier="1"), 1
    made.ContainerIdentifier, made.IssuerOfTheContainerIdentifierSequence = "S1", Sequence()
    made.SpecimenDescriptionSequence = _items(SpecimenIdentifier="S1", SpecimenUID="1.2.7")
    made.ContainerTypeCodeSequence = Sequence()
    if not full:
        made.PerFrameFunctionalGroupsSequence = Sequence([_tile(left, top) for left, top in tiles])
    return made


def segmentation(
    sources: list[FileDataset], mask: np.ndarray, kind: str = "BINARY", segments: int = 1, **options: object
) -> Dataset:
    """``mask`` is ``(slice, row, column[, segment])`` as highdicom takes it. The segments are nodules."""
    import highdicom as hd

    tracked = bool(options.pop("tracked", False))
    described = [
        hd.seg.SegmentDescription(
            number,
            f"segment {number}",
            codes.SCT.MorphologicallyAbnormalStructure,
            codes.SCT.Nodule,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            tracking_uid=f"1.2.8.{number}" if tracked else None,
            tracking_id=f"{number}" if tracked else None,
        )
        for number in range(1, segments + 1)
    ]
    return hd.seg.Segmentation(
        sources, mask, segmentation_type=kind, segment_descriptions=described, **_MADE, **_DEVICE, **options
    )


def structure_set(regions: list[Dataset], names: list[str], images: int = 3) -> FileDataset:
    """An RT structure set: ``regions`` are items of ROIContourSequence, for regions 1, 2 …"""
    made = dataset(np.zeros((1, 1), np.uint8), "1.2.840.10008.5.1.4.1.1.481.3", PixelData=None)
    listed = Sequence([_image(CT, f"1.2.3.4.{k}") for k in range(images)])
    series = _items(SeriesInstanceUID="1.2.3.4", ContourImageSequence=listed)
    made.ReferencedFrameOfReferenceSequence = _items(
        FrameOfReferenceUID="1.2.9", RTReferencedStudySequence=_items(RTReferencedSeriesSequence=series)
    )
    made.StructureSetROISequence = Sequence(
        [
            _item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID="1.2.9")
            for number, name in enumerate(names, start=1)
        ]
    )
    made.ROIContourSequence = Sequence(regions)
    return made


def contour_region(number: int, *contours: Dataset) -> Dataset:
    return _item(ReferencedROINumber=number, ContourSequence=Sequence(contours))


def contour(points: list[float], kind: str = "CLOSED_PLANAR", image: str = "", **elements: object) -> Dataset:
    made = _item(ContourGeometricType=kind, ContourData=points, **elements)
    if image:
        made.ContourImageSequence = Sequence([_image(CT, image)])
    return made


def report(groups: list[object], evidence: list[FileDataset]) -> Dataset:
    """A TID 1500 report of highdicom's measurement groups."""
    import highdicom as hd

    observer = hd.sr.ObserverContext(codes.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes(name="Doe^Jane"))
    content = hd.sr.MeasurementReport(
        hd.sr.ObservationContext(observer_person_context=observer), codes.LN.CTUnspecifiedBodyRegion, groups
    )
    return hd.sr.Comprehensive3DSR(evidence, content[0], is_complete=False, **_MADE)


def tracking() -> object:
    import highdicom as hd

    return hd.sr.TrackingIdentifier(hd.UID(), "1")


def bulk(image: FileDataset, shapes: dict[str, list[np.ndarray]], coordinate_type: str = "2D") -> Dataset:
    """Bulk annotations of a slide: one group for each graphic type, labelled by the type."""
    import highdicom as hd

    groups = [
        hd.ann.AnnotationGroup(
            number,
            hd.UID(),
            f"group {kind.lower()}",
            codes.SCT.AnatomicalStructure,
            codes.SCT.Tissue,
            kind,
            data,
            hd.ann.AnnotationGroupGenerationTypeValues.MANUAL,
        )
        for number, (kind, data) in enumerate(shapes.items(), start=1)
    ]
    return hd.ann.MicroscopyBulkSimpleAnnotations([image], coordinate_type, groups, **_MADE, **_DEVICE)


def save(made: Dataset, path: Path) -> Path:
    made.save_as(path, enforce_file_format=True)
    return path


def _tile(left: int, top: int) -> Dataset:
    return _item(
        PlanePositionSlideSequence=_items(
            ColumnPositionInTotalImagePixelMatrix=left + 1,
            RowPositionInTotalImagePixelMatrix=top + 1,
            XOffsetInSlideCoordinateSystem=20.0 - 0.004 * top,
            YOffsetInSlideCoordinateSystem=30.0 - 0.002 * left,
            ZOffsetInSlideCoordinateSystem=0.0,
        )
    )


def _image(sop_class: str, instance: str) -> Dataset:
    return _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)


def _item(**elements: object) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _items(**elements: object) -> Sequence:
    return Sequence([_item(**elements)])
