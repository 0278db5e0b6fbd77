"""Which patients a share of the training side has."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.config import ExperimentConfig
from pipeline.config.data import DataConfig, FoldSplit
from pipeline.datasets.share import groups_in, part_of
from pipeline.datasets.split import split_cases
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid
from tests.datasets.test_split import fields
from tests.experiments import tiny_2d
from tests.phantoms import volume_with

_SHARES = (0.05, 0.1, 0.25, 0.5, 0.9, 1.0)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Two scans with an object of each of 20 patients."""
    return fields(tmp_path_factory.mktemp("fields"), patients=20)


def config(share, **more):
    return DataConfig(source="x", dims=2, classes=("cell",), share=share, **more)


def without_objects(volume):
    marks, nothing = volume.annotations, np.array([], dtype=np.int64)
    return replace(volume, annotations=replace(marks, boxes=marks.boxes[nothing], labels=(), ignore=nothing > 0))


def patients(cases):
    return {case.patient_key for case in cases}


@pytest.mark.parametrize(
    ("share", "groups", "number"), [(0.05, 30, 2), (0.05, 29, 1), (0.25, 30, 8), (0.01, 10, 1), (1, 7, 7), (0.5, 1, 1)]
)
def test_share_is_the_nearest_number_of_groups_and_at_least_one(share, groups, number):
    assert groups_in(share, groups) == number


@pytest.mark.parametrize("seed", range(5))
def test_patients_of_a_share_are_among_those_of_every_larger_one(volumes, seed):
    sides = [patients(part_of(volumes, share, seed)) for share in _SHARES]
    assert [len(side) for side in sides] == [1, 2, 5, 10, 18, 20]
    assert all(small < large for small, large in pairwise(sides))


def test_a_patient_comes_with_all_scans_and_in_the_order_given(volumes):
    part = part_of(volumes, 0.1, 0)
    assert len(part) == 4
    assert part == [volume for volume in volumes if volume.patient_key in patients(part)]


def test_seed_and_content_draw_and_neither_order_nor_the_homes_patient_keys(volumes):
    single = volumes[::2]
    named = [{volume.volume_id for volume in part_of(single, 0.25, seed)} for seed in range(4)]
    assert len({frozenset(one) for one in named}) == 4
    elsewhere = [replace(volume, patient_key=f"key {n}") for n, volume in enumerate(single[::-1])]
    assert {volume.volume_id for volume in part_of(elsewhere, 0.25, 0)} == named[0]


@pytest.mark.parametrize("seed", range(5))
def test_smallest_share_has_an_object_where_one_patient_of_many_has_any(volumes, seed):
    rare = [volume if n == 7 else without_objects(volume) for n, volume in enumerate(volumes[::2])]
    (only,) = part_of(rare, 0.05, seed)
    assert only is rare[7]
    assert rare[7] in part_of(rare, 0.5, seed)


def test_objects_that_are_to_be_ignored_are_none_to_train_on(volumes):
    one, other = volumes[0], volumes[2]
    ignored = replace(one, annotations=replace(one.annotations, ignore=np.array([True])))
    for seed in range(4):
        assert part_of([ignored, other], 0.5, seed) == [other]


def test_share_of_a_side_without_any_object_is_refused(volumes):
    empty = [without_objects(volume) for volume in volumes[:6]]
    with pytest.raises(DatasetError, match="none of the 3 patients of the training side has an object"):
        part_of(empty, 0.5, 0)
    assert part_of(empty, 1, 0) == empty


def test_only_the_training_side_is_smaller_and_digest_and_seen_follow_it(volumes):
    whole, part = (split_cases(config(share), volumes, 0, 3) for share in (1, 0.25))
    for side in ("validation", "test"):
        ids = [[case.case_id for case in split.sides()[side]] for split in (whole, part)]
        assert ids[0] == ids[1]
    assert len(patients(part.train)) == 3 < len(patients(whole.train)) == 12
    assert part.digest != whole.digest
    left_out = [case for case in whole.train if case.patient_key not in patients(part.train)]
    assert not any(part.seen.holds(case) for case in left_out)
    assert all(part.seen.holds(case) for case in part.train + part.validation)


def test_division_of_the_data_has_a_seed_of_its_own(volumes):
    one, other = (split_cases(config(0.25), volumes, 0, share_seed) for share_seed in (3, 4))
    assert patients(one.train) != patients(other.train)
    assert patients(one.test) == patients(other.test)
    assert split_cases(config(1), volumes, 0, 3).digest == split_cases(config(1), volumes, 0, 4).digest
    assert split_cases(config(0.25), volumes, 4).digest == split_cases(config(0.25), volumes, 4, 4).digest


def test_looks_are_drawn_whole(tmp_path):
    """Six looks of two images each, every image of a patient of its own."""
    rng, grid, images = np.random.default_rng(0), Grid.of_pixels((48, 48)), []
    box = Boxes.around(np.array([[8.0, 8.0]]), np.full((1, 2), 4.0), grid)
    for look in range(6):
        for n in range(2):
            image = (40 * look + rng.normal(0, 1, (1, 48, 48))).clip(0, 255).astype(np.uint8)
            images.append(volume_with(tmp_path, image, grid, box, ("cell",), patient=f"{look}-{n}"))
    split = FoldSplit(folds=3, group_by="look")
    whole, part = (split_cases(config(share, split=split), images, 0) for share in (1, 0.5))
    assert (len(patients(whole.train)), len(whole.train)) == (2, 4)
    assert (len(patients(part.train)), len(part.train)) == (1, 2)


def test_experiments_on_all_data_keep_their_digest_and_a_share_names_another():
    tree = tiny_2d().model_dump()
    assert "share" not in tree["data"]
    tree["data"]["share"] = 1
    assert ExperimentConfig.model_validate(tree).digest() == tiny_2d().digest() == "f795858e31c21f20"
    tree["data"]["share"] = 0.5
    half = ExperimentConfig.model_validate(tree)
    assert half.digest() != tiny_2d().digest()
    assert ExperimentConfig.model_validate_json(half.model_dump_json()) == half


@pytest.mark.parametrize("share", [0, -0.1, 1.01, True, float("nan")])
def test_no_share_of_the_data_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        config(share)
