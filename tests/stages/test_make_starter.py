"""A registered version becomes a starter."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.seen import Seen
from pipeline.datasets.split import CaseSplit
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.errors import ModelError
from pipeline.evaluation import evaluate
from pipeline.inference.half import Agreement
from pipeline.stages import make_starter as stage
from pipeline.stages.make_starter import make_starter
from pipeline.starters import sources, starter
from pipeline.tracking import registry
from pipeline.tracking.run import tracked_run
from tests.made_starters import empty_shelf
from tests.made_versions import PATIENTS, cells_case, cells_config
from tests.phantoms import field_of_cells

SECRET = "MUSTERMANN"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    return empty_shelf(tmp_path, monkeypatch)


@pytest.fixture
def version(tracked, tmp_path, monkeypatch):
    """``cells/1``, untrained, with two scans on each side; all of its candidates count."""
    raw = cells_config().model_dump()
    raw["data"]["source"] = f"/home/{SECRET}/cells"
    raw["inference"]["score_floor"] = 0.001
    config = ExperimentConfig.model_validate(raw)
    network = seeded_network(config).half().float()  # so that halving changes nothing
    folder = tmp_path / "bundle"
    Bundle(config, network, 0.002, Seen(frozenset({"patient 9"}), frozenset({"00000000000000aa"}))).save(folder)
    evaluation = evaluate([cells_case(n, 8) for n in range(PATIENTS)], config.evaluation, ("cell",), "cells/1", 0.002)
    with tracked_run(tracked, "cells", "key", {}) as run:
        registry.register(tracked, run.run_id, folder, "cells", "key", {})
        run.log_evaluation(evaluation)
        facts = {"steps": "40", "device": "cpu, 1 threads"}
        run.set_tags({f"cellscan.training.{name}": value for name, value in facts.items()})
        run.set_tags({"cellscan.training_seconds": "90.0"})
    cases = [Case.whole(field_of_cells(tmp_path, seed)) for seed in range(6)]
    split = CaseSplit(tuple(cases[:2]), tuple(cases[2:4]), tuple(cases[4:]))
    monkeypatch.setattr(stage, "data_of", lambda record, config, settings: SimpleNamespace(split=split))
    return evaluation


@pytest.fixture
def allowed(monkeypatch):
    """The version's data may be shipped."""
    monkeypatch.setitem(sources.SOURCES, "cells", dataclasses.replace(sources.SOURCES["dsb2018"], folder="cells"))


def test_weights_are_halved_and_nothing_of_this_home_is_left(shelf, version, allowed, tracked):
    made = make_starter("cells/1", "discs", tracked)
    assert made == starter("starter/discs")
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "CARD.md", "bundle.json", "experiment.json", "starter.json", "weights.safetensors"
    ]  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in made.folder.iterdir()} == {0o644}
    assert torch.float16 in {value.dtype for value in load_file(made.folder / "weights.safetensors").values()}
    assert json.loads((made.folder / "bundle.json").read_text())["seen"] == {
        "patients": [],
        "volumes": ["00000000000000aa"],
    }
    everything = b"".join(path.read_bytes() for path in made.folder.iterdir())
    assert SECRET.encode() not in everything
    assert b"patient 9" not in everything
    assert made.config.data.source == "cells"


def test_the_card_reads_its_figures_and_says_what_is_owed(shelf, version, allowed, tracked):
    made = make_starter("cells/1", "discs", tracked)
    for said in (
        f"| F1 | {version.metrics['f1']} |",
        "For research only, not for diagnosis",
        "CC0 1.0 Universal (https://creativecommons.org/publicdomain/zero/1.0/)",
        "https://doi.org/10.1038/s41592-019-0612-7",
        "train 2 cases of 2 patients with 24 objects; validation 2 cases of 2 patients",
        "longest edge is 8 … 8 px (nine of ten)",
        "40 steps, 1.5 minutes on cpu, 1 threads",
        "values 0 … 255",
        f"Digest {made.digest}; cellscan {made.cellscan}",
        "--set training.initial_weights=starter/discs",
        "| Made from | cells/1, digest",
    ):
        assert said in made.card
    assert made.tested == f"F1 {version.metrics['f1']} on 6 test cases of 6 patients"


def test_made_again_it_takes_the_place_of_the_first(shelf, version, allowed, tracked):
    first = make_starter("cells/1", "discs", tracked)
    (first.folder / "left over.txt").write_text("")
    assert make_starter("cells/1", "discs", tracked) == first
    assert [path.name for path in shelf.iterdir()] == ["discs"]
    assert not (first.folder / "left over.txt").exists()


def test_what_may_not_be_shipped_is_not_written(shelf, version, tracked):
    with pytest.raises(ModelError, match="a model trained on 'cells' may not be shipped"):
        make_starter("cells/1", "discs", tracked)
    assert not list(shelf.iterdir())


def test_a_halved_version_that_detects_otherwise_is_not_written(shelf, version, allowed, tracked, monkeypatch):
    monkeypatch.setattr(stage, "agreement_of", lambda *_: Agreement(100, 98))
    with pytest.raises(ModelError, match=r"of 200 detections on validation cases 196 are the same .* at least 99 %"):
        make_starter("cells/1", "discs", tracked)
    monkeypatch.setattr(stage, "agreement_of", lambda *_: Agreement(1000, 980))
    with pytest.raises(ModelError, match="of 1000 detections"):  # the first case was enough
        make_starter("cells/1", "discs", tracked)
    monkeypatch.setattr(stage, "agreement_of", lambda *_: Agreement(0, 0))
    with pytest.raises(ModelError, match="of 0 detections"):
        make_starter("cells/1", "discs", tracked)
    assert not list(shelf.iterdir())


def test_a_starter_has_a_size_and_a_name(shelf, version, allowed, tracked, monkeypatch):
    with pytest.raises(ModelError, match=r"small letters, digits and dashes, such as nuclei-2d, got '\.\./Discs'"):
        make_starter("cells/1", "../Discs", tracked)
    monkeypatch.setattr(stage, "LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match=r"and at most 0\.001 MB are shipped"):
        make_starter("cells/1", "discs", tracked)
