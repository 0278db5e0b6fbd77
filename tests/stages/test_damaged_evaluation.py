"""Evaluations that were damaged in the artifact store: named, got past by force, scored again."""

import shutil
from types import SimpleNamespace

import pytest

from pipeline.errors import TrackingError
from pipeline.stages import evaluate as evaluate_stage
from pipeline.stages import report_subject
from pipeline.stages.evaluate import evaluate_version
from pipeline.stages.promote import promote_version
from pipeline.stages.scoring import own_evaluation
from pipeline.tracking import registry
from pipeline.tracking.session import connect
from pipeline.tracking.targets import RunTarget
from tests.made_versions import evaluation_folder


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


_DAMAGES = {
    "bad JSON": lambda folder: (folder / "evaluation.json").write_text("{"),
    "no keys": lambda folder: (folder / "evaluation.json").write_text("{}"),
    "other JSON": lambda folder: (folder / "evaluation.json").write_text("[1]"),
    "half a table": lambda folder: _cut(folder / "cases.parquet"),
    "no table": lambda folder: (folder / "objects.parquet").unlink(),
    "gone": shutil.rmtree,
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES)
def test_damaged_evaluation_is_named_and_force_gets_past_it(tracked, register, damage):
    register(8)
    register(9)
    promote_version("cells", "1", tracked)
    damage(evaluation_folder(tracked, "cells/2"))
    with pytest.raises(TrackingError, match=r"the evaluation of cells/2 .*; cellscan evaluate cells/2 scores it again"):
        promote_version("cells", "2", tracked)
    forced = promote_version("cells", "2", tracked, force=True)
    assert forced.champion == "2"
    assert "it cannot be judged: the evaluation of cells/2" in forced.reason


def test_damaged_evaluation_is_scored_again_and_kept(tracked, register, monkeypatch):
    register(8)
    record = registry.resolve(tracked, "cells/1")
    before = own_evaluation(record, tracked)
    shutil.rmtree(evaluation_folder(tracked, "cells/1"))
    split = SimpleNamespace(split=SimpleNamespace(test=()))
    monkeypatch.setattr(evaluate_stage, "data_of", lambda record, config, settings: split)
    monkeypatch.setattr(evaluate_stage, "score_version", lambda *arguments: before)
    assert evaluate_version("cells/1", None, tracked) is before
    assert own_evaluation(record, tracked).metrics == before.metrics
    assert "cellscan.evaluated_again" in connect(tracked).get_run(record.run_id).data.tags


def test_damaged_version_is_left_out_of_the_report_on_its_siblings_and_told(tracked, register):
    register(8)
    register(9)
    shutil.rmtree(evaluation_folder(tracked, "cells/2"))
    notes = []
    record = registry.resolve(tracked, "cells/1")
    found = report_subject._evaluations(record, None, RunTarget("cells/1"), tracked, None, notes)
    assert [one.version for one in found] == ["cells/1"]
    assert notes[0].startswith("cells/2 is left out: the evaluation of cells/2 cannot be had")
