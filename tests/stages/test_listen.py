import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from pipeline.settings import Settings
from pipeline.sources.network.listener import ListenerOptions
from pipeline.stages import listen as stage
from tests.sources.written import oblique_voxels, write_oblique_series


@pytest.fixture
def settings(tmp_path):
    home = tmp_path / "home"
    return Settings(home, tmp_path, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)


@pytest.mark.parametrize("passing", [OSError("no space left"), OperationalError("select", {}, sqlite3.Error("locked"))])
def test_what_may_pass_ends_nothing_and_what_was_left_over_is_ingested_later(settings, monkeypatch, passing):
    for seed, study in enumerate(("1.2", "1.3")):
        voxels = oblique_voxels(seed=seed)
        write_oblique_series(stage.received_folder(settings) / study / "1", voxels, StudyInstanceUID=study)
    real, asked, told = stage.ingest, [], []

    def hiccups(of, *given):
        asked.append(of.name)
        if len(asked) in (1, 2):  # at the start, and the first study then
            raise passing
        return real(of, *given)

    monkeypatch.setattr(stage, "ingest", hiccups)
    options = ListenerOptions(port=0, quiet_seconds=0.0)
    summaries = stage.listen(settings, options, wanted=lambda: len(asked) < 4, failed=told.append)
    assert sorted(summary.root.name for summary in summaries) == ["1.2", "1.3"]
    assert told == [passing, passing]
    assert asked[0] == "received"
