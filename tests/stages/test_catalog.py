import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import SourceError
from pipeline.geometry import Boxes, Grid
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog, FileRecord
from pipeline.sources.taking import volume_record
from pipeline.stages.catalog import thumbnail, verify_volumes
from pipeline.volumes import Annotations
from pipeline.volumes.store import VolumeStore

_BLUE = (86, 200, 255)  # of annotations, by reporting.overlay


@pytest.fixture
def settings(tmp_path):
    home = tmp_path / "home"
    return replace(Settings.from_environment(), home=home, catalog_url=f"sqlite:///{home / 'catalog.db'}")


@pytest.fixture
def store(settings):
    return VolumeStore(settings.volumes)


def _picture(volume) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(thumbnail(volume)))).astype(int)


def _put(store, image, affine, boxes=None, unit="mm"):
    grid = Grid(image.shape[1:], affine, unit)
    annotations = (
        None if boxes is None else Annotations.of(Boxes(*map(np.array, boxes), grid), ("lesion",) * len(boxes[0]))
    )
    return store.put(image=image, grid=grid, modality="CT", attributes={}, annotations=annotations)


def _blue_edges(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, right, top, bottom pixel of what is drawn in blue."""
    rows, columns = np.nonzero((picture == _BLUE).all(axis=-1))
    return columns.min(), columns.max(), rows.min(), rows.max()


def test_slices_are_as_wide_and_high_as_their_spacing_says(store):
    # 10 x 20 x 5 voxels of 2 x 1 x 8 mm: 20 mm right to left, 20 mm front to back, 40 mm foot to head.
    image = np.zeros((1, 10, 20, 5), np.int16)
    picture = _picture(_put(store, image, np.diag([2.0, 1.0, 8.0, 1.0])))
    # Three panels of 480 pixels with gaps of 4; coronal and sagittal are twice as high as wide, below a caption of 20.
    assert picture.shape == (20 + 960, 3 * 480 + 2 * 4, 3)


def test_each_plane_shows_the_middle_voxel_where_a_radiologist_looks_for_it(store):
    image = np.zeros((1, 12, 12, 12), np.uint8)
    image[0, 6, 6, 6] = 255
    image[0, 0, 6, 6] = 128  # the leftmost voxel, since i runs to the right (RAS)
    picture = _picture(_put(store, image, np.eye(4)))
    axial, coronal, sagittal = (picture[20:, start : start + 480, 0] for start in (0, 484, 968))
    # 40 pixels a voxel; index 6 of 12 shown backwards is column and row 5: pixels 200 ... 239.
    for plane in (axial, coronal, sagittal):
        row, column = np.unravel_index(plane.argmax(), plane.shape)
        assert 200 <= row < 240
        assert 200 <= column < 240
    for plane in (axial, coronal):
        assert plane[220, 475] > 100  # the patient's left is on the right
        assert plane[220, 5] == 0
    assert sagittal[220, 475] == 0


def test_planes_are_named_by_the_world_whatever_the_order_of_the_axes(store):
    # i runs to the feet, j to the left, k to the front: slices along k are coronal.
    affine = np.array([[0, -1.0, 0, 0], [0, 0, 4.0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]])
    image = np.zeros((1, 30, 20, 10), np.uint8)
    image[0, 29, 10, 5] = 255  # at the feet
    picture = _picture(_put(store, image, affine))
    # Axial: 20 mm wide, 40 mm high. Coronal: 20 mm wide, 30 mm high. Sagittal: 40 mm wide, 30 mm high.
    assert picture.shape == (20 + 960, 1448, 3)
    coronal = picture[20:, 484:964, 0]
    row, column = np.unravel_index(coronal.argmax(), coronal.shape)
    assert 720 - 24 <= row < 720
    assert 240 <= column < 264


def test_a_box_is_drawn_where_it_lies_and_gets_a_row_of_its_own(store):
    image = np.zeros((1, 12, 12, 12), np.uint8)
    # Voxels 1 ... 2 along i, 3 ... 5 along j, 2 ... 3 along k: on none of the middle slices (index 6).
    volume = _put(store, image, np.eye(4), boxes=([[0.5, 2.5, 1.5]], [[2.5, 5.5, 3.5]]))
    picture = _picture(volume)
    assert picture.shape == (2 * 500 + 4, 1448, 3)
    assert not (picture[:500] == _BLUE).all(axis=-1).any()
    axial = picture[504 + 20 :, :480]
    left, right, top, bottom = _blue_edges(axial)
    # Shown backwards: i from 12 - 3 = 9 to 11, j from 12 - 6 = 6 to 9; 40 pixels a voxel, lines 2 wide.
    np.testing.assert_allclose([left, right, top, bottom], [360, 440, 240, 360], atol=2)


def test_a_scan_without_findings_has_one_row(store):
    image = np.zeros((1, 4, 4, 4), np.uint8)
    assert _picture(_put(store, image, np.eye(4), boxes=(np.zeros((0, 3)), np.zeros((0, 3))))).shape == (500, 1448, 3)


def test_a_large_field_is_averaged_and_its_boxes_with_it(store):
    # 2051 columns: three to one, 683 are left, and 2 columns at the far edge are left out.
    image = np.zeros((3, 2051, 1500), np.uint8)
    image[0, 600:603, 1200:1203] = [[0, 90, 180]] * 3
    image[:, 1500:, :] = 200
    volume = _put(store, image, np.eye(3), boxes=([[299.5, 599.5]], [[602.5, 899.5]]), unit="px")
    picture = _picture(volume)
    assert picture.shape == (20 + 500, 683, 3)
    field = picture[20:]
    assert field[400, 200, 0] == 90
    assert field[200, 600].tolist() == [200, 200, 200]
    left, right, top, bottom = _blue_edges(field)
    np.testing.assert_allclose([left, right, top, bottom], [100, 201, 200, 300], atol=2)


@pytest.mark.parametrize(
    ("shape", "planes"), [((1, 1, 1), 3), ((1, 400, 2), 2), ((1, 1, 400), 1), ((400, 1, 1), 3), ((30, 30, 30), 3)]
)
def test_planes_that_are_too_narrow_are_left_out(store, shape, planes):
    picture = _picture(_put(store, np.zeros((1, *shape), np.float32), np.eye(4)))
    assert picture.shape[1] == planes * 484 - 4
    assert picture.shape[0] <= 4096 + 20


def test_a_field_that_is_too_narrow_is_refused(store):
    volume = _put(store, np.zeros((1, 10, 5000), np.uint8), np.eye(3), unit="px")
    with pytest.raises(SourceError, match=r"too narrow for a picture: \(10, 5000\) voxels"):
        thumbnail(volume)


def test_volumes_that_are_damaged_or_lost_are_told_from_whole_ones(settings, store):
    catalog = Catalog.of(settings)
    volumes = [_put(store, np.full((1, 4, 4, 4), n, np.uint8), np.eye(4)) for n in range(3)]
    for number, volume in enumerate(volumes):
        file = FileRecord(f"/d{number}/1.nii", 1, 1, "r", "image", "ingested", volume_ids=(volume.volume_id,))
        catalog.save([file], [volume_record(volume, store)])
    catalog.close()
    path = volumes[1].array_path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    (store.folder(volumes[2].volume_id) / "volume.json").unlink()
    told = []
    found = verify_volumes(settings, progress=lambda *step: told.append(step))
    assert (found.whole, found.damaged, found.missing) == (1, (volumes[1].volume_id,), (volumes[2].volume_id,))
    assert told[-1] == (3, 3, "volumes")
    assert not store.has(volumes[1].volume_id)
