"""Enhanced multi-frame CT, MR and PET, and what was converted to it from single frames → 3D volumes.

Every frame becomes a `Slice`, so frames are divided, stacked and refused by the same rules as the slices of a series.
Source: DICOM PS3.3 C.7.6.16 (functional groups), A.36, A.38, A.56, A.70 to A.72.
"""

import hashlib
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.dicom import facts, varying
from pipeline.sources.dicom.concatenations import JoinedFrames, by_concatenation, join
from pipeline.sources.dicom.frames import FrameFile, open_frames
from pipeline.sources.dicom.functional_groups import FrameValues, FunctionalGroups
from pipeline.sources.dicom.header import modality, text
from pipeline.sources.dicom.pixels import check_module, rescale
from pipeline.sources.dicom.series import volumes_of
from pipeline.sources.dicom.slices import Slice, blamed_on, stated_place
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import VOLUME_BYTES, LoadedScan, RefusedFiles

_NO_PLACE = "{} is in no functional group, so the frame has no place in the world"
_MEASURED = {
    "DiffusionBValue": "b_value_s_per_mm2",
    "EchoTime": "echo_time_ms",
    "TriggerTime": "trigger_time_ms",
    "KVP": "tube_voltage_kv",
}


def load_enhanced(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan | RefusedFiles]:
    """The volumes of one series of enhanced objects, ``(1 or 3, i, j, k)``, in HU or whatever the rescale gives.

    The frames of all files are pooled, and divided as `load_series` divides slices: by matrix, pixel spacing and
    orientation, and where frames repeat a place, by the fact that tells them apart (echo, b-value, phase …). Each frame
    has its own rescale. Files of one concatenation are joined. Frames that make no volume beside others that do are
    told in the notes of these, for the file is taken.

    Raises:
        SourceError: a file is broken, a part of a concatenation is missing, patients are mixed, or no frames make a
            volume.
        GeometryError: the frames have no place, or do not make an even, straight stack.
    """
    files = [_open(path) for path in sorted(paths)]
    joined = [join(group) for group in by_concatenation(files)]
    _check_size(files)
    slices = [one for whole in joined for file in whole.files for one in _slices(file)]
    patients = len({one.patient for one in slices})
    if patients > 1:
        raise SourceError(f"the series holds files of {patients} different patients")
    return _told(volumes_of(slices, options), joined)


def _open(path: Path) -> FrameFile:
    with blamed_on(str(path)):
        return open_frames(path)


def _check_size(files: list[FrameFile]) -> None:
    """Refuse before anything is allocated; a rescaled voxel takes 4 bytes a sample."""
    size = 0
    for file in files:
        module = check_module(file.dataset)
        size += file.count * module.rows * module.columns * module.samples * 4
    if size > VOLUME_BYTES:
        frames = sum(file.count for file in files)
        raise SourceError(
            f"{frames} frames are {size / 2**30:.1f} GiB of voxels, more than {VOLUME_BYTES / 2**30:.0f} GiB"
        )


def _slices(file: FrameFile) -> list[Slice]:
    with blamed_on(str(file.path)):
        groups = FunctionalGroups.of(file.dataset, file.count)
        remarks = facts.remarks(file.dataset, file.path)
        digest = cache(partial(_digest, file.path))
        slices = (_slice(file, FrameValues(groups, frame)) for frame in range(file.count))
        return [replace(one, digest=digest, remarks=remarks) for one in slices]


def _slice(file: FrameFile, values: FrameValues) -> Slice:
    frame = values.frame
    try:
        slope, intercept = rescale(values)
        place = stated_place(values, file.matrix, _NO_PLACE)
    except SourceError as error:
        raise type(error)(f"frame {frame + 1} of {file.count}: {error}") from error
    return Slice(
        path=str(file.path),
        place=place,
        pixels=partial(_pixels, file, frame),
        facts=varying.facts_of(values),
        slope=slope,
        intercept=intercept,
        patient=text(values, "PatientID") or text(values, "StudyInstanceUID"),
        modality=modality(values),
        instance=float(frame),
        attributes={**facts.attributes(values), **_measured(values)},
    )


def _measured(values: FrameValues) -> dict[str, str]:
    """What divides a series and is worth knowing of each volume, however ``part`` names it."""
    found = {name: varying.as_text(values, keyword) for keyword, name in _MEASURED.items()}
    return {name: value for name, value in found.items() if value}


def _pixels(file: FrameFile, frame: int) -> np.ndarray:
    array = file.read(frame)
    if array is None:
        raise SourceError(f"frame {frame + 1} of {file.count} holds no pixels")
    return array


def _told(found: list[LoadedScan | RefusedFiles], joined: list[JoinedFrames]) -> list[LoadedScan | RefusedFiles]:
    """A file that is in a volume is not refused: what else it holds is told in that volume's notes."""
    scans = [one for one in found if isinstance(one, LoadedScan)]
    taken = {path for scan in scans for path in scan.files}
    copies = tuple(str(path) for whole in joined for path in whole.copies)
    refused = [one for one in found if isinstance(one, RefusedFiles)]
    told = []
    for number, scan in enumerate(scans):
        own = [one.reason for one in refused if set(one.files) & set(scan.files)]
        notes = (*scan.notes, *(f"other frames of its files make no volume: {reason}" for reason in own))
        own_copies = tuple(path for path in scan.copies if path not in taken) + (copies if number == 0 else ())
        told.append(replace(scan, notes=notes, copies=own_copies))
    left = [replace(one, files=tuple(path for path in one.files if path not in taken)) for one in refused]
    return [*told, *(one for one in left if one.files)]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
