"""Detections on scans whose places are known by hand, with the DICOM objects made of them."""

from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from pipeline.detections import Detections
from pipeline.detections.dicom.annotations import bulk_annotations
from pipeline.detections.dicom.identity import Author
from pipeline.detections.dicom.report import report
from pipeline.detections.dicom.segmentation import segmentation
from pipeline.geometry import Boxes, Grid
from pipeline.sources.dicom.origin import Origin, describe
from pipeline.sources.dicom.series import load_series
from pipeline.sources.dicom.slides import load_slides
from pipeline.sources.scan import LoadedScan
from tests.sources.annotations.written_dicom import slide
from tests.sources.written import oblique_voxels, write, write_oblique_series

AUTHOR = Author("lesions", "3", "ab" * 32, datetime(2026, 1, 2, 3, 4, 5))
CLASSES = ("lesion", "something unheard of")
HEADER = {"FrameOfReferenceUID": "1.2.9", "StudyDate": "20200101", "StudyTime": "120000", "StudyID": "1"}


def oblique_scan(folder: Path, **elements: object) -> tuple[LoadedScan, Origin, list[Path]]:
    """The oblique series as it is read, and what its files say of themselves."""
    write_oblique_series(folder, oblique_voxels(), **{**HEADER, **elements})
    files = sorted(folder.glob("*.dcm"))
    (scan,) = load_series(files)
    assert isinstance(scan, LoadedScan)
    (origin,) = describe(files)["origins"]
    return scan, Origin.from_json(origin), files


def boxes_3d(grid: Grid) -> Detections:
    """Three boxes: one of a single voxel, one that crosses slices with fractions, one at the last slice."""
    lower = np.array([[4.5, 2.5, 1.5], [1.25, 1.0, 0.3], [7.0, 4.0, 4.6]])
    upper = np.array([[5.5, 3.5, 2.5], [6.75, 3.5, 3.9], [9.0, 6.5, 5.5]])
    return Detections("3f2a91c0", Boxes(lower, upper, grid), np.array([0.9, 0.75, 0.5]), np.array([0, 1, 0]), CLASSES)


def nothing(grid: Grid) -> Detections:
    return Detections("3f2a91c0", Boxes.empty(grid), np.zeros(0), np.zeros(0, int), CLASSES)


def stars_2d(grid: Grid) -> Detections:
    """Three discs of 32 corners that do not touch."""
    turn = np.arange(32) * 2 * np.pi / 32
    around = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    outlines = np.array([[10.0, 10.0], [25.0, 20.5], [12.25, 32.0]])[:, None] + 3.3 * around
    boxes = Boxes(outlines.min(axis=1), outlines.max(axis=1), grid)
    return Detections("3f2a91c0", boxes, np.array([0.9, 0.75, 0.5]), np.array([0, 1, 0]), CLASSES, outlines)


def on_series(folder: Path) -> tuple[Dataset, list[Path]]:
    """A report on the oblique series, and the series' files."""
    scan, origin, files = oblique_scan(folder)
    return report(boxes_3d(scan.grid), origin, AUTHOR), files


def on_slide(path: Path) -> tuple[list[Dataset], Path]:
    """Masks and bulk annotations on a slide, and the slide's file."""
    write(slide(), path)
    (scan,) = load_slides([path])
    assert isinstance(scan, LoadedScan)
    origin, detections = Origin.from_json(describe([path])["origins"][0]), stars_2d(scan.grid)
    made = [
        segmentation(detections, origin, AUTHOR),
        bulk_annotations(detections, origin, AUTHOR, scan.attributes),
    ]
    return made, path
