"""Prefect's bookkeeping beside the work: neither may cost the other."""

import pytest
from prefect.exceptions import CancelledRun

from flows import artifacts, best_effort
from flows.artifacts import show_ingest, show_report, showing_progress
from pipeline.sources.ingest import IngestSummary

_MADE = [name for name in vars(artifacts) if name.endswith("_artifact")]


@pytest.fixture
def server(monkeypatch):
    """``server(error)`` answers every artifact so; of `None`, it takes them all."""
    monkeypatch.setattr(best_effort, "_told", set())

    def answers(error):
        asked = []
        for name in _MADE:

            def take(*given, _name=name, **more):
                asked.append(_name)
                if error is not None:
                    raise error
                return "an id"

            monkeypatch.setattr(artifacts, name, take)
        return asked

    return answers


def test_server_that_takes_nothing_is_told_once_and_ends_no_work(server, tmp_path, caplog):
    asked = server(RuntimeError("Failed to reach API"))
    show_ingest(IngestSummary(tmp_path, (), (), 0))
    show_report(tmp_path)
    with showing_progress("cells/1", None) as shown:
        shown(1, 2, "detecting")
    assert asked == ["create_table_artifact", "create_markdown_artifact", "create_progress_artifact"]
    (told,) = caplog.messages
    assert told.endswith("its work goes on: RuntimeError: Failed to reach API")


def test_server_that_goes_away_is_left_alone_for_a_while(server, monkeypatch):
    clock, heard = [0.0], []
    monkeypatch.setattr(artifacts.time, "monotonic", lambda: clock[0])
    server(None)
    with showing_progress("cells/1", lambda *told: heard.append(told)) as shown:
        asked = server(RuntimeError("Failed to reach API"))
        for done in (1, 2, 3):
            clock[0] += 100.0
            shown(done, 100, "detecting")
        assert len(asked) == 1
        asked = server(None)
        clock[0] += 300.0
        shown(4, 100, "detecting")
        assert asked == ["update_progress_artifact"]
    assert [done for done, *_ in heard] == [1, 2, 3, 4]


@pytest.mark.parametrize("stopped", [CancelledRun("by the user"), KeyboardInterrupt()])
def test_who_stops_the_run_is_heeded(server, tmp_path, stopped):
    server(stopped)
    with pytest.raises(type(stopped)):
        show_report(tmp_path)


def test_error_of_the_work_itself_is_no_matter_of_pages(server):
    server(None)
    with pytest.raises(OSError, match="disk"), showing_progress("cells/1", None):
        raise OSError("the disk is full")
