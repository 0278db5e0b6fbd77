"""What the catalog's volumes look like, and whether they are whole."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.geometry import Boxes, Grid
from pipeline.progress import Progress
from pipeline.reporting.display import grey_range
from pipeline.reporting.overlay import draw, drawn_size, montage
from pipeline.reporting.panels import Marks, Panel, Role, panel
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.types import Image
from pipeline.volumes import Annotations, Volume
from pipeline.volumes.store import VolumeStore

_PLANES = ("sagittal", "coronal", "axial")  # by the world axis, right to left first, that runs through the plane
_FIELD_PX = 1024
_HIGHEST_PX = 4096
_STRIP_BYTES = 64 << 20


@dataclass(frozen=True)
class Verification:
    """Volumes (by id) whose checksums hold, those whose do not, and those that are not in the store."""

    whole: int
    damaged: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _View:
    """A volume seen along one array axis: its plane ``(channel, a, b)``, where ``c`` of ``grid`` is the axis."""

    plane: Image
    grid: Grid
    marks: tuple[Marks, ...]
    index: int
    caption: str

    def panel(self, shown: tuple[float, float]) -> Panel:
        stack = np.broadcast_to(self.plane[..., None], (*self.plane.shape, self.grid.shape[2]))
        return panel(stack, self.grid, self.marks, shown=shown, slice_index=self.index, caption=self.caption)


def verify_volumes(settings: Settings, root: Path | None = None, progress: Progress | None = None) -> Verification:
    """Check the stored voxels of every volume (read from files below ``root``) against their checksums.

    A damaged entry is marked, so that the next ingest of its archive builds it anew.
    """
    catalog = Catalog.of(settings)
    ids = catalog.volume_ids(root)
    catalog.close()
    store = VolumeStore(settings.volumes)
    damaged, missing = [], []
    for number, volume_id in enumerate(ids, start=1):
        try:
            if not store.verify(volume_id):
                damaged.append(volume_id)
        except SourceError:
            missing.append(volume_id)
        if progress is not None:
            progress(number, len(ids), "volumes")
    return Verification(len(ids) - len(damaged) - len(missing), tuple(damaged), tuple(missing))


def thumbnail(volume: Volume) -> bytes:
    """A picture of a volume with its annotations, as PNG.

    A 2D field as a whole, in at most 1024 pixels along its longer edge. A 3D volume by its middle slices along the
    three axes, and where it is annotated in a second row by the slices through the largest object; pixels as wide and
    high as the spacing says, sides as radiologists see them (`display.flips`). A plane that is many times as high as
    wide is left out.

    Raises:
        SourceError: no plane of the volume is wide enough for a picture.
    """
    panels = _field(volume) if volume.grid.dims == 2 else _slices(volume)
    drawn = [draw(one) for one in panels if drawn_size(one)[1] <= _HIGHEST_PX]
    if not drawn:
        raise SourceError(f"volume {volume.volume_id} is too narrow for a picture: {volume.grid.shape} voxels")
    buffer = io.BytesIO()
    montage(drawn).save(buffer, format="PNG")
    return buffer.getvalue()


def _slices(volume: Volume) -> list[Panel]:
    grid = volume.grid
    rows = [np.array(grid.shape) // 2]
    if volume.annotations is not None and len(volume.annotations):
        boxes = volume.annotations.boxes
        largest = int(np.argmax(np.prod(boxes.sizes_world, axis=1)))
        rows.append(np.clip(np.floor(boxes.centres[largest] + 0.5).astype(int), 0, np.array(grid.shape) - 1))
    views = [view for at in rows for view in _views(volume, at)]
    sample = np.concatenate([view.plane.reshape(volume.channels, -1, 1) for view in views], axis=1)
    shown = grey_range(sample, None)
    return [view.panel(shown) for view in views]


def _views(volume: Volume, at: np.ndarray) -> Iterator[_View]:
    """The slices through voxel ``at``: axial, coronal, sagittal."""
    nearest = volume.grid.orientation()[:, 0].astype(int)  # the world axis of each array axis
    for world in (2, 1, 0):
        through = int(np.flatnonzero(nearest == world)[0])
        # Across the picture runs right to left or front to back, down it front to back or head to foot.
        across, down = sorted((axis for axis in range(3) if axis != through), key=lambda axis: nearest[axis])
        order = [across, down, through]
        index = int(at[through])
        region: list[int | slice] = [slice(None)] * 4
        region[1 + through] = index
        plane = np.asarray(volume.array[tuple(region)])
        yield _View(
            plane=plane if across < down else plane.transpose(0, 2, 1),
            grid=_reordered(volume.grid, order),
            marks=_marks(volume.annotations, order),
            index=index,
            caption=f"{_PLANES[world]}, slice {index + 1} of {volume.grid.shape[through]}",
        )


def _reordered(grid: Grid, order: Sequence[int]) -> Grid:
    return Grid(tuple(grid.shape[axis] for axis in order), grid.affine[:, [*order, 3]], grid.unit)


def _marks(annotations: Annotations | None, order: Sequence[int]) -> tuple[Marks, ...]:
    if annotations is None:
        return ()
    boxes, axes = annotations.boxes, list(order)
    turned = Boxes(boxes.lower[:, axes], boxes.upper[:, axes], _reordered(boxes.grid, order))
    return _by_role(turned, annotations)


def _by_role(boxes: Boxes, annotations: Annotations) -> tuple[Marks, ...]:
    roles: tuple[tuple[Role, np.ndarray], ...] = (("annotation", ~annotations.ignore), ("ignored", annotations.ignore))
    return tuple(
        Marks(role, boxes[chosen], np.zeros(int(chosen.sum()), dtype=bool), points=annotations.from_points)
        for role, chosen in roles
    )


def _field(volume: Volume) -> list[Panel]:
    step = -(-max(volume.grid.shape) // _FIELD_PX)
    steps = np.minimum(step, volume.grid.shape)
    image, grid = (np.asarray(volume.array[...]), volume.grid) if step == 1 else _thinned(volume, steps)
    marks: tuple[Marks, ...] = ()
    if volume.annotations is not None:
        boxes = volume.annotations.boxes
        lower, upper = ((edge + 0.5) / steps - 0.5 for edge in (boxes.lower, boxes.upper))
        marks = _by_role(Boxes(lower, upper, grid), volume.annotations)
    shown = grey_range(image, None)
    caption = f"1 of {step} pixels each way" if step > 1 else ""
    return [panel(image, grid, marks, shown=shown, caption=caption)]


def _thinned(volume: Volume, steps: np.ndarray) -> tuple[Image, Grid]:
    """The field with each ``steps`` pixels averaged to one, read in strips; a rest at the far edges is left out."""
    across, down = (int(step) for step in steps)
    width, height = (int(n) // step for n, step in zip(volume.grid.shape, (across, down), strict=True))
    row_bytes = volume.channels * width * across * down * volume.dtype.itemsize
    rows = max(1, _STRIP_BYTES // row_bytes)
    out = np.empty((volume.channels, width, height), dtype=np.float32)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        strip = np.asarray(volume.array[:, : width * across, start * down : stop * down])
        blocks = strip.reshape(volume.channels, width, across, stop - start, down)
        out[:, :, start:stop] = blocks.mean(axis=(2, 4), dtype=np.float32)
    affine = volume.grid.affine.copy()
    affine[:2, 2] = volume.grid.to_world((steps[None] - 1) / 2)[0]
    affine[:2, :2] *= steps
    image = np.round(out).astype(volume.dtype) if volume.dtype.kind in "iu" else out
    return image, Grid((width, height), affine, volume.grid.unit)
