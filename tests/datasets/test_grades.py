"""Grades on their way from a volume's attribute to the network."""

import dataclasses

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import PreparedStore
from pipeline.datasets.samples import Batch, collate
from pipeline.datasets.sampling import PatchDataset
from pipeline.datasets.select import select_volumes
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid
from tests.experiments import tiny_2d, tiny_graded
from tests.phantoms import field_of_cells, volume_with


def field(folder, seed: int, diagnosis: str | None):
    volume = field_of_cells(folder, seed)
    return volume if diagnosis is None else dataclasses.replace(volume, attributes={"diagnosis": diagnosis})


def dataset(config: ExperimentConfig, folder, volumes) -> PatchDataset:
    store = PreparedStore(folder / "cache", config.preprocessing, config.data.classes)
    chosen = select_volumes(config.data, volumes)
    return PatchDataset([store.get(Case.whole(volume)) for volume in chosen], config)


def test_what_is_said_of_a_volume_is_said_of_its_objects(tmp_path):
    said = ["benign", "malignant", "unclear", None]
    volumes = [field(tmp_path, seed, one) for seed, one in enumerate(said)]
    chosen = [volume.annotations.grades for volume in select_volumes(tiny_graded().data, volumes)]
    assert [sorted(set(grades.tolist())) for grades in chosen[:2]] == [[0.0], [1.0]]
    assert all(np.isnan(grades).all() for grades in chosen[2:])
    assert [len(grades) for grades in chosen] == [len(volume.annotations) for volume in volumes]


def test_a_grade_between_is_kept_as_it_is(tmp_path):
    raw = tiny_graded().model_dump()
    raw["data"]["grade"]["values"] = {"1": 0.0, "3": 0.5, "4": 0.75}
    config = ExperimentConfig.model_validate(raw).data
    (chosen,) = select_volumes(config, [field(tmp_path, 0, "4")])
    assert set(chosen.annotations.grades.tolist()) == {0.75}


def test_a_text_that_the_experiment_does_not_name_is_refused_with_the_text(tmp_path):
    with pytest.raises(DatasetError, match=r"its diagnosis is 'Malignant', which is not among data\.grade\.values"):
        select_volumes(tiny_graded().data, [field(tmp_path, 0, "Malignant")])


def test_grades_follow_their_objects_into_a_window(tmp_path):
    grid = Grid.of_pixels((40, 40))
    boxes = Boxes.around(np.array([[5.0, 5.0], [21.0, 5.0], [35.0, 35.0]]), np.full((3, 2), 6.0), grid)
    volume = volume_with(tmp_path, np.zeros((1, 40, 40), np.uint8), grid, boxes)
    annotations = dataclasses.replace(volume.annotations, grades=np.array([0.0, 0.25, 1.0]))
    case = Case("c", dataclasses.replace(volume, annotations=annotations), (15, 0), (40, 40))
    assert case.annotations.grades.tolist() == [0.25, 1.0]


def test_a_changed_grade_changes_the_fingerprint_and_no_grade_is_as_before(tmp_path):
    plain = Case.whole(field(tmp_path, 0, "benign"))
    graded = [
        Case.whole(select_volumes(tiny_graded().data, [field(tmp_path, 0, one)])[0]) for one in ("benign", "malignant")
    ]
    assert len({plain.fingerprint(), *(case.fingerprint() for case in graded)}) == 3
    ungraded = Case.whole(select_volumes(tiny_2d().data, [field(tmp_path, 0, "benign")])[0])
    assert ungraded.fingerprint() == plain.fingerprint()


def test_patches_carry_the_grades_of_their_objects_and_batches_keep_them(tmp_path):
    patches = dataset(tiny_graded(), tmp_path, [field(tmp_path, 0, "malignant"), field(tmp_path, 1, None)])
    objects = [patches[number][1] for number in range(12)]
    assert all(len(one.grades) == len(one.labels) for one in objects)
    seen = torch.cat([one.grades for one in objects])
    assert (seen[~torch.isnan(seen)] == 1).all()
    assert 0 < torch.isnan(seen).sum() < len(seen)
    batch: Batch = collate([patches[0], patches[1]]).to(torch.device("cpu"))
    assert torch.equal(batch.objects[1].grades.isnan(), objects[1].grades.isnan())


def test_without_a_grade_to_learn_patches_carry_none(tmp_path):
    assert dataset(tiny_2d(), tmp_path, [field(tmp_path, 0, "malignant")])[0][1].grades is None


def test_training_without_a_known_grade_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="none of 2 training cases has an object with a known one"):
        dataset(tiny_graded(), tmp_path, [field(tmp_path, 0, None), field(tmp_path, 1, "unclear")])
