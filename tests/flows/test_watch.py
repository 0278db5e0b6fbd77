from pathlib import Path

import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.events import DeploymentEventTrigger

from flows import events
from flows.deployments import FOLDER, read_deployments, to_runner
from flows.watch import watch
from pipeline.sources.catalog import FileOutcome
from pipeline.sources.ingest import IngestSummary
from pipeline.stages.promote import PromotionDecision
from tests.sources.written import write_png
from tests.stages.watching import table

from .conftest import SECRET


def test_run_of_the_flow_does_what_has_arrived_and_shows_it_without_names(place, server, tmp_path):
    folder, out = tmp_path / "scans", tmp_path / "out"
    pixels = np.random.default_rng(0).integers(0, 255, (2, 60, 70), dtype=np.uint8)
    write_png(folder / f"{SECRET}_1.png", pixels[0])
    assert watch("starter/nuclei-2d", str(folder), out, settle=0) == out
    assert [row["version"] for row in table(out).values()] == ["starter/nuclei-2d"]
    write_png(folder / f"{SECRET}_2.png", pixels[1])
    watch("starter/nuclei-2d", str(folder), out, settle=0)
    watch("starter/nuclei-2d", str(folder), out, settle=0)
    assert len(table(out)) == 2
    with get_client(sync_client=True) as client:
        shown = client._client.post("/artifacts/filter", json={"limit": 200}).json()
    tables = [one["data"] for one in shown if one["key"] == "watch-starter-nuclei-2d"]
    assert len(tables) == 2
    assert all('"scans": 1' in one for one in tables)
    assert SECRET not in str(shown)


@pytest.fixture
def emitted(monkeypatch):
    found = []
    monkeypatch.setattr(events, "emit_event", lambda name, resource, payload=None: found.append((name, resource)))
    return found


def test_promotion_starts_the_shipped_watch_of_its_model(emitted):
    (deployment,) = [one for one in read_deployments(Path(__file__).parents[2] / FOLDER) if one.flow == "watch"]
    name = deployment.parameters["version"].removesuffix("@champion")
    events.tell_champion(name, PromotionDecision(True, "better", "8", "7"))
    ((event, resource),) = emitted
    (trigger,) = to_runner(deployment).triggers
    assert isinstance(trigger, DeploymentEventTrigger)
    assert (trigger.expect, trigger.match.root) == ({event}, resource)


@pytest.mark.parametrize(
    "decision",
    [PromotionDecision(False, "worse", "7", "7"), PromotionDecision(True, "it is the champion already", "7", "7")],
)
def test_promotion_that_changed_nothing_starts_nothing(emitted, decision):
    events.tell_champion("cells", decision)
    assert emitted == []


def test_ingest_tells_of_an_arrival_only_if_it_read_something(emitted, tmp_path):
    file = FileOutcome("DOE.png", "ingested", "", ("v",), "image")
    events.tell_arrival(IngestSummary(tmp_path, (file,), ("v",), unchanged=1))
    assert emitted == []
    events.tell_arrival(IngestSummary(tmp_path, (file,), ("v",), unchanged=0))
    assert emitted == [("cellscan.scans.arrived", {"prefect.resource.id": "cellscan.catalog"})]
