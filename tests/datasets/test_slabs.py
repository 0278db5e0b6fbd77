import numpy as np
import pytest

from pipeline.config.data import DataConfig, FoldSplit, RandomOffsetWindows
from pipeline.config.transforms import Percentiles, PreprocessingConfig, Window
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import PreparedStore, preprocessing_of
from pipeline.datasets.slabs import divided
from pipeline.datasets.split import split_cases
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid
from pipeline.transforms.preprocessing import prepare
from tests.phantoms import awkward_grid, volume_with

WITHIN = FoldSplit(folds=2, validation="within")


def scan(folder, centres, shape=(40, 10, 10), size=2.0, grid=None, patient="p0", ignore=None):
    grid = grid or Grid(shape, np.eye(4))
    boxes = Boxes.around(np.array(centres, dtype=float).reshape(-1, 3), np.full((len(centres), 3), size), grid)
    number = int(patient[1:])
    array = np.arange(np.prod(grid.shape), dtype=np.float32).reshape(1, *grid.shape) + number
    volume = volume_with(folder, array, grid, boxes, patient=patient)
    if ignore is not None:
        volume.annotations.ignore[:] = ignore
    return volume


def test_the_slab_holds_its_share_of_objects_and_cuts_none(tmp_path):
    # Along i, the last 10 slices would hold one of the four objects too, but cut the one at 29.5.
    volume = scan(tmp_path, [(5, 5, 5), (12, 5, 5), (29.5, 5, 5), (35, 5, 5)])
    rest, slab = divided(volume, 0.25)
    assert [len(case.annotations) for case in (rest, slab)] == [3, 1]
    assert not rest.annotations.ignore.any()
    # The first 10 of 40 slices hold the object at 5 alone and end between it and that at 12: exactly a quarter.
    assert (slab.lower, slab.upper) == ((0, 0, 0), (10, 10, 10))
    assert (rest.lower, rest.upper) == ((10, 0, 0), (40, 10, 10))


def test_every_voxel_and_every_object_is_on_one_side(tmp_path):
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 9, 30):
        volume = scan(tmp_path, rng.uniform(0, 9, (count, 3)) * [4, 1, 1], patient=f"p{count}")
        rest, slab = divided(volume, 0.3)
        assert np.prod(rest.grid.shape) + np.prod(slab.grid.shape) == 4000
        assert 0.15 <= np.prod(slab.grid.shape) / 4000 <= 0.5
        assert sum(int((~case.annotations.ignore).sum()) for case in (rest, slab)) == count
        assert not set(rest.array.flatten().tolist()) & set(slab.array.flatten().tolist())


def test_the_only_object_is_for_training(tmp_path):
    rest, slab = divided(scan(tmp_path, [(2, 2, 2)]), 0.25)
    assert [len(case.annotations) for case in (rest, slab)] == [1, 0]


def test_what_is_to_be_ignored_does_not_count_as_a_share(tmp_path):
    volume = scan(tmp_path, [(2, 5, 5), (20, 5, 5), (24, 5, 5), (38, 5, 5)], ignore=[True, False, False, False])
    _, slab = divided(volume, 1 / 3)
    assert int((~slab.annotations.ignore).sum()) == 1


def test_a_single_voxel_cannot_be_divided(tmp_path):
    with pytest.raises(DatasetError, match="cannot be divided"):
        divided(scan(tmp_path, [], shape=(1, 1, 1)), 0.25)


def test_two_patients_are_trained_and_tested_both_ways(tmp_path):
    volumes = [scan(tmp_path, [(5, 5, 5), (20, 5, 5), (35, 5, 5)], patient=f"p{n}") for n in (1, 2)]
    for fold in (0, 1):
        data = DataConfig(
            source="x", dims=3, classes=("lesion",), split=FoldSplit(folds=2, fold=fold, validation="within")
        )
        split = split_cases(data, volumes, seed=0)
        (trained,), (validated,), (tested,) = split.train, split.validation, split.test
        assert trained.volume is validated.volume
        assert tested.is_whole
        assert tested.patient_key != trained.patient_key
        assert split.seen.holds(trained)
        assert not split.seen.holds(tested)


def test_patches_see_no_voxel_of_the_slab_in_a_turned_and_resampled_grid(tmp_path):
    grid = awkward_grid()  # i runs along y at 0.5 mm, reversed
    volume = scan(tmp_path, [(6, 12, 8), (20, 12, 8), (32, 12, 8)], grid=grid)
    rest, slab = divided(volume, 1 / 3)
    config = PreprocessingConfig(spacing=(1.0, 1.0, 1.5), intensity=Window(lower=0, upper=1e5))
    store = PreparedStore(tmp_path / "cache", config, ("lesion",))
    parts = [store.get(case) for case in (rest, slab)]
    for case, part in zip((rest, slab), parts, strict=True):
        assert part.image.shape[1:] == part.boxes.grid.shape
        assert part.boxes.centres_world == pytest.approx(case.annotations.boxes.centres_world)
        corners = part.boxes.grid.to_world(np.array([[0, 0, 0], np.array(part.boxes.grid.shape) - 1.0]))
        assert case.grid.contains(case.grid.to_voxel(corners)).all()
        values = (np.asarray(part.image, dtype=float) + 1) / 2 * 1e5
        assert case.array.min() - 60 <= values.min()  # float16 near 1 has steps of 0.001 of 1e5 / 2
        assert values.max() <= case.array.max() + 60


def test_a_window_thinner_than_the_networks_voxel_is_refused(tmp_path):
    _, slab = divided(scan(tmp_path, [], shape=(4, 4, 4)), 0.25)
    config = PreprocessingConfig(spacing=(4.0, 4.0, 4.0), intensity=Window(lower=0, upper=1))
    with pytest.raises(DatasetError, match="thinner than a voxel"):
        PreparedStore(tmp_path / "cache", config, ("lesion",)).get(slab)


def test_two_folds_need_validation_within():
    with pytest.raises(ValueError, match="folds must be 3 or more"):
        FoldSplit(folds=2)
    with pytest.raises(ValueError, match="validation_share is of validation: within"):
        FoldSplit(validation_share=0.1)
    with pytest.raises(ValueError, match=r"cases\.kind must be whole"):
        DataConfig(source="x", dims=3, classes=("a",), split=WITHIN, cases=RandomOffsetWindows())


def test_a_split_from_before_there_was_a_choice_is_written_as_it_was():
    assert FoldSplit().model_dump() == {"kind": "folds", "folds": 5, "fold": 0, "group_by": "patient"}
    assert FoldSplit.model_validate(WITHIN.model_dump()) == WITHIN


def test_a_part_that_validates_has_the_values_that_it_has_in_the_whole(tmp_path):
    preprocessing = PreprocessingConfig(intensity=Percentiles(lower=0, upper=100))
    volume = scan(tmp_path, [(5, 5, 5), (12, 5, 5), (35, 5, 5)])
    _, slab = divided(volume, 0.25)
    alone = prepare(slab.array, slab.grid, preprocessing_of(slab, preprocessing)).image
    trained = PreparedStore(tmp_path, preprocessing, ("lesion",)).get(slab).image
    assert alone.numpy() == pytest.approx(np.asarray(trained), abs=2e-3)
    assert preprocessing_of(Case.whole(volume), preprocessing) == preprocessing
