import os

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations
from pipeline.volumes.arrays import content_digest, write_array
from pipeline.volumes.read import voxel_digest
from pipeline.volumes.store import VolumeStore
from tests.phantoms import awkward_grid


@pytest.fixture
def store(tmp_path):
    return VolumeStore(tmp_path / "volumes")


def _image(grid, dtype=np.int16):
    return np.arange(np.prod(grid.shape)).reshape(1, *grid.shape).astype(dtype)


def _put(store, **changes):
    grid = awkward_grid((6, 5, 4))
    given = {"image": _image(grid), "grid": grid, "patient_key": "k1", "modality": "CT", "attributes": {}}
    return store.put(**{**given, **changes})


def test_volume_comes_back_with_its_voxels_grid_and_boxes(store):
    grid = awkward_grid((6, 5, 4))
    boxes = Boxes(np.array([[0.5, 1.5, 0.5], [2, 2, 2]]), np.array([[1.5, 2.5, 2.5], [3, 4, 3]]), grid)
    annotations = Annotations(boxes, ("lesion", "vessel"), np.array([False, True]), from_points=True)
    labels = np.ones(grid.shape, dtype=np.int32)

    put = _put(store, annotations=annotations, label_map=labels, subset="test", attributes={"stain": "he"})
    got = store.get(put.volume_id)

    assert got.array.dtype == np.int16
    np.testing.assert_array_equal(got.array, _image(grid))
    np.testing.assert_array_equal(got.grid.affine, grid.affine)
    np.testing.assert_array_equal(got.annotations.boxes.lower, boxes.lower)
    np.testing.assert_array_equal(got.annotations.boxes.upper, boxes.upper)
    assert got.annotations.labels == ("lesion", "vessel")
    assert got.annotations.ignore.tolist() == [False, True]
    assert got.annotations.from_points
    np.testing.assert_array_equal(store.label_map(put.volume_id), labels)
    assert (got.subset, got.attributes, got.patient_key) == ("test", {"stain": "he"}, "k1")
    assert got.name == f"CT {put.volume_id[:8]} 6x5x4"


def test_no_finding_differs_from_nobody_looked(store):
    grid = awkward_grid((6, 5, 4))
    volume = _put(store)
    assert store.get(volume.volume_id).annotations is None
    store.annotate(volume.volume_id, Annotations.none(grid))
    assert len(store.get(volume.volume_id).annotations) == 0
    store.annotate(volume.volume_id, None)
    assert store.get(volume.volume_id).annotations is None


def test_putting_again_keeps_what_is_known_and_adds_what_is_new(store):
    grid = awkward_grid((6, 5, 4))
    first = _put(store, annotations=Annotations.none(grid), subset="train", attributes={"stain": "he"})
    second = _put(store, patient_key=None, attributes={"organ": "lung"})
    assert second.volume_id == first.volume_id
    assert second.patient_key == "k1"
    assert second.subset == "train"
    assert second.attributes == {"stain": "he", "organ": "lung"}
    assert len(second.annotations) == 0
    assert sorted(path.name for path in store.root.iterdir()) == sorted([".incoming", first.volume_id])
    assert list((store.root / ".incoming").iterdir()) == []


def test_unknown_patient_stands_for_the_volume_itself(store):
    volume = _put(store, patient_key=None)
    assert volume.patient_key == volume.volume_id


def test_half_written_volume_is_not_there_and_is_made_again(store):
    volume = _put(store)
    (store.folder(volume.volume_id) / "image.b2nd").unlink()
    assert not store.has(volume.volume_id)
    again = _put(store)
    np.testing.assert_array_equal(again.array, _image(again.grid))


def test_voxels_may_come_as_a_file_that_is_moved(store):
    grid = awkward_grid((6, 5, 4))
    path = store.incoming()
    by_file = _put(store, image=write_array(path, _image(grid)))
    assert not path.exists()
    assert by_file.volume_id == _put(store).volume_id


def test_leftovers_of_killed_runs_go_after_a_day(store):
    young, old = store.incoming(), store.incoming()
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.sweep()
    assert young.exists()
    assert not old.exists()


def test_image_of_another_shape_than_its_grid_is_refused(store):
    with pytest.raises(ValueError, match=r"spatial shape \(6, 5, 4\), its grid \(6, 5\)"):
        _put(store, grid=Grid.of_pixels((6, 5)))


def test_missing_volume_says_what_to_do(store):
    with pytest.raises(SourceError, match="not in the store: ingest its files again"):
        store.get("0123456789abcdef")


def _digest(image, grid):
    return voxel_digest(content_digest(image), grid)


def test_digest_follows_content_and_place_and_not_memory_order():
    grid = awkward_grid((6, 5, 4))
    image = _image(grid)
    assert _digest(np.asfortranarray(image), grid) == _digest(image, grid)
    assert _digest(image + 1, grid) != _digest(image, grid)
    assert _digest(image.astype(np.int32), grid) != _digest(image, grid)
    moved = grid.affine.copy()
    moved[0, 3] += 0.001
    assert _digest(image, Grid(grid.shape, moved)) != _digest(image, grid)


def test_minus_zero_is_the_same_place_as_zero():
    image = np.zeros((1, 2, 2), dtype=np.uint8)
    signed = np.diag([1.0, 1.0, 1.0])
    signed[0, 1] = -0.0
    assert _digest(image, Grid((2, 2), signed, "px")) == _digest(image, Grid.of_pixels((2, 2)))


def test_what_was_said_outlives_damaged_voxels(store):
    grid = awkward_grid((6, 5, 4))
    volume = _put(store, annotations=Annotations.none(grid), subset="train", patient_key="k7")
    path = store.folder(volume.volume_id) / "image.b2nd"
    path.write_bytes(path.read_bytes()[:-20])
    assert not store.verify(volume.volume_id)
    assert not store.has(volume.volume_id)
    again = _put(store, patient_key=None)
    assert (again.patient_key, again.subset, len(again.annotations)) == ("k7", "train", 0)
    assert store.verify(volume.volume_id)


def test_names_of_volumes_do_not_change_with_the_program():
    """A change of chunks, slabs or digests renames every volume of every home: raise READER with it."""
    image = np.arange(2 * 70 * 60 * 50, dtype=np.int64).reshape(2, 70, 60, 50).astype(np.int16)
    assert content_digest(image)[:16] == "beda443e7990725b"
