"""The model card that a starter model is shipped with, in Markdown."""

from collections.abc import Iterable, Sequence

from pipeline.evaluation import Evaluation
from pipeline.reporting.model_card import CardRow
from pipeline.reporting.naming import metric_meaning, metric_name
from pipeline.starters.shelf import Starter
from pipeline.starters.sources import DataSource


def starter_card(made: Starter, source: DataSource, rows: Sequence[CardRow], evaluation: Evaluation) -> str:
    """The whole card. ``evaluation`` is that of the held-back test side; every figure on the card is read from it."""
    return "\n".join(
        [
            f"# {made.spec}",
            "",
            f"A starter model of cellscan: {made.finds}. For research only, not for diagnosis or treatment. Use it as "
            "it is, or start a training from it:",
            "",
            "```",
            f"cellscan detect {made.spec} ARCHIVE --out RESULTS",
            f"cellscan train EXPERIMENT.yaml --set training.initial_weights={made.spec}",
            "```",
            "",
            *_table(("", ""), ((row.heading, row.text) for row in rows)),
            "",
            "## On its held-back test side",
            f"Intervals of {evaluation.confidence:.0%}, from bootstrap samples of patients. No choice was made on "
            "these scans.",
            "",
            *_table(("figure", "value", "meaning"), _figures(evaluation)),
            "",
            "## Data, licence and credit",
            f"{source.title}. {source.terms}",
            "",
            *(f"- {citation}" for citation in source.citations),
            "",
            f"{source.beware}",
            "",
            "No image, name or patient number is in this folder: `bundle.json` holds digests of the voxels that it was "
            "made from, so that it is not judged on them.",
            "",
            "## Which it is",
            f"Digest {made.digest}; cellscan {made.cellscan}; its version was registered on {made.made_at:%Y-%m-%d} "
            "(UTC). The weights are part of cellscan and under its licence; what is said above of the data goes on "
            "with them.",
            "",
        ]
    )


def _figures(evaluation: Evaluation) -> Iterable[tuple[str, str, str]]:
    """The one that it is judged by first."""
    for name in sorted(evaluation.metrics, key=lambda name: name != evaluation.primary):
        yield metric_name(name), str(evaluation.metrics[name]), metric_meaning(name)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
