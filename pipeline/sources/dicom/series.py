"""Cross-sectional DICOM series → 3D volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sources.dicom import geometry, split
from pipeline.sources.dicom.copies import mosaic_content, without_copies
from pipeline.sources.dicom.header import numbers, open_dataset
from pipeline.sources.dicom.slices import Slice, read_slices
from pipeline.sources.dicom.split import Group
from pipeline.sources.dicom.tilt import Straightened, shear
from pipeline.sources.dicom.voxels import scaled
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import VOLUME_BYTES, LoadedScan, RefusedFiles

# Slices that lie farther apart than this many times their thickness leave gaps: as meant, or as lost.
_SPARSE = 1.5


@dataclass(frozen=True)
class _Failure:
    """A group that makes no volume."""

    group: Group
    error: SourceError

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.path for one in self.group.slices))

    def because(self, reason: GeometryError) -> "_Failure":
        """The same with a reason before its own, if it is about places, too."""
        if not isinstance(self.error, GeometryError):
            return self
        return replace(self, error=GeometryError(f"{reason}; then {self.error}"))

    def refused(self) -> list[RefusedFiles]:
        culprit = getattr(self.error, "path", None)
        if culprit is None or len(self.files) == 1:
            return [RefusedFiles(self.files, str(self.error))]
        others = tuple(path for path in self.files if path != culprit)
        reason = f"its stack is not whole: 1 of {len(self.files)} files cannot be read"
        return [RefusedFiles((culprit,), str(self.error)), RefusedFiles(others, reason)]


def load_series(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan | RefusedFiles]:
    """The volumes of one cross-sectional series, ``(1 or 3, i, j, k)``, in HU or whatever the rescale gives.

    ``k`` grows along the slices' normal (row direction × column direction). A series is divided where matrix, pixel
    spacing or orientation differ (localizer planes), and where slices repeat a place, by the attribute that tells the
    repeats apart (echo, b-value, phase …); ``part`` names it. A group that makes no volume is given as `RefusedFiles`
    beside the volumes of the others. A slice that is there twice, with equal pixels and header, is taken once.

    Raises:
        SourceError: a header of the series is broken or names no place (a volume would silently miss a slice),
            patients are mixed, or no group makes a volume.
        GeometryError: the slices do not make an even, straight stack.
    """
    slices, broken = _read(sorted(paths))
    if broken:
        return [*broken]
    return volumes_of(slices, options)


def volumes_of(slices: list[Slice], options: ReadOptions) -> list[LoadedScan | RefusedFiles]:
    """The volumes that slices make, whether each has a file of its own or they are frames of one; see `load_series`.

    Raises:
        SourceError: the slices make no volume.
    """
    mosaics, plain = [one for one in slices if one.mosaic], [one for one in slices if not one.mosaic]
    scans, failures = _load_mosaics(mosaics) if mosaics else ([], [])
    if plain:
        more, failed = _load_planes(plain, options)
        scans, failures = scans + more, failures + failed
    if not scans and len(failures) == 1:
        raise failures[0].error
    return [*scans, *(refused for failure in failures for refused in failure.refused())]


def _read(paths: list[Path]) -> tuple[list[Slice], list[RefusedFiles]]:
    """All slices; or, where several headers are broken, the reason for every file."""
    slices: list[Slice] = []
    errors: dict[str, SourceError] = {}
    for path in paths:
        try:
            slices += read_slices(path)
        except SourceError as error:
            errors[str(path)] = error
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        return [], _all_broken(paths, errors)
    _check_size(slices, len(paths))
    patients = len({one.patient for one in slices})
    if patients > 1:
        raise SourceError(f"the series holds files of {patients} different patients")
    modalities = sorted({one.modality for one in slices})
    if len(modalities) > 1:
        raise SourceError(f"the series holds images of {len(modalities)} modalities: {', '.join(modalities)}")
    return slices, []


def _all_broken(paths: list[Path], errors: dict[str, SourceError]) -> list[RefusedFiles]:
    others = tuple(str(path) for path in paths if str(path) not in errors)
    reason = f"its series is not whole: {len(errors)} of {len(paths)} files cannot be read"
    refused = [RefusedFiles((path,), str(error)) for path, error in errors.items()]
    return [*refused, RefusedFiles(others, reason)] if others else refused


def _check_size(slices: list[Slice], files: int) -> None:
    voxels = sum(one.place.shape[0] * one.place.shape[1] for one in slices)
    if voxels * 4 > VOLUME_BYTES:
        raise SourceError(f"the {len(slices)} slices of {files} files are more than {VOLUME_BYTES / 2**30:.0f} GiB")


def _load_planes(slices: list[Slice], options: ReadOptions) -> tuple[list[LoadedScan], list[_Failure]]:
    """One group for each orientation and matrix. Next to a group that is refused, single slices are refused, too."""
    groups = split.by_geometry(slices)
    loaded = [_load_group(group, options) for group in groups]
    scans = [scan for found, _ in loaded for scan in found]
    failures = [failure for _, failed in loaded for failure in failed]
    if failures and len(groups) > 1:
        unlike = _unlike(groups)
        scans, strays = _without_strays(scans, groups, unlike)
        failures = [failure.because(unlike) for failure in failures] + strays
    return scans, failures


def _without_strays(
    scans: list[LoadedScan], groups: list[Group], error: GeometryError
) -> tuple[list[LoadedScan], list[_Failure]]:
    kept, strays = [], []
    for scan in scans:
        if scan.grid.shape[2] > 1:
            kept.append(scan)
        else:
            members = [one for group in groups for one in group.slices if one.path in scan.files]
            strays.append(_Failure(Group(tuple(members), scan.part), error))
    return kept, strays


def _unlike(groups: Sequence[Group]) -> GeometryError:
    try:
        geometry.check_alike([one.place for group in groups for one in group.slices])
    except GeometryError as error:
        return error
    return GeometryError("the slices of one series must be alike")


def _load_group(group: Group, options: ReadOptions) -> tuple[list[LoadedScan], list[_Failure]]:
    """The volumes of slices that share matrix and orientation, and what makes none."""
    scans: list[LoadedScan] = []
    failures: list[_Failure] = []
    try:
        group, copies = without_copies(group)
        parts = _parts(group)
    except SourceError as error:
        return [], [_Failure(group, error)]
    for part in parts:
        found, failed = _load_stack(part, copies, options)
        scans, failures, copies = scans + found, failures + failed, () if found else copies
    return scans, failures


def _parts(group: Group) -> list[Group]:
    """By the standard's attributes, or else by the vendors'."""
    parts = split.by_attribute(group)
    if len(parts) == 1 and split.repeats(group):
        return split.by_attribute(split.with_private_facts(group))
    return parts


def _load_stack(group: Group, copies: tuple[str, ...], options: ReadOptions) -> tuple[list[LoadedScan], list[_Failure]]:
    """One volume; or, where the slices are uneven, the stacks that they are of."""
    try:
        group, more = without_copies(group)
        return [_volume(group, copies + more, options)], []
    except SourceError as error:
        if not isinstance(error, GeometryError):
            return [], [_Failure(group, error)]
        whole = _Failure(group, error)
    for way in split.stacks_apart(group):
        scans: list[LoadedScan] = []
        failures: list[_Failure] = []
        for part in way:
            try:
                scans.append(_volume(part, copies if not scans else (), options))
            except SourceError as error:
                failures.append(_Failure(part, error))
        if scans:
            return scans, failures
    return [], [whole]


def _load_mosaics(slices: list[Slice]) -> tuple[list[LoadedScan], list[_Failure]]:
    """A volume for each file; one that holds the same again is its copy."""
    files: dict[str, list[Slice]] = {}
    for one in slices:
        files.setdefault(one.mosaic, []).append(one)
    stacks: dict[object, list[list[Slice]]] = {}
    for tiles in sorted(files.values(), key=lambda tiles: (tiles[0].instance, tiles[0].path)):
        stacks.setdefault(mosaic_content(tiles), []).append(tiles)
    scans, failures = [], []
    for number, (tiles, *again) in enumerate(stacks.values(), start=1):
        group = Group(tuple(tiles), f"volume {number} of {len(stacks)}" if len(stacks) > 1 else "")
        try:
            scans.append(_volume(group, tuple(other[0].path for other in again), ReadOptions()))
        except SourceError as error:
            failures.append(_Failure(group, error))
    return scans, failures


def _volume(group: Group, copies: tuple[str, ...], options: ReadOptions) -> LoadedScan:
    order = geometry.order([one.place for one in group.slices])
    slices = [group.slices[index] for index in order]
    first = slices[0]
    _check_one_frame_of_reference(slices)
    image, grid, tilt = _straight(slices, options)
    return LoadedScan(
        image,
        grid,
        first.modality,
        {**_shared(slices), **({"gantry_tilt_degrees": f"{tilt.degrees:.1f}"} if tilt else {})},
        patient_id=first.patient or None,
        notes=_notes(slices, group.part, copies, tilt.note if tilt else "", float(grid.spacing[2])),
        files=tuple(dict.fromkeys(one.path for one in slices)),
        copies=copies,
        digests={one.path: one.digest() for one in slices},
        part=group.part,
    )


def _check_one_frame_of_reference(slices: list[Slice]) -> None:
    frames = {one.frame_of_reference for one in slices} - {""}
    if len(frames) > 1:
        raise GeometryError(
            f"the slices lie in {len(frames)} frames of reference (FrameOfReferenceUID), so their places cannot be "
            "compared (PS3.3 C.7.4.1.1.1)"
        )


def _straight(slices: list[Slice], options: ReadOptions) -> tuple[np.ndarray, Grid, Straightened | None]:
    places = [one.place for one in slices]
    step = geometry.step_lps(places)
    if options.tilt == "refuse" or not geometry.lean_mm(step, places).any():
        grid = geometry.stack(places)
        return scaled(slices), grid, None
    image = scaled(slices)
    padding = _padding(slices[0])
    made = shear(image, places, step, float(image.min()) if padding is None else padding, padding)
    return made.image, made.grid, made


def _padding(one: Slice) -> float | None:
    """PixelPaddingValue after the rescale: what lies outside the scanned field."""
    stated = numbers(open_dataset(Path(one.path)), "PixelPaddingValue", 1)
    return None if stated is None else stated[0] * one.slope + one.intercept


def _shared(slices: list[Slice]) -> dict[str, str]:
    first = slices[0].attributes
    return {name: value for name, value in first.items() if all(one.attributes.get(name) == value for one in slices)}


def _notes(
    slices: list[Slice], part: str, copies: tuple[str, ...], straightened: str, step_mm: float
) -> tuple[str, ...]:
    thickness = slices[0].place.thickness
    sparse = len(slices) > 1 and thickness is not None and step_mm > _SPARSE * thickness
    remarks = [
        f"slices of {thickness:g} mm lie {step_mm:g} mm apart: some may be missing" if sparse else "",
        f"one of several volumes of the series: {part}" if part else "",
        f"{len(copies)} identical copies of slices left out" if copies else "",
        straightened,
        *dict.fromkeys(remark for one in slices for remark in one.remarks),
    ]
    return tuple(remark for remark in remarks if remark)
