"""What the flow scan_to_report did, gathered for the user."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.lines import comparison_lines, evaluation_lines, ingest_lines, paired_lines, reason_lines
from pipeline.settings import Settings

if TYPE_CHECKING:
    from flows.scan_to_report import Outcome
    from pipeline.evaluation.records import Comparison, Evaluation
    from pipeline.progress import Progress
    from pipeline.sources.ingest import IngestSummary

_WIDTH = 110
# Without its ending MLflow's page opens among traces and prompts, and hides the model registry.
_OPEN = {"MLflow": "127.0.0.1:5000/#/experiments?workflowType=machine_learning", "Prefect": "127.0.0.1:4200"}


@dataclass(frozen=True, eq=False)
class WholeOutcome:
    """``detections`` are the ``summary.json`` of each result folder; ``pages`` says how to open each page."""

    ingested: tuple["IngestSummary", ...]
    evaluations: tuple["Evaluation", ...]
    comparisons: tuple["Comparison", ...]
    champions: tuple[str, ...]
    detections: tuple[dict[str, Any], ...]
    report: Path
    pages: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "ingested": [summary.to_json() for summary in self.ingested],
            "versions": [evaluation.summary() for evaluation in self.evaluations],
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "champions": list(self.champions),
            "detections": list(self.detections),
            "report": str(self.report),
            "pages": self.pages,
        }

    def lines(self) -> list[str]:
        lines = ["", "INGESTED"]
        for summary in self.ingested:
            lines += ingest_lines(summary)
        lines += ["", "DETECTED ON"]
        for detected in self.detections:
            lines += _detected_lines(detected)
        lines += ["", "SCORES"]
        lines += self._score_lines()
        lines += ["", f"@champion: {', '.join(self.champions)}", f"report:    {self.report}"]
        return [*lines, *(f"{f'{name}:':10} {how}{_then_open(name, how)}" for name, how in self.pages.items())]

    def _score_lines(self) -> list[str]:
        """A table for each two versions that were compared; the figures of a version that was compared with none."""
        of = {evaluation.version: evaluation for evaluation in self.evaluations}
        lines: list[str] = []
        shown: set[str] = set()
        for comparison in self.comparisons:
            a, b = of.get(comparison.version_a), of.get(comparison.version_b)
            if a is None or b is None:
                lines += comparison_lines(comparison)
                continue
            lines += paired_lines(a, b, comparison)
            shown |= {a.version, b.version}
        for version, evaluation in of.items():
            lines += [] if version in shown else evaluation_lines(evaluation)
        return lines


def gather(
    outcome: "Outcome", sources: Sequence[str], settings: Settings, progress: "Progress | None" = None
) -> WholeOutcome:
    """Read back what was done; nothing is computed that is not kept already, except figures of a comparison."""
    from flows.session import pages
    from pipeline.stages.compare import compare_versions
    from pipeline.stages.evaluate import evaluate_version
    from pipeline.stages.ingest import ingest_archive
    from pipeline.stages.pairs import pairs_to_compare
    from pipeline.tracking.session import address

    champions = {champion.partition("/")[0]: champion for champion in outcome.champions}
    pairs = pairs_to_compare(outcome.versions, champions)
    return WholeOutcome(
        ingested=tuple(ingest_archive(source, settings, progress) for source in sources),
        evaluations=tuple(evaluate_version(version, None, settings) for version in outcome.versions),
        comparisons=tuple(compare_versions(a, b, settings, progress) for a, b in pairs),
        champions=outcome.champions,
        detections=tuple(json.loads((folder / "summary.json").read_text("utf-8")) for folder in outcome.results),
        report=outcome.report,
        pages={"MLflow": runnable(address(settings)), "Prefect": runnable(pages(settings))},
    )


def runnable(command: str) -> str:
    """The command with the path of its program, where the user's shell would not find it."""
    folder = Path(sys.executable).parent

    def located(match: re.Match[str]) -> str:
        return match[0] if shutil.which(match[0]) else str(folder / match[0])

    return re.sub(r"(?<!\S)(mlflow|prefect)(?= )", located, command)


def _then_open(name: str, how: str) -> str:
    """Where the page is after its command was given; an address needs no command."""
    return "" if how.startswith("http") else f"   then open http://{_OPEN[name]}"


def _wrapped(items: Sequence[str]) -> list[str]:
    """Items one after another, none of them broken."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH:
            lines.append("")
        lines[-1] += f", {item}" if lines[-1] else item
    return [f"  {line}" for line in lines if line]


def _detected_lines(detected: dict[str, Any]) -> list[str]:
    counts = detected["counts"]
    head = (
        f"{detected['model']}: {counts['detections']} detections in {counts['scans']} scans "
        f"({counts['detected_now']} now, {counts['done_before']} before): {detected['out']}"
    )
    scans = _wrapped([f"{scan['path']} ({scan['detections']})" for scan in detected["scans"]])
    unsuited = reason_lines("not for this version", ((why, name) for name, why in detected["unsuited"].items()))
    unfinished = reason_lines("not done yet", ((why, name) for name, why in detected["unfinished"].items()))
    return [head, *scans, *unsuited, *unfinished]
