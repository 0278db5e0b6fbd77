"""A group of folds and seeds as lines for the user."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.stages.train_group import TrainedGroup


def group_lines(group: "TrainedGroup") -> list[str]:
    """Each version with its primary figure; the pooled figures with intervals, and how much the trainings differ."""
    pooled = group.pooled
    primary = str(pooled["primary"])
    again = ": trained before, nothing was done again" if group.reused else ""
    lines = [f"{len(group.children)} versions of {group.name}{again}"]
    lines += [f"  {_called(child)}  {primary} {_number(child[primary])}" for child in group.children]
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in pooled["counts"].items() if count)
    lines.append(f"together on {counts}; figures with {pooled['confidence']:.0%} intervals:")
    metrics = group.metrics
    width = max(len(name) for name in metrics)
    for name in sorted(metrics, key=lambda name: name != primary):
        spread = "".join(f"  sd over {over}s {_number(own[name]['sd'])}" for over, own in pooled["spreads"].items())
        lines.append(f"  {name:{width}}  {metrics[name]!s:21}{spread}".rstrip())
    return lines


def _called(child: dict[str, Any]) -> str:
    fold = "" if child["fold"] is None else f"fold {child['fold']}, "
    return f"{child['version']}: {fold}seed {child['seed']}, {child['cases']} test cases"


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
