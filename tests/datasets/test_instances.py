"""Masks on training patches and on windows: they lie where the image shows their object."""

import dataclasses
import pickle

import numpy as np
import pytest

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.instances import UNKNOWN, Instances
from pipeline.datasets.prepared import PreparedStore
from pipeline.datasets.sampling import PatchDataset
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes
from pipeline.transforms.placement import Placement
from pipeline.volumes.arrays import StoredArray, write_array
from tests.experiments import tiny_star
from tests.phantoms import field_of_cells, field_with_masks


def dataset(tmp_path, volumes, augmentation=None, spacing=None):
    raw = tiny_star().model_dump()
    raw["augmentation"] = augmentation or {}
    raw["preprocessing"]["spacing"] = spacing
    config = ExperimentConfig.model_validate(raw)
    store = PreparedStore(tmp_path / "cache", config.preprocessing, config.data.classes)
    return PatchDataset([store.get(Case.whole(volume)) for volume in volumes], config)


VARIATIONS = [
    {},
    {"flip": [0, 1]},
    {"rotate90": True},
    {"scale": 0.25},
    {"flip": [0, 1], "rotate90": True, "scale": 0.2},
]


@pytest.mark.parametrize("augmentation", VARIATIONS, ids=str)
def test_masks_follow_their_object_through_every_variation(tmp_path, augmentation):
    volume = field_with_masks(tmp_path, 0)  # bright objects of 120 on a dark field of 20
    patches = dataset(tmp_path, [volume], augmentation)
    disagreeing = objects = 0
    for number in range(12):
        patch = patches.draw(number)
        bright, known = patch.image[0].numpy() > -0.125, patch.instances != UNKNOWN
        disagreeing += ((patch.instances > 0) != bright)[known].sum()
        for n, (lower, upper) in enumerate(zip(patch.boxes.lower, patch.boxes.upper, strict=True)):
            i, j = np.nonzero(patch.instances == n + 1)
            if len(i):
                objects += 1
                assert (np.stack([i, j], axis=1) >= lower - 1e-3).all()
                assert (np.stack([i, j], axis=1) <= upper + 1e-3).all()
    assert objects > 40
    # Zoom interpolates the image, so that voxels at an edge may fall to either side.
    assert disagreeing <= (0.02 * 12 * 32 * 32 if "scale" in augmentation else 0)


def test_masks_follow_a_resampled_image(tmp_path):
    patches = dataset(tmp_path, [field_with_masks(tmp_path, 0)], spacing=[0.5, 0.5])
    patch = patches.draw(0)
    wrong = (patch.instances > 0) != (patch.image[0].numpy() > -0.125)
    assert wrong[patch.instances != UNKNOWN].mean() < 0.03


def test_beyond_the_image_is_unknown(tmp_path):
    instances = Case.whole(field_with_masks(tmp_path, 0, cells=3, size=24)).instances
    beyond = instances.on(Placement((24, 24), np.array([[1.0, 0, -4], [0, 1, 0], [0, 0, 1]])))
    assert (beyond[:4] == UNKNOWN).all()
    np.testing.assert_array_equal(beyond[4:], instances.whole[:20])


@pytest.mark.parametrize("varied", [{"rotation": 180}, {"elastic": 2}, {"rotation": 180, "elastic": 2, "scale": 0.2}])
def test_boxes_of_turned_objects_are_those_of_their_turned_masks(tmp_path, varied):
    patches = dataset(tmp_path, [field_with_masks(tmp_path, 0)], varied)
    whole = 0
    for number in range(12):
        patch = patches.draw(number)
        found, values = Boxes.from_label_map(np.maximum(patch.instances, 0), patch.boxes.grid)
        boxes = patch.boxes[values - 1]
        cut = ((found.lower < 0) | (found.upper > 31)).any(axis=1)
        np.testing.assert_array_equal(boxes.lower[~cut], found.lower[~cut])
        np.testing.assert_array_equal(boxes.upper[~cut], found.upper[~cut])
        assert (boxes.lower <= found.lower).all()
        assert (boxes.upper >= found.upper).all()
        bright = patch.image[0].numpy() > -0.125
        assert ((patch.instances > 0) != bright)[patch.instances != UNKNOWN].mean() < 0.05
        whole += (~cut).sum()
    assert whole > 10


def test_label_maps_of_far_apart_values_are_read_like_others(tmp_path):
    volume = field_with_masks(tmp_path, 0)
    near = Case.whole(volume).instances
    far = tmp_path / "far.b2nd"
    write_array(far, np.asarray(near.label_map).astype(np.int64) * 10_000_000)
    distant = dataclasses.replace(near, label_map=StoredArray.open(far))
    np.testing.assert_array_equal(distant.whole, near.whole)


@pytest.mark.parametrize("apart", [1, 10_000_000])
def test_masks_that_were_read_can_be_sent_to_another_process(tmp_path, apart):
    near = Case.whole(field_with_masks(tmp_path, 0)).instances
    write_array(tmp_path / "far.b2nd", np.asarray(near.label_map).astype(np.int64) * apart)
    read = dataclasses.replace(near, label_map=StoredArray.open(tmp_path / "far.b2nd"))
    whole = read.whole
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(read)).whole, whole)


def test_a_window_numbers_the_objects_that_reach_into_it(tmp_path):
    volume = field_with_masks(tmp_path, 0)
    whole, window = Case.whole(volume), Case("w", volume, (20, 10), (52, 40))
    cut = whole.instances.whole[20:52, 10:40]
    kept = [n for n in range(1, len(whole.annotations) + 1) if n in cut]
    assert 0 < len(kept) < len(whole.annotations)
    assert len(window.annotations) == len(kept)
    for new, old in enumerate(kept, start=1):
        np.testing.assert_array_equal(window.instances.whole == new, cut == old)


def test_a_field_without_an_object_needs_no_label_map(tmp_path):
    case = Case.whole(field_of_cells(tmp_path, 0, cells=0))
    assert case.instances.whole.shape == case.grid.shape
    assert not case.instances.whole.any()


def test_boxes_alone_are_refused_by_name_of_the_setting(tmp_path):
    volumes = [field_with_masks(tmp_path, 0), field_of_cells(tmp_path, 1)]
    with pytest.raises(DatasetError, match="1 of 2 training cases are annotated with boxes or points only"):
        dataset(tmp_path, volumes)


def test_a_label_map_of_other_annotations_is_refused(tmp_path):
    instances = Case.whole(field_with_masks(tmp_path, 0)).instances
    wrong = Instances(instances.label_map, instances.grid, (0, 0), instances.kept[:-1], "field")
    with pytest.raises(DatasetError, match="its label map holds 12 objects and its annotations 11"):
        _ = wrong.whole


def test_boxes_are_those_of_the_masks(tmp_path):
    case = Case.whole(field_with_masks(tmp_path, 0))
    boxes, values = Boxes.from_label_map(case.instances.whole, case.grid)
    assert values.tolist() == list(range(1, 13))
    np.testing.assert_array_equal(boxes.lower, case.annotations.boxes.lower)
