"""A starter model where a version is named."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.errors import DatasetError, ModelError
from pipeline.evaluation import evaluate
from pipeline.settings import Settings
from pipeline.stages import compare
from pipeline.stages.detect import detect_archive
from pipeline.stages.evaluate import evaluate_version
from pipeline.stages.initial import InitialWeights
from pipeline.stages.report import write_report
from pipeline.stages.scoring import score_version
from pipeline.tracking.registry import DIGEST_TAG, resolve
from tests.experiments import tiny_2d
from tests.made_starters import empty_shelf, put_starter
from tests.made_versions import PATIENTS, cells_case, cells_config
from tests.phantoms import field_of_cells


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    return empty_shelf(tmp_path, monkeypatch)


@pytest.fixture
def settings(tmp_path):
    home = tmp_path / "home"
    stores = {"catalog_url": f"sqlite:///{home / 'catalog.db'}", "tracking_uri": f"sqlite:///{home / 'mlflow.db'}"}
    return dataclasses.replace(Settings.from_environment(), home=home, device="cpu", **stores)


def _finds_anything() -> ExperimentConfig:
    raw = tiny_2d().model_dump()
    raw["inference"]["score_floor"] = 0.001
    return ExperimentConfig.model_validate(raw)


def test_detecting_asks_no_mlflow_and_keeps_results_by_the_starters_digest(shelf, settings, tmp_path):
    made = put_starter(shelf, "discs", _finds_anything(), threshold=0.002)
    (tmp_path / "scans").mkdir()
    pixels = np.random.default_rng(0).integers(0, 60, (64, 64)).astype(np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "scans" / "a.png")
    first = detect_archive("starter/discs", tmp_path / "scans", tmp_path / "out", settings)
    assert (first.model, first.detected_now, first.unfinished) == ("starter/discs", 1, {})
    assert first.detections > 0
    again = detect_archive("starter/discs", tmp_path / "scans", tmp_path / "out", settings)
    assert (again.detected_now, again.done_before) == (0, 1)
    (folder,) = settings.detections.iterdir()
    assert folder.name.startswith(f"starter-discs-{made.digest[:8]}-")
    assert not (settings.home / "mlflow.db").exists()


def test_initial_weights_are_the_starters_and_named_by_its_digest(shelf, settings):
    made = put_starter(shelf, "discs", tiny_2d())
    initial = InitialWeights.named("starter/discs", settings)
    assert (initial.path, initial.digest) == (made.folder, made.digest)
    assert initial.load().config == tiny_2d()


def test_a_starter_is_not_scored_on_what_it_was_made_from(shelf, settings, tmp_path):
    case = Case.whole(field_of_cells(tmp_path, 0))
    put_starter(shelf, "discs", tiny_2d(), volumes=(case.volume.volume_id,))
    record = resolve(settings, "starter/discs")
    bundle = Bundle.load(record.bundle_folder)
    with pytest.raises(DatasetError, match="starter/discs was trained on the patients of all 1 cases"):
        score_version(record, bundle, [case], bundle.config.evaluation, settings)


@pytest.mark.parametrize(
    "ask", [lambda s: evaluate_version("starter/discs", None, s), lambda s: write_report("starter/discs", s)]
)
def test_without_scans_a_starter_has_nothing_to_be_judged_by_but_its_card(shelf, settings, ask):
    made = put_starter(shelf, "discs", tiny_2d())
    with pytest.raises(ModelError, match=r"starter/discs brings no test set .*--data FOLDER .*CARD\.md") as told:
        ask(settings)
    assert str(made.folder) in str(told.value)


def test_a_version_is_compared_with_a_starter_on_the_versions_test_set(shelf, tracked, register, monkeypatch):
    put_starter(shelf, "discs", cells_config())
    register(8)
    found = {"starter/discs": 5, "cells/1": 8}
    cases = [
        SimpleNamespace(patient_key=f"patient {n}", volume=SimpleNamespace(volume_id=f"{n:016x}"))
        for n in range(PATIENTS)
    ]

    def score(record, bundle, cases, config, settings, progress=None):
        scored = [cells_case(int(case.volume.volume_id, 16), found[record.spec]) for case in cases]
        return evaluate(scored, config, ("cell",), record.spec, 0.5)

    monkeypatch.setattr(compare, "data_of", lambda *_: SimpleNamespace(split=SimpleNamespace(test=cases)))
    monkeypatch.setattr(compare, "score_version", score)
    compared = compare.compare_versions("starter/discs", "cells/1", tracked)
    assert (compared.version_a, compared.version_b, compared.patients) == ("starter/discs", "cells/1", PATIENTS)
    assert compared.differences["f1"].value > 0
    with pytest.raises(ModelError, match=r"starter/discs brings no test set .*: name it first"):
        compare.compare_versions("cells/1", "starter/discs", tracked)


def test_who_has_no_version_yet_is_told_of_the_starters(shelf, tracked):
    made = put_starter(shelf, "discs", tiny_2d())
    with pytest.raises(ModelError, match=r"there are: none yet \(cellscan train .*with cellscan: starter/discs$"):
        resolve(tracked, "cells@champion")
    with pytest.raises(ModelError, match=r"name@champion or name/3, and a starter model starter/name, got 'discs'"):
        resolve(tracked, "discs")
    record = resolve(tracked, "starter/discs")
    assert (record.spec, record.tags[DIGEST_TAG], record.registered_at) == ("starter/discs", made.digest, made.made_at)
