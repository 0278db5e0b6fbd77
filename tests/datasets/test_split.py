from dataclasses import replace

import numpy as np
import pytest

from pipeline.config.data import DataConfig, FoldSplit, GivenSplit
from pipeline.datasets.looks import group_by_look
from pipeline.datasets.select import select_volumes
from pipeline.datasets.split import split_cases
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid
from pipeline.volumes.arrays import write_array
from tests.phantoms import field_with_masks, volume_with


def fields(folder, patients=10, per_patient=2, **more):
    made = []
    grid = Grid.of_pixels((16, 16))
    for p in range(patients):
        for n in range(per_patient):
            rng = np.random.default_rng([p, n])
            box = Boxes.around(np.array([[8.0, 8.0]]), np.full((1, 2), 4.0), grid)
            image = rng.integers(0, 255, (1, 16, 16)).astype(np.uint8)
            made.append(volume_with(folder, image, grid, box, ("cell",), patient=f"p{p}", **more))
    return made


def config(**more):
    return DataConfig(source="x", dims=2, classes=("cell",), **more)


def test_no_patient_stands_on_two_sides_and_nobody_is_lost(tmp_path):
    volumes = fields(tmp_path)
    split = split_cases(config(), volumes, seed=0)
    patients = [{c.patient_key for c in side} for side in split.sides().values()]
    assert sum(len(p) for p in patients) == len(set.union(*patients)) == 10
    assert sum(len(side) for side in split.sides().values()) == 20


def test_every_volume_is_a_test_case_in_exactly_one_fold(tmp_path):
    volumes = fields(tmp_path)
    tested = [
        c.case_id for fold in range(5) for c in split_cases(config(split=FoldSplit(fold=fold)), volumes, seed=0).test
    ]
    assert sorted(tested) == sorted(v.volume_id for v in volumes)


def test_order_of_the_catalog_does_not_matter(tmp_path):
    volumes = fields(tmp_path)
    assert split_cases(config(), volumes, 0).digest == split_cases(config(), volumes[::-1], 0).digest
    assert split_cases(config(), volumes, 0).digest != split_cases(config(), volumes, 1).digest


def test_too_few_groups_for_the_folds_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="5 folds need as many groups by patient, got 3"):
        split_cases(config(), fields(tmp_path, patients=3), seed=0)


def test_given_subsets_are_kept_and_a_crossing_patient_refused(tmp_path):
    sides = {
        s: fields(tmp_path / s, 2, 1, subset=s) for s in ("train", "validation", "test") if not (tmp_path / s).mkdir()
    }
    with pytest.raises(DatasetError, match="2 patient"):
        split_cases(config(split=GivenSplit()), [v for side in sides.values() for v in side], seed=0)
    apart = [replace(volume, patient_key=f"test {volume.patient_key}") for volume in sides["test"]]
    with pytest.raises(DatasetError, match="2 patient"):  # training chooses its epoch on patients it knows
        split_cases(config(split=GivenSplit()), [*sides["train"], *sides["validation"], *apart], seed=0)


def test_a_label_the_experiment_does_not_name_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="'cell' is not among data"):
        select_volumes(DataConfig(source="x", dims=2, classes=("tumour",)), fields(tmp_path, 1, 1))


def test_merging_makes_every_label_one(tmp_path):
    merged = select_volumes(
        DataConfig(source="x", dims=2, classes=("nucleus",), merge_classes=True), fields(tmp_path, 1, 1)
    )
    assert merged[0].annotations.labels == ("nucleus",)


def test_nothing_that_fits_is_said_with_what_there_is(tmp_path):
    with pytest.raises(DatasetError, match="no annotated 2D volume fits"):
        select_volumes(config(modalities=("MR",)), fields(tmp_path, 1, 1))


def test_crops_of_one_acquisition_look_alike_and_stay_together(tmp_path):
    rng = np.random.default_rng(0)
    grid = Grid.of_pixels((48, 48))
    volumes = []
    for acquisition, background in enumerate((10, 60, 150)):
        for _ in range(4):
            image = (background + rng.normal(0, 1 + acquisition, (1, 48, 48))).clip(0, 255).astype(np.uint8)
            volumes.append(volume_with(tmp_path, image, grid, patient=f"a{acquisition}"))
    groups = group_by_look(volumes)
    assert sorted(sorted({v.patient_key for v in group}) for group in groups) == [["a0"], ["a1"], ["a2"]]


def test_in_pixels_an_image_with_a_physical_size_is_treated_like_one_without(tmp_path):
    grid = Grid((16, 16), np.diag([0.0005, 0.0005, 1.0]))
    box = Boxes.around(np.array([[8.0, 6.0]]), np.full((1, 2), 4.0), grid)
    volume = volume_with(tmp_path, np.zeros((1, 16, 16), np.uint8), grid, box, ("cell",))
    chosen = select_volumes(config(in_pixels=True), [volume])[0]
    assert (chosen.grid.unit, chosen.grid.spacing.tolist()) == ("px", [1, 1])
    assert chosen.annotations.boxes.centres.tolist() == [[8.0, 6.0]]
    assert chosen.annotations.boxes.grid is chosen.grid


def test_any_change_of_an_annotation_changes_the_digest(tmp_path):
    volumes = fields(tmp_path)
    plain = split_cases(config(), volumes, 0).digest
    marked = replace(volumes[0].annotations, ignore=np.array([True]))
    assert split_cases(config(), [replace(volumes[0], annotations=marked), *volumes[1:]], 0).digest != plain


def test_a_corrected_mask_in_the_same_box_changes_the_digest_where_masks_are_used(tmp_path):
    volumes = [field_with_masks(tmp_path, seed) for seed in range(5)]
    corrected = np.array(volumes[0].label_map[0])
    boxes = volumes[0].annotations.boxes
    inner = tuple(np.round(boxes.centres[0]).astype(int))
    assert corrected[inner] == 3
    corrected[inner] = 0  # a hole: the box stays
    path = tmp_path / "corrected.b2nd"
    write_array(path, corrected[None])
    after = [replace(volumes[0], label_map_path=path), *volumes[1:]]
    for masks in (False, True):
        before, now = (split_cases(config(), one, 0, masks=masks).digest for one in (volumes, after))
        assert (before != now) == masks


def test_data_without_masks_keep_their_digest_where_masks_are_used(tmp_path):
    volumes = fields(tmp_path)
    assert split_cases(config(), volumes, 0).digest == split_cases(config(), volumes, 0, masks=True).digest


def test_siblings_by_look_count_as_one_patient(tmp_path):
    volumes = fields(tmp_path, patients=3, per_patient=1)
    dark = [replace(v, volume_id=f"{n}" + v.volume_id[1:], patient_key=f"d{n}") for n, v in enumerate([volumes[0]] * 2)]
    split = split_cases(config(split=FoldSplit(folds=3, group_by="look")), [*dark, *volumes[1:]], 0)
    sides = {case.volume.volume_id: (side, case.patient_key) for side, cases in split.sides().items() for case in cases}
    assert sides[dark[0].volume_id] == sides[dark[1].volume_id]


def test_a_scan_is_known_again_under_another_homes_key(tmp_path):
    split = split_cases(config(), fields(tmp_path), 0)
    elsewhere = [replace(c, volume=replace(c.volume, patient_key="other home")) for c in split.train]
    assert all(split.seen.holds(case) for case in elsewhere)
    assert not any(split.seen.holds(case) for case in split.test)
