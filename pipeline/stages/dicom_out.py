"""Detections → DICOM objects in the studies of their scans: what finds the sources, and who says it."""

import io
from types import TracebackType
from typing import Literal, Self, get_args

from pipeline.detections import Detections
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.dicom.origin import Origin
from pipeline.sources.origins import Origins
from pipeline.tracking.registry import DIGEST_TAG, VersionRecord
from pipeline.volumes import Volume

DicomFormat = Literal["dicom-sr", "dicom-sr-slices", "dicom-seg", "dicom-ann"]
DICOM_FORMATS: tuple[DicomFormat, ...] = get_args(DicomFormat)


class DicomOut:
    """Makes the objects of one version. Use it as a context manager: it keeps a child process and a catalog open."""

    def __init__(self, record: VersionRecord, settings: Settings) -> None:
        from pipeline.detections.dicom.identity import Author

        self._author = Author(record.name, record.version, record.tags[DIGEST_TAG], record.registered_at)
        self._catalog = Catalog.of(settings)
        self._decoders = Decoders(1)
        self._origins = Origins(self._catalog, self._decoders, settings.home / "unpacked")
        self._last: tuple[str, Origin] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._origins.close()
        self._decoders.close()
        self._catalog.close()

    def make(self, name: DicomFormat, volume: Volume, detections: Detections) -> bytes | None:
        """The file of one object; `None` where the standard has none for a scan without detections.

        Raises:
            SourceError: the scan is not DICOM, of another kind than the object is for, or its files are gone.
        """
        from pipeline.detections.dicom.annotations import bulk_annotations
        from pipeline.detections.dicom.report import report
        from pipeline.detections.dicom.segmentation import segmentation

        origin = self._origin(volume)
        if name == "dicom-ann":
            made = bulk_annotations(detections, origin, self._author, volume.attributes)
        elif name == "dicom-seg":
            made = segmentation(detections, origin, self._author)
        else:
            made = report(detections, origin, self._author, "slices" if name == "dicom-sr-slices" else "surface")
        if made is None:
            return None
        buffer = io.BytesIO()
        made.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    def _origin(self, volume: Volume) -> Origin:
        if self._last is None or self._last[0] != volume.volume_id:
            self._last = volume.volume_id, self._origins.of(volume)
        return self._last[1]
