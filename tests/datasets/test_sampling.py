import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import PreparedCase, PreparedStore
from pipeline.datasets.sampling import NumberSampler, PatchDataset
from pipeline.geometry import Boxes, Grid
from tests.experiments import tiny_2d
from tests.phantoms import field_of_cells


@pytest.fixture
def dataset(tmp_path):
    config = tiny_2d()
    store = PreparedStore(tmp_path / "cache", config.preprocessing, config.data.classes)
    cases = [Case.whole(field_of_cells(tmp_path, seed)) for seed in range(2)]
    return PatchDataset([store.get(case) for case in cases], config)


def test_patch_number_names_the_patch(dataset):
    assert torch.equal(dataset[7][0], dataset[7][0])
    assert not torch.equal(dataset[7][0], dataset[8][0])


def test_objects_lie_on_their_cells(dataset):
    brighter = []
    for number in range(10):
        image, objects = dataset[number]
        for lower, upper in zip(objects.lower, objects.upper, strict=True):
            centre = ((lower + upper) / 2).round().int()
            if (centre >= 0).all() and (centre < 32).all():
                brighter.append(float(image[0, centre[0], centre[1]]) > 0)
    assert len(brighter) > 10
    assert all(brighter)


def test_epochs_draw_different_patches():
    sampler = NumberSampler(3)
    assert list(sampler) == [0, 1, 2]
    sampler.set_epoch(2)
    assert list(sampler) == [6, 7, 8]


def test_a_case_smaller_than_the_patch_repeats_its_border():
    base = tiny_2d().model_dump()
    base["augmentation"] = {}
    config = ExperimentConfig.model_validate(base)
    image = np.full((1, 20, 40), 0.5, dtype=np.float16)
    grid = Grid.of_pixels((20, 40))
    case = PreparedCase(image, Boxes.empty(grid), np.zeros(0, np.int64), np.zeros(0, bool))
    patch, objects = PatchDataset([case], config)[0]
    assert patch.shape == (1, 32, 32)
    assert patch.unique().tolist() == [0.5]
    assert len(objects.labels) == 0


def test_a_truncated_cache_file_is_made_anew(tmp_path):
    config = tiny_2d()
    store = PreparedStore(tmp_path / "cache", config.preprocessing, config.data.classes)
    case = Case.whole(field_of_cells(tmp_path, 0))
    whole = np.array(store.get(case).image)
    path = next((tmp_path / "cache").glob("*.npy"))
    path.write_bytes(path.read_bytes()[:500])
    assert np.array_equal(store.get(case).image, whole)
