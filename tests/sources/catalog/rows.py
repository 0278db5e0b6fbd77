"""Records with everything that a test does not care about filled in."""

from typing import Any

from pipeline.sources.catalog import AnnotationRecord, FileRecord, VolumeRecord


def a_file(path: str, *volume_ids: str, **other: Any) -> FileRecord:
    standard: dict[str, Any] = {
        "size": 10,
        "mtime_ns": 1_700_000_000_123_456_789,
        "reader": "2-0123abcd",
        "kind": "image",
        "outcome": "ingested",
    }
    return FileRecord(path=path, volume_ids=volume_ids, **{**standard, **other})


def a_volume(volume_id: str, **other: Any) -> VolumeRecord:
    standard: dict[str, Any] = {
        "store": "/home/volumes",
        "patient_key": "feed",
        "study": "57d1",
        "series": "5e51",
        "modality": "CT",
        "part": "",
        "shape": (96, 80, 40),
        "spacing": (0.5, 0.5, 2.5),
        "unit": "mm",
        "channels": 1,
        "attributes": {"format": "dicom"},
    }
    return VolumeRecord(volume_id=volume_id, **{**standard, **other})


def an_annotation(volume_id: str, path: str = "/data/centres.csv", **labels: int) -> AnnotationRecord:
    return AnnotationRecord(volume_id, path, "csv", sum(labels.values()), labels)
