"""The store: one folder a volume, written whole or not at all.

::

    <root>/<volume_id>/image.b2nd          voxels (channel, i, j[, k]), native dtype, chunked and checksummed
                       volume.json         grid, patient key, modality, subset, attributes
                       annotations.json    boxes, labels; absent where nobody annotated the volume
                       labels.b2nd         label map (1, i, j[, k]), where the annotation came as one
                       damaged             left by a reader that met a wrong checksum: the entry is built anew

A folder is built under a temporary name and renamed, so a killed run leaves no half volume. The name is a digest
of voxels and grid: the same scan met twice is one volume. What is known about it stays until something else is
said: `None` leaves a field as it is.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.types import LabelMap
from pipeline.volumes.arrays import DAMAGED, DamagedArray, StoredArray, Voxels, WrittenArray, write_array
from pipeline.volumes.read import annotations_to_json, volume_from_json, volume_to_json, voxel_digest
from pipeline.volumes.volume import Annotations, Volume

_IMAGE, _RECORD, _ANNOTATIONS, _LABELS = "image.b2nd", "volume.json", "annotations.json", "labels.b2nd"
_LEFTOVER_SECONDS = 24 * 3600.0


class VolumeStore:
    """Volumes on disk under ``root``, by ``volume_id``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(
        self,
        *,
        image: Voxels | WrittenArray,
        grid: Grid,
        name: str | None = None,
        patient_key: str | None = None,
        modality: str,
        attributes: dict[str, str],
        subset: str | None = None,
        annotations: Annotations | None = None,
        label_map: LabelMap | Path | None = None,
        study: str | None = None,
        series: str | None = None,
    ) -> Volume:
        """Keep a volume; putting it again changes nothing but what is newly said about it.

        Args:
            image: ``(channel, i, j[, k])``, or a file by `write_array`, which is moved into the store.
            grid: its spatial shape must be the image's.
            name: safe to show; by default modality, the start of the id and the shape.
            patient_key: a keyed hash; `None` where the patient is not known: the volume stands for itself.
            modality: DICOM's Modality, ``OT`` where the source states none.
            attributes: added to those that are known, and an empty one is taken away; nothing that identifies a
                patient.
            subset: ``train``, ``validation``, ``test``.
            annotations: on ``grid``.
            label_map: ``(i, j[, k])``, or the path of a file by `write_array` with a leading axis of 1, to move.
            study: digest of the StudyInstanceUID; of a scan met under several, the first one stands.
            series: digest of the SeriesInstanceUID.

        Raises:
            ValueError: the shapes of image and grid differ.
        """
        written = image if isinstance(image, WrittenArray) else write_array(self.incoming(), image)
        if written.shape[1:] != grid.shape:
            raise ValueError(f"the image has spatial shape {written.shape[1:]}, its grid {grid.shape}")
        volume_id = voxel_digest(written.content, grid)
        if not self.has(volume_id):
            volume = Volume(
                volume_id=volume_id,
                name=name or volume_name(modality, volume_id, grid.shape),
                patient_key=patient_key or volume_id,
                modality=modality,
                grid=grid,
                channels=written.shape[0],
                dtype=written.dtype,
                array_path=self.folder(volume_id) / _IMAGE,
                subset=subset,
                attributes=_stated(attributes),
                study=study,
                series=series,
            )
            self._create(volume, written.path)
        else:
            written.path.unlink()
        self.describe(
            volume_id, patient_key=patient_key, modality=modality, subset=subset, attributes=attributes, name=name
        )
        if annotations is not None:
            return self.annotate(volume_id, annotations, label_map)
        return self.get(volume_id)

    def has(self, volume_id: str) -> bool:
        """Whether the volume is there and whole."""
        folder = self.folder(volume_id)
        whole = (folder / _RECORD).is_file() and (folder / _IMAGE).is_file()
        return whole and not (folder / DAMAGED).exists()

    def verify(self, volume_id: str) -> bool:
        """Read every checksum of a volume; a damaged one is marked, so that the next ingest builds it anew.

        Raises:
            SourceError: the volume is not in the store.
        """
        volume = self.get(volume_id)
        labels = self.folder(volume_id) / _LABELS
        try:
            volume.array.check()
            if labels.is_file():
                StoredArray.open(labels).check()
        except (DamagedArray, FileNotFoundError):
            return False
        return True

    def folder(self, volume_id: str) -> Path:
        return self.root / volume_id

    def get(self, volume_id: str) -> Volume:
        """The record of one volume; voxels are read when asked for.

        Raises:
            SourceError: the volume is not in the store.
        """
        folder = self.folder(volume_id)
        try:
            raw = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SourceError(f"volume {volume_id} is not in the store: ingest its files again") from error
        path = folder / _ANNOTATIONS
        annotations = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        labels = folder / _LABELS
        volume = volume_from_json(raw, folder / _IMAGE, annotations)
        return dataclasses.replace(volume, label_map_path=labels if labels.is_file() else None)

    def label_map(self, volume_id: str) -> LabelMap | None:
        """The label map ``(i, j[, k])`` that the annotations came as, or `None`."""
        path = self.folder(volume_id) / _LABELS
        return StoredArray.open(path)[0] if path.is_file() else None

    def annotate(
        self, volume_id: str, annotations: Annotations | None, label_map: LabelMap | Path | None = None
    ) -> Volume:
        """Replace what was annotated; `None` says that nobody annotated the volume.

        Raises:
            SourceError: the volume is not in the store.
            ValueError: the annotations lie on a grid of another shape.
        """
        volume = self.get(volume_id)
        folder = self.folder(volume_id)
        if annotations is None:
            (folder / _ANNOTATIONS).unlink(missing_ok=True)
            (folder / _LABELS).unlink(missing_ok=True)
            return dataclasses.replace(volume, annotations=None, label_map_path=None)
        if annotations.boxes.grid.shape != volume.grid.shape:
            raise ValueError(f"annotations lie on {annotations.boxes.grid.shape}, the volume on {volume.grid.shape}")
        if label_map is None:
            (folder / _LABELS).unlink(missing_ok=True)
        else:
            if not isinstance(label_map, Path):
                written = self.incoming()
                write_array(written, label_map[None])
                label_map = written
            label_map.replace(folder / _LABELS)
        _write_json(folder / _ANNOTATIONS, annotations_to_json(annotations))
        path = None if label_map is None else folder / _LABELS
        return dataclasses.replace(volume, annotations=annotations, label_map_path=path)

    def describe(
        self,
        volume_id: str,
        *,
        patient_key: str | None = None,
        modality: str | None = None,
        subset: str | None = None,
        attributes: dict[str, str] | None = None,
        name: str | None = None,
    ) -> Volume:
        """Say more about a volume; `None` leaves a field as it is, attributes are added, empty ones taken away.

        Raises:
            SourceError: the volume is not in the store.
        """
        volume = self.get(volume_id)
        modality = modality or volume.modality
        if name is None and modality == volume.modality:
            name = volume.name
        changed = dataclasses.replace(
            volume,
            patient_key=patient_key or volume.patient_key,
            modality=modality,
            subset=subset or volume.subset,
            attributes=_stated({**volume.attributes, **(attributes or {})}),
            name=name or volume_name(modality, volume_id, volume.grid.shape),
        )
        if volume_to_json(changed) != volume_to_json(volume):
            _write_json(self.folder(volume_id) / _RECORD, volume_to_json(changed))
        return changed

    def incoming(self) -> Path:
        """A fresh path inside the store's file system, for voxels that are about to be put."""
        folder = self.root / ".incoming"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{uuid.uuid4().hex}.b2nd"

    def sweep(self) -> None:
        """Remove what killed runs left half-written; a day old, so that no running one is disturbed."""
        oldest = time.time() - _LEFTOVER_SECONDS
        for path in (self.root / ".incoming").glob("*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _create(self, volume: Volume, image: Path) -> None:
        temporary = self.incoming().with_suffix("")
        temporary.mkdir()
        try:
            image.replace(temporary / _IMAGE)
            _write_json(temporary / _RECORD, volume_to_json(volume))
            final = self.folder(volume.volume_id)
            if final.exists() and not self.has(volume.volume_id):
                _carry_over(final, temporary)
                shutil.rmtree(final)
            os.replace(temporary, final)  # noqa: PTH105 - the atomic step, named as such
        except OSError:
            if not self.has(volume.volume_id):  # else another process put the same volume first
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _carry_over(damaged: Path, fresh: Path) -> None:
    """What was said of a volume outlives its voxels: they were made again, and what says it may not be read again."""
    labels = damaged / _LABELS
    for name in (_RECORD, _ANNOTATIONS):
        with contextlib.suppress(OSError, ValueError):
            json.loads((damaged / name).read_text(encoding="utf-8"))
            shutil.copyfile(damaged / name, fresh / name)
    with contextlib.suppress(OSError, DamagedArray):
        StoredArray.open(labels).check()
        shutil.copyfile(labels, fresh / _LABELS)


def volume_name(modality: str, volume_id: str, shape: Sequence[int]) -> str:
    """A name that is safe to show: ``CT 3f2a91c0 96x96x40``."""
    return f"{modality} {volume_id[:8]} {'x'.join(str(n) for n in shape)}"


def _stated(attributes: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
