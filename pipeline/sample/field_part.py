"""The 2D part of the archive: H&E-like and fluorescence-like fields of view."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.sample.annotations import BoxedScan, IndexRow, centre_rows
from pipeline.sample.contribution import Contribution, label_class_rows
from pipeline.sample.dicom import Subject, write_microscopy
from pipeline.sample.field import Field
from pipeline.sample.fluorescence import draw_fluorescence_field
from pipeline.sample.noise import Part, stream
from pipeline.sample.split import split_of
from pipeline.sample.staining import PIXEL_UM, Stain, draw_he_field
from pipeline.volumes.volume import UNLABELLED

HE_FIELDS = 30
HE_WITHOUT_CELLS = frozenset({10, 17})
HE_DICOM_FROM = 24
FLUORESCENCE_FIELDS = 10
FLUORESCENCE_A_PATIENT = 2
POINTS_FROM = 6
UNLABELLED_SHARE = 0.04


def write_he(root: Path, seed: int, index: int) -> Contribution:
    """Write H&E-like field ``index`` as PNG, or as DICOM from field `HE_DICOM_FROM` on; boxes in pixels."""
    rng = stream(seed, Part.HE, index)
    stain = Stain.draw(stream(seed, Part.STAINING, index))
    field = draw_he_field(rng, stain, 0 if index in HE_WITHOUT_CELLS else int(rng.integers(140, 251)))
    name, patient_id = f"HE{index + 1:03d}", f"SAMPLE-HE{index + 1:02d}"
    if index < HE_DICOM_FROM:
        file = f"cells/he/{name}.png"
        key = {"file": file}
        _save_png(root / file, field.pixels)
    else:
        file = f"cells/he/{name}.dcm"
        subject = Subject(patient_id, seed, name)
        key = {"series_instance_uid": str(subject.series_uid)}
        write_microscopy(root / file, subject, field.pixels, PIXEL_UM / 1000)
    boxes = BoxedScan(key, "px", (field.lower + field.upper) / 2, field.upper - field.lower, field.labels)
    return Contribution(IndexRow(file, patient_id, split_of(index), "he"), boxes=boxes, cells=len(field))


def write_fluorescence(root: Path, seed: int, index: int) -> Contribution:
    """Write fluorescence-like field ``index`` with a label map, or with centre points from `POINTS_FROM` on."""
    rng = stream(seed, Part.FLUORESCENCE, index)
    field = draw_fluorescence_field(rng, int(rng.integers(80, 151)))
    patient = index // FLUORESCENCE_A_PATIENT
    name = f"FL{index + 1:03d}"
    file = f"cells/fluorescence/{name}.png"
    _save_png(root / file, field.pixels)
    row = IndexRow(file, f"SAMPLE-FL{patient + 1:02d}", split_of(patient), "fluorescence")
    if index >= POINTS_FROM:
        centres = centre_rows(name, field.centres, _some_unlabelled(rng, field.labels))
        return Contribution(row, centres=tuple(centres), cells=len(field))
    _save_png(root / "annotations" / "labels" / f"{name}.png", field.instances)
    return Contribution(row, label_classes=_visible_classes(name, field), cells=len(field))


def _some_unlabelled(rng: np.random.Generator, labels: Sequence[str]) -> list[str]:
    """As in real data: of some nuclei nobody said what they are."""
    unsure = rng.random(len(labels)) < UNLABELLED_SHARE
    return [UNLABELLED if hidden else label for label, hidden in zip(labels, unsure, strict=True)]


def _visible_classes(name: str, field: Field) -> tuple[tuple[str, ...], ...]:
    """Classes of the values that the label map holds (a nucleus may lie under others)."""
    values = [int(value) for value in np.unique(field.instances) if value > 0]
    return label_class_rows(name, values, tuple(field.labels[value - 1] for value in values))


def _save_png(path: Path, pixels: np.ndarray) -> None:
    """Write (i, j[, 3]) pixels; PNG rows run along j."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(np.swapaxes(pixels, 0, 1))).save(path, compress_level=4)
