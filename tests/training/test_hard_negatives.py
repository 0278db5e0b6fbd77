"""Fields of 12 equal discs of which 4 are not annotated: what a network takes for cells there, and no cell."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.places import Places
from pipeline.datasets.prepared import PreparedStore
from pipeline.datasets.sampling import PatchDataset
from pipeline.datasets.split import split_cases
from pipeline.detections import Detections
from pipeline.geometry import Boxes
from pipeline.training import hard_negatives
from pipeline.training.hard_negatives import HardNegatives, false_places
from pipeline.training.ranks import Rank
from pipeline.training.train import train
from tests.experiments import tiny_2d
from tests.phantoms import field_of_cells

ANNOTATED = 8


def mining(share=0.5, **training) -> ExperimentConfig:
    raw = tiny_2d(**training).model_dump()
    raw["sampling"] |= {"hard_negative_share": share, "hard_negative_score": 0.3}
    return ExperimentConfig.model_validate(raw)


@pytest.fixture
def fields(tmp_path):
    """The volumes, and the centres of discs that are not annotated by volume id."""
    whole = [field_of_cells(tmp_path, seed) for seed in range(6)]
    few = [dataclasses.replace(one, annotations=_first(one.annotations)) for one in whole]
    return few, {one.volume_id: one.annotations.boxes.centres[ANNOTATED:] for one in whole}


def _first(marks):
    return dataclasses.replace(
        marks, boxes=marks.boxes[:ANNOTATED], labels=marks.labels[:ANNOTATED], ignore=marks.ignore[:ANNOTATED]
    )


def test_the_share_asked_for_is_drawn_at_what_was_mistaken_for_an_object(tmp_path, settings, fields):
    volumes, others = fields
    config = mining(max_epochs=13, validate_every=12)
    split = split_cases(config.data, volumes, 0)
    history = train(config, split, tmp_path / "run", settings).history
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["callbacks"]["HardNegatives"]
    number, at = state["case"].numpy(), state["world"].numpy()
    assert len(at) == history[-1]["hard_negatives"]
    assert set(number.tolist()) == {0, 1}  # two cases validate, so two of the two that train are looked at

    store = PreparedStore(settings.cache, config.preprocessing, config.data.classes)
    prepared = [store.get(case) for case in split.train]
    places = Places(prepared, config.sampling)
    places.set_hard_negatives([at[number == n] for n in range(len(prepared))])
    drawn = [places.draw(np.random.default_rng(seed)) for seed in range(1000)]
    mistaken = [np.abs(others[split.train[one.case].volume.volume_id] - one.centre).max(axis=1).min() for one in drawn]
    assert np.mean(np.array(mistaken) < 2) == pytest.approx(0.5, abs=0.06)


@dataclass
class Told:
    """In place of a network: what is detected on every case."""

    centres: list
    scores: list

    def __call__(self, network, config, image, network_grid, grid, volume_id):
        boxes = Boxes.around(np.array(self.centres, dtype=float), np.full(2, 8.0), grid)
        labels = np.zeros(len(self.scores), dtype=np.int64)
        return Detections(volume_id, boxes, np.array(self.scores), labels, ("cell",))


@pytest.fixture
def case(tmp_path):
    return Case.whole(field_of_cells(tmp_path, 0, cells=1))


def prepared_of(case, tmp_path):
    config = tiny_2d()
    return PreparedStore(tmp_path / "cache", config.preprocessing, config.data.classes).get(case)


def test_only_false_detections_above_the_score_and_outside_of_objects_count(monkeypatch, tmp_path, case):
    cell = case.annotations.boxes.centres[0]
    far = [[(cell[0] + 20 * n) % 64, (cell[1] + 30) % 64] for n in range(3)]
    found = [cell, cell + np.array([3.5, 0]), *far]  # the second one finds nothing: the cell is found already
    monkeypatch.setattr(hard_negatives, "detect_prepared", Told(found, [0.9, 0.8, 0.5, 0.31, 0.29]))
    places = false_places(None, mining(), case, prepared_of(case, tmp_path))
    assert np.allclose(places, case.grid.to_world(np.array(far[:2])))


def test_a_scan_gives_its_twenty_worst_at_most(monkeypatch, tmp_path, case):
    config = mining()
    cell = case.annotations.boxes.centres[0]
    far = (cell + 30) % 64
    monkeypatch.setattr(hard_negatives, "detect_prepared", Told([far] * 30, list(np.linspace(0.4, 0.9, 30))))
    assert len(false_places(None, config, case, prepared_of(case, tmp_path))) == 20
    monkeypatch.setattr(hard_negatives, "detect_prepared", Told(np.zeros((0, 2)), []))
    assert false_places(None, config, case, prepared_of(case, tmp_path)).shape == (0, 2)


def test_what_is_kept_brings_back_the_same_patches(tmp_path):
    config = mining(share=1.0)
    store = PreparedStore(tmp_path / "cache", config.preprocessing, config.data.classes)
    cases = [Case.whole(field_of_cells(tmp_path, seed)) for seed in range(3)]
    prepared = [store.get(case) for case in cases]

    def callback() -> HardNegatives:
        return HardNegatives(PatchDataset(prepared, config), cases, 2, Rank())

    first, again = callback(), callback()
    before = first.dataset[5][0]
    first.load_state_dict({"case": torch.tensor([0, 2]), "world": torch.tensor([[20.5, 30.0], [8.0, 9.0]])})
    again.load_state_dict(first.state_dict())
    assert torch.equal(first.dataset[5][0], again.dataset[5][0])
    assert not torch.equal(first.dataset[5][0], before)
    empty = callback()
    empty.load_state_dict(callback().state_dict())
    assert torch.equal(empty.dataset[5][0], before)
