"""What other flows may wait for, in Prefect's words: events, which triggers of deployments name."""

from typing import TYPE_CHECKING

from prefect.events import emit_event

if TYPE_CHECKING:
    from pipeline.sources.ingest import IngestSummary
    from pipeline.stages.promote import PromotionDecision

CHAMPION_CHANGED = "cellscan.champion.changed"
SCANS_ARRIVED = "cellscan.scans.arrived"
_RESOURCE = "prefect.resource.id"


def tell_champion(name: str, decision: "PromotionDecision") -> None:
    """Emit ``cellscan.champion.changed`` of ``cellscan.model.<name>``, where a promotion changed anything."""
    if decision.promoted and decision.champion != decision.previous:
        emit_event(CHAMPION_CHANGED, {_RESOURCE: f"cellscan.model.{name}"}, payload={"version": decision.champion})


def tell_arrival(summary: "IngestSummary") -> None:
    """Emit ``cellscan.scans.arrived`` of ``cellscan.catalog``, where an ingest read anything; it names nothing."""
    if summary.unchanged < len(summary.files):
        emit_event(SCANS_ARRIVED, {_RESOURCE: "cellscan.catalog"})
