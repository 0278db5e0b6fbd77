"""Where the frames of a DICOM segmentation lie: each on a corner of one lattice.

Three kinds: in the patient (plane positions, PS3.3 C.7.6.16.2.3), on a slide (places in the total pixel matrix,
C.8.12.6.1 and C.7.6.17.3), or on a single picture that states no place.
"""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_lps_to_ras
from pipeline.sources.annotations.dicom_references import items
from pipeline.sources.annotations.dicom_seg_frames import Frames
from pipeline.sources.dicom.functional_groups import FunctionalGroups
from pipeline.sources.dicom.geometry import SlicePlace
from pipeline.sources.dicom.header import numbers, text, whole_number

# A frame may lie this far from its place on the lattice, in voxels (positions are rounded in headers).
_OFF_LATTICE_VOXELS = 0.02
_SAME_PLACE_MM = 0.01

# The functional groups' first items of each frame, by keyword.
FrameGroups = list[dict[str, Dataset]]


@dataclass(frozen=True, eq=False)
class Places:
    """``corners`` ``(frames, d)``: the index on ``grid`` of each frame's first pixel; at the right and lower edge of a
    slide a frame may reach beyond the grid.
    """

    grid: Grid
    corners: np.ndarray
    notes: tuple[str, ...] = ()


def frame_groups(dataset: FileDataset, count: int) -> FrameGroups:
    """The functional groups of each frame, shared ones included.

    Raises:
        SourceError: there are groups of another number of frames.
    """
    groups = FunctionalGroups.of(dataset, count)
    return [groups.of_frame(frame) for frame in range(count)]


def places_of(dataset: FileDataset, frames: Frames, groups: FrameGroups) -> Places:
    """Where the frames lie.

    Raises:
        AnnotationError: places are missing, or do not fall on one lattice.
        GeometryError: directions or spacings that cannot be.
    """
    if "TotalPixelMatrixColumns" in dataset:
        return _on_slide(dataset, frames, groups)
    if any("PlanePositionSequence" in group for group in groups):
        return _in_patient(frames, groups)
    return _on_picture(frames, groups)


def _numbers(group: dict[str, Dataset], macro: str, keyword: str, count: int) -> tuple[float, ...]:
    values = _optional(group, macro, keyword, count)
    if values is None:
        raise AnnotationError(f"a frame has no {keyword}")
    return values


def _optional(group: dict[str, Dataset], macro: str, keyword: str, count: int) -> tuple[float, ...] | None:
    return numbers(group[macro], keyword, count) if macro in group else None


def _in_patient(frames: Frames, groups: FrameGroups) -> Places:
    first = _slice_place(groups[0], frames)
    axes = np.array([first.row_lps, first.column_lps, first.normal_lps])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    positions = np.empty((frames.count, 3))
    for number, group in enumerate(groups):
        place = _slice_place(group, frames)
        if not np.allclose([place.row_lps, place.column_lps], [first.row_lps, first.column_lps], atol=1e-3):
            raise AnnotationError("its frames have several orientations, so they make no one raster")
        if not np.allclose(place.spacing, first.spacing, rtol=1e-3, atol=0):
            raise AnnotationError("its frames have several pixel spacings, so they make no one raster")
        positions[number] = place.position_lps
    along = (positions - positions[0]) @ axes.T
    step, notes = _step(along[:, 2], groups[0])
    spacing = np.array([*first.spacing, step])
    exact = along / spacing
    corners = np.round(exact).astype(np.int64)
    off = np.abs(exact - corners).max()
    if off > _OFF_LATTICE_VOXELS:
        raise AnnotationError(f"a frame lies {off:.3f} voxels beside the lattice of the others ({spacing.tolist()} mm)")
    lowest = corners.min(axis=0)
    corners -= lowest
    # The lattice's own origin is the mean over the frames, so that a rounded first position shifts nothing.
    origin = (positions - (corners * spacing) @ axes).mean(axis=0)
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = axes.T * spacing
    affine_lps[:3, 3] = origin
    shape = tuple((corners.max(axis=0) + np.array([frames.columns, frames.rows, 1])).tolist())
    return Places(Grid(shape, affine_lps_to_ras(affine_lps)), corners, notes)


def _slice_place(group: dict[str, Dataset], frames: Frames) -> SlicePlace:
    position = _numbers(group, "PlanePositionSequence", "ImagePositionPatient", 3)
    turned = _numbers(group, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    rows, columns = _numbers(group, "PixelMeasuresSequence", "PixelSpacing", 2)
    return SlicePlace(position, turned[:3], turned[3:], (columns, rows), (frames.columns, frames.rows))


def _step(along: np.ndarray, group: dict[str, Dataset]) -> tuple[float, tuple[str, ...]]:
    """The distance of slices in mm; slices without voxels are left out of many files, so frames may lie apart.

    SpacingBetweenSlices is the source's own. Without it the smallest distance is taken, or SliceThickness where slices
    lie alone, three times that apart or more. Neither can be wrong without the raster missing its image's voxels.
    """
    between, thickness = (
        _optional(group, "PixelMeasuresSequence", name, 1) for name in ("SpacingBetweenSlices", "SliceThickness")
    )
    gaps = np.diff(np.sort(along))
    gaps = gaps[gaps > _SAME_PLACE_MM]
    stated = abs(between[0]) if between else 0.0
    if stated > 0 and not _divides(stated, gaps):
        raise AnnotationError(f"SpacingBetweenSlices is {stated:g} mm, but slices lie {gaps.min():g} mm apart")
    if stated > 0:
        return stated, ()
    thick = thickness[0] if thickness else 0.0
    if thick > 0 and _divides(thick, gaps) and (not len(gaps) or gaps.min() > 2.5 * thick):
        return thick, ()
    if not len(gaps):
        raise AnnotationError("a single slice needs SpacingBetweenSlices or SliceThickness above 0, to have a volume")
    note = "the slice distance is not stated; the smallest distance of two segmented slices was taken"
    return float(np.mean(gaps[gaps < 1.5 * gaps.min()])), (note,)


def _divides(step: float, gaps: np.ndarray) -> bool:
    return bool((np.abs(gaps / step - np.maximum(np.round(gaps / step), 1)) <= _OFF_LATTICE_VOXELS).all())


def _on_slide(dataset: FileDataset, frames: Frames, groups: FrameGroups) -> Places:
    columns, rows = (whole_number(dataset, f"TotalPixelMatrix{axis}") for axis in ("Columns", "Rows"))
    if columns < 1 or rows < 1:
        raise AnnotationError(f"the total pixel matrix must have columns and rows, got {columns} x {rows}")
    if whole_number(dataset, "TotalPixelMatrixFocalPlanes", 1) != 1:
        raise AnnotationError("segmentations over several focal planes are not read")
    row_mm, column_mm = _numbers(groups[0], "PixelMeasuresSequence", "PixelSpacing", 2)
    # As `slides` has it: the world starts at the outer corner of the first pixel.
    affine = np.array([[column_mm, 0.0, column_mm / 2], [0.0, row_mm, row_mm / 2], [0.0, 0.0, 1.0]])
    grid = Grid((columns, rows), affine)
    if text(dataset, "DimensionOrganizationType") == "TILED_FULL":
        return Places(grid, _full_corners(frames, columns, rows))
    corners = np.array([_tile_corner(group) for group in groups])
    if (corners < 0).any() or (corners >= (columns, rows)).any():
        raise AnnotationError(f"a tile starts outside the total pixel matrix of {columns} x {rows}")
    return Places(grid, corners)


def _tile_corner(group: dict[str, Dataset]) -> tuple[int, int]:
    place = group.get("PlanePositionSlideSequence")
    if place is None:
        raise AnnotationError("a tile has no place in the total pixel matrix")
    column = whole_number(place, "ColumnPositionInTotalImagePixelMatrix")
    return column - 1, whole_number(place, "RowPositionInTotalImagePixelMatrix") - 1


def _full_corners(frames: Frames, columns: int, rows: int) -> np.ndarray:
    """TILED_FULL (PS3.3 C.7.6.17.3): columns vary fastest, then rows, then segments."""
    across, down = -(-columns // frames.columns), -(-rows // frames.rows)
    if frames.count % (across * down):
        raise AnnotationError(f"{across} x {down} tiles of a full matrix do not divide {frames.count} frames")
    tile = np.arange(frames.count) % (across * down)
    return np.column_stack([tile % across * frames.columns, tile // across * frames.rows])


def _on_picture(frames: Frames, groups: FrameGroups) -> Places:
    if "PlanePositionSlideSequence" in groups[0]:
        raise AnnotationError("a segmentation of slide tiles needs its total pixel matrix")
    if len({_source_frame(group) for group in groups}) > 1:
        raise AnnotationError("its frames belong to several frames of one image and state no place")
    shape = (frames.columns, frames.rows)
    spacing = _optional(groups[0], "PixelMeasuresSequence", "PixelSpacing", 2)
    grid = Grid.of_pixels(shape) if spacing is None else Grid(shape, np.diag([spacing[1], spacing[0], 1.0]))
    return Places(grid, np.zeros((frames.count, 2), dtype=np.int64))


def _source_frame(group: dict[str, Dataset]) -> tuple[str, ...]:
    derivation = group.get("DerivationImageSequence")
    sources = [] if derivation is None else items(derivation, "SourceImageSequence")
    return tuple(f"{text(one, 'ReferencedSOPInstanceUID')} {text(one, 'ReferencedFrameNumber')}" for one in sources)
