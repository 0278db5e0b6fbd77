"""From scans to a file that loads, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from pipeline.config import load_experiment
from pipeline.config.data import FoldSplit
from pipeline.datasets.split import split_cases
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid
from pipeline.planning import Wish, make_plan
from pipeline.planning.kinds import Asked, find_scans
from pipeline.planning.picture import save_picture
from pipeline.planning.writing import check_text, fingerprint_lines, plan_text, value_text
from pipeline.volumes import UNLABELLED, Annotations
from tests.planning.written_scans import GIB, LARGE_GPU, TWO_CORES, Device, field, pointed, scan, unannotated

WISH = Wish("planned", "folder")


def fields(folder, count=6, **more):
    return [field(folder, n, **more) for n in range(count)]


def scans(folder, count=6, **more):
    return [scan(folder, n, **more) for n in range(count)]


def test_the_file_loads_as_the_experiment_that_was_planned(tmp_path):
    points = [pointed(one) for one in fields(tmp_path)]
    for volumes, device in ((fields(tmp_path), TWO_CORES), (points, LARGE_GPU), (scans(tmp_path), TWO_CORES)):
        plan = make_plan(volumes, WISH, device)
        path = tmp_path / "planned.yaml"
        path.write_text(plan_text(plan), encoding="utf-8")
        assert load_experiment(path) == plan.config


def test_every_value_of_the_file_stands_below_its_reason(tmp_path):
    plan = make_plan(fields(tmp_path), WISH, TWO_CORES)
    lines = plan_text(plan).splitlines()
    assert max(map(len, lines)) <= 120
    for number, line in enumerate(lines):
        bare = line.strip()
        is_value = not bare.startswith("#") and not bare.endswith(":") and not bare.startswith("name:")
        assert not is_value or lines[number - 1].strip().startswith("# ")
    assert all(one.reason for one in plan.choices)


def test_the_same_scans_in_any_order_give_the_same_file(tmp_path):
    volumes = fields(tmp_path)
    first = plan_text(make_plan(volumes, WISH, TWO_CORES))
    assert plan_text(make_plan(volumes[::-1], WISH, TWO_CORES)) == first


def test_test_scans_do_not_enter_the_fingerprint(tmp_path):
    sides = ["train"] * 4 + ["validation", "test"]
    ordinary = [replace(one, subset=side) for one, side in zip(fields(tmp_path), sides, strict=True)]
    plan = make_plan(ordinary, WISH, TWO_CORES)
    assert plan.config.data.split.kind == "given"
    assert (plan.fingerprint.scans, plan.fingerprint.held_back) == (5, 1)
    odd = [*ordinary[:5], replace(field(tmp_path, 9, size=2, step=50), subset="test")]
    assert plan_text(make_plan(odd, WISH, TWO_CORES)) == plan_text(plan)


def test_patients_are_divided_where_they_are_known_and_looks_where_not(tmp_path):
    known = make_plan(fields(tmp_path, 7, step=50), WISH, TWO_CORES)  # of 4 objects each
    assert known.config.data.split.model_dump() == {"kind": "folds", "folds": 5, "fold": 0, "group_by": "patient"}
    assert known.fingerprint.patients is not None
    rng = np.random.default_rng(0)
    unknown = []
    for n in range(5):
        size = 64 + 16 * n  # fields of different sizes never look alike
        one = field(tmp_path, int(rng.integers(1000)), edge=size)
        unknown.append(replace(one, patient_key=one.volume_id))
    looks = make_plan(unknown, WISH, TWO_CORES)
    assert looks.config.data.split.group_by == "look"
    assert looks.fingerprint.patients is None


def test_few_patients_with_many_objects_all_teach_and_validation_lies_within_them(tmp_path):
    plan = make_plan(fields(tmp_path, 7), WISH, TWO_CORES)  # of 25 objects each
    assert plan.config.data.split == FoldSplit(validation="within", validation_share=0.16)
    assert "a median of 25 objects" in plan.reason("data.split")


def test_of_two_patients_one_is_tested_and_validation_lies_within_the_other(tmp_path):
    plan = make_plan(scans(tmp_path, 2), WISH, TWO_CORES)
    assert plan.config.data.split == FoldSplit(folds=2, validation="within")
    assert (plan.fingerprint.scans, plan.fingerprint.held_back) == (1, 1)


def test_one_patient_is_too_few(tmp_path):
    with pytest.raises(DatasetError, match=r"1 patient cannot be divided .* at least 2 .* index.csv"):
        make_plan(scans(tmp_path, 1), WISH, TWO_CORES)


def test_the_first_fold_with_objects_on_both_sides_is_taken(tmp_path):
    every = fields(tmp_path, 5, step=50)
    plan = make_plan(every, WISH, TWO_CORES)
    data = plan.config.data
    validating = split_cases(data, every, 0).validation[0].volume.volume_id
    some = [
        replace(one, annotations=Annotations.none(one.grid)) if one.volume_id == validating else one for one in every
    ]
    again = make_plan(some, WISH, TWO_CORES)
    assert again.config.data.split.fold == 1
    assert "fold 1 is the first that leaves objects" in again.reason("data.split")


@pytest.mark.parametrize("bare", ["train", "validation"])
def test_a_side_without_objects_is_told(tmp_path, bare):
    sides = ["train", "train", "validation", "validation", "test", "test"]
    given = [
        replace(one, subset=side, **({"annotations": Annotations.none(one.grid)} if side == bare else {}))
        for one, side in zip(fields(tmp_path), sides, strict=True)
    ]
    training, validation = (0, 50) if bare == "train" else (50, 0)
    said = f"{training} objects that count are in the 2 training scans and {validation} in the 2 validation scans"
    with pytest.raises(DatasetError, match=said):
        make_plan(given, WISH, TWO_CORES)


def test_scans_without_annotations_are_told_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match="none of the 2 scans is annotated: put annotations beside them"):
        make_plan([unannotated(one) for one in fields(tmp_path, 2)], WISH, TWO_CORES)
    with pytest.raises(DatasetError, match="no scan that could be read"):
        make_plan([], WISH, TWO_CORES)
    with pytest.raises(DatasetError, match="nothing to learn"):
        make_plan(scans(tmp_path, 3, at=()), WISH, TWO_CORES)


def test_objects_on_the_test_side_alone_and_ignored_ones_are_nothing_to_learn_from(tmp_path):
    every = fields(tmp_path)
    empty = [replace(one, annotations=Annotations.none(one.grid)) for one in every]
    sides = ["train"] * 4 + ["validation", "test"]
    given = [replace(one, subset=side) for one, side in zip([*empty[:5], every[5]], sides, strict=True)]
    with pytest.raises(
        DatasetError, match=r"0 objects that count are in the 4 training scans .* of 25 in 1 scan.*index.csv"
    ):
        make_plan(given, WISH, TWO_CORES)
    ignored = [
        replace(one, annotations=Annotations(marks.boxes, marks.labels, np.ones(len(marks), bool), marks.from_points))
        for one in every
        if (marks := one.annotations)
    ]
    with pytest.raises(DatasetError, match="every object of the 6 annotated scans is to be ignored"):
        make_plan(ignored, WISH, TWO_CORES)


def test_scans_that_the_index_does_not_name_are_counted_where_they_are_left_out(tmp_path):
    sides = ["train"] * 3 + ["validation", "test", None, None]
    named = [replace(one, subset=side) for one, side in zip(fields(tmp_path, 7), sides, strict=True)]
    plan = make_plan(named, WISH, TWO_CORES)
    assert (plan.fingerprint.scans, plan.fingerprint.held_back, plan.fingerprint.left_out) == (4, 1, 2)
    assert "2 of the 7 annotated scans are left out" in plan.reason("data.split")
    assert "2 annotated scans are left out" in fingerprint_lines(plan)[0]
    complete = make_plan(named[:5], WISH, TWO_CORES)
    assert "left out" not in plan_text(complete)


@pytest.mark.parametrize("name", ["on", "null", "yes"])
def test_a_name_that_yaml_reads_as_something_else_is_quoted(tmp_path, name):
    plan = make_plan(fields(tmp_path), replace(WISH, name=name), TWO_CORES)
    check_text(plan_text(plan), plan)
    with pytest.raises(AssertionError):
        check_text(plan_text(plan).replace(f"name: '{name}'", f"name: {name}"), plan)


@pytest.mark.parametrize("value", ["on", "a\nb", ["a\x85b", "c: d #"], ["a\u2028b"], {"é": "a\n b"}, [1, 0.5, True]])
def test_a_value_stays_itself_on_one_line(value):
    text = value_text(value)
    assert text.isprintable()
    assert yaml.safe_load(f"key: {text}\n") == {"key": value}


def test_mixed_dimensions_channels_and_modalities_are_refused_with_the_options_to_choose(tmp_path):
    he = [replace(one, attributes={"stain": "he"}) for one in fields(tmp_path, 3, channels=2)]
    grey = [replace(one, attributes={"stain": "dapi"}) for one in fields(tmp_path, 3)]
    every = [*he, *grey, *scans(tmp_path, 2), *scans(tmp_path, 2, modality="MR", shape=(40, 40, 20))]
    with pytest.raises(DatasetError) as error:
        make_plan(every, WISH, TWO_CORES)
    assert str(error.value).splitlines()[1:] == [
        "  3 x 2D with 1 channel, stain dapi: --dims 2 --where stain=dapi",
        "  3 x 2D with 2 channels, stain he: --dims 2 --where stain=he",
        "  2 x 3D CT with 1 channel: --dims 3 --modality CT",
        "  2 x 3D MR with 1 channel: --dims 3 --modality MR",
    ]
    asked = replace(WISH, asked=Asked(dims=2, where={"stain": "dapi"}))
    assert make_plan(every, asked, TWO_CORES).config.data.where == {"stain": "dapi"}
    with pytest.raises(DatasetError, match=r"none of the 10 scans is what was asked for; there are: 2D with"):
        find_scans(every, Asked(dims=2, modalities=("PT",)))


def test_volumes_of_known_and_unknown_voxel_size_are_not_planned_together(tmp_path):
    known = scans(tmp_path, 2)
    unknown = [
        replace(one, grid=Grid(one.grid.shape, np.eye(4), "px")) for one in scans(tmp_path, 2, shape=(40, 40, 20))
    ]
    with pytest.raises(DatasetError, match="2 x 3D CT of unknown voxel size with 1 channel: put them into a folder"):
        make_plan([*known, *unknown], WISH, TWO_CORES)


def test_kinds_that_nothing_tells_apart_need_folders_of_their_own(tmp_path):
    with pytest.raises(DatasetError, match="put them into a folder of their own"):
        find_scans([*fields(tmp_path, 1), *fields(tmp_path, 1, channels=2)], Asked())


def test_grey_pictures_stored_in_three_channels_have_one(tmp_path):
    # `field` changes the first channel alone by n, so that of 0 and 5 is grey.
    grey = [field(tmp_path, 0, channels=3, size=size) for size in (8, 9, 10)]
    assert find_scans(grey, Asked()).channels == 1
    assert find_scans(fields(tmp_path, 2, channels=3)[1:], Asked()).channels == 3


def test_pixels_count_where_only_some_images_state_a_size(tmp_path):
    volumes = fields(tmp_path)
    marks = volumes[0].annotations
    grid = Grid((100, 100), np.diag([0.005, 0.005, 1.0]))
    sized = Annotations.of(Boxes(marks.boxes.lower, marks.boxes.upper, grid), marks.labels)
    mixed = [replace(volumes[0], grid=grid, annotations=sized), *volumes[1:]]
    plan = make_plan(mixed, WISH, TWO_CORES)
    assert plan.config.data.in_pixels
    assert plan.fingerprint.unit == "px"
    assert plan.fingerprint.objects.extent.largest == 10.0


def test_objects_without_a_class_are_one_class(tmp_path):
    bare = []
    for one in fields(tmp_path):
        marks = one.annotations
        bare.append(replace(one, annotations=Annotations.of(marks.boxes, (UNLABELLED,) * len(marks))))
    data = make_plan(bare, WISH, TWO_CORES).config.data
    assert (data.classes, data.merge_classes) == (("object",), True)


def test_crops_around_objects_are_judged_on_windows_at_random_offsets(tmp_path):
    crops = scans(tmp_path, at=((16, 16, 6),))
    assert make_plan(crops, WISH, TWO_CORES).config.data.cases.kind == "random_offset"
    assert make_plan(scans(tmp_path), WISH, TWO_CORES).config.data.cases.kind == "whole"


def test_masks_of_every_field_ask_for_outlines(tmp_path):
    masked = [replace(one, label_map_path=tmp_path / "labels") for one in fields(tmp_path)]
    assert make_plan(masked, WISH, TWO_CORES).config.detector.outline.kind == "star"
    assert make_plan([*masked[:5], field(tmp_path, 5)], WISH, TWO_CORES).config.detector.outline.kind == "box"


def test_a_small_device_gets_smaller_patches_and_a_tiny_one_a_reason(tmp_path):
    volumes = scans(tmp_path, shape=(128, 128, 64))
    large = make_plan(volumes, WISH, LARGE_GPU).config.sampling.patch
    small = make_plan(volumes, WISH, Device("cuda", 2 * GIB, 2)).config.sampling.patch
    assert np.prod(small) < np.prod(large)
    with pytest.raises(DatasetError, match=r"not two fit into the memory of a GPU with 0 GiB: name another device"):
        make_plan(volumes, WISH, Device("cuda", GIB // 64, 2))


def test_the_picture_shows_also_what_is_not_known(tmp_path):
    path = tmp_path / "plans" / "p.png"
    save_picture(make_plan([pointed(one) for one in fields(tmp_path)], WISH, TWO_CORES), path)
    assert path.read_bytes().startswith(b"\x89PNG")
