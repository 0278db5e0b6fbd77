"""The model card: what a version was made for and how, read off its experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config import ExperimentConfig
from pipeline.config.detector import Backbones, EfficientNetLite, ResNet, RetinaNetConfig
from pipeline.config.transforms import Window
from pipeline.evaluation import Evaluation
from pipeline.reporting.naming import counted, metric_name, rule_text, variable_name
from pipeline.reporting.records import Promotion

_FEW = 10  # patients: an interval of fewer is a guess
_WIDE = 0.2
_SCANNER = ("manufacturer", "manufacturer_model_name", "scanner")


@dataclass(frozen=True)
class CardRow:
    heading: str
    text: str


def card_rows(config: ExperimentConfig, evaluation: Evaluation, facts: Mapping[str, str], unit: str) -> list[CardRow]:
    """The card's rows, in reading order. ``unit`` is that of the cases' grids."""
    return [
        CardRow("Finds", f"{_listed(config.data.classes)}, in {_scans(config)}"),
        CardRow("Not for", "diagnosis or treatment: research use only, and no scans unlike those it was tested on"),
        CardRow("Data", _data(config)),
        CardRow("Split", _split(config)),
        CardRow("Input", _input(config, unit)),
        CardRow("Network", _network(config)),
        CardRow("Training", _training(config)),
        CardRow("Right or wrong", rule_text(config.evaluation.match, unit)),
        CardRow("Threshold", f"{evaluation.threshold:.3f}, chosen on validation cases"),
        CardRow("Judged by", metric_name(evaluation.primary)),
        CardRow("Tested on", _tested_on(evaluation)),
        CardRow("Limits", limits(evaluation)),
        *(CardRow(heading, text) for heading, text in facts.items()),
        CardRow("Experiment", f"{config.name}, digest {config.digest()}, seed {config.seed}"),
    ]


@dataclass(frozen=True)
class HistoryRow:
    """One change of champion, in words; ``forced``: against the policy, or by other means."""

    at: str
    change: str
    reason: str
    forced: bool


def history_rows(task: str, history: Sequence[Promotion]) -> list[HistoryRow]:
    """The newest change first."""
    return [
        HistoryRow(
            at=one.at.replace("T", " ").removesuffix("+00:00") + (" UTC" if one.at.endswith("+00:00") else ""),
            change=_change(one),
            reason=one.reason,
            forced=one.action not in ("promoted", "restored"),
        )
        for one in reversed(history)
    ]


def _change(one: Promotion) -> str:
    before = f", in the place of version {one.previous}" if one.previous else ""
    if one.version is None:
        return f"no champion any more: {one.action}{before}"
    return f"version {one.version} {one.action}{before}"


def limits(evaluation: Evaluation) -> str:
    """What the test set cannot tell, read off its counts: small parts, single scanners, wide intervals."""
    told = [f"nothing is known of scans unlike these {counted(evaluation.counts['patients'], 'patient')}"]
    primary = evaluation.metrics.get(evaluation.primary)
    if primary is not None and primary.upper - primary.lower > _WIDE:
        told.append(f"{metric_name(evaluation.primary)} is known to ± {(primary.upper - primary.lower) / 2:.2f} only")
    for variable, levels in evaluation.strata_counts.items():
        name = variable_name(variable)
        few = [f"{level} ({counts['patients']})" for level, counts in levels.items() if counts["patients"] < _FEW]
        if few:
            told.append(f"{name} with fewer than {_FEW} patients: {', '.join(few)}")
    single = [name for name in _SCANNER if len(evaluation.strata_counts.get(name, {})) <= 1]
    if len(single) == len(_SCANNER):
        told.append("scanners and sites are not told apart")
    return "; ".join(told) + "."


def _tested_on(evaluation: Evaluation) -> str:
    counts = evaluation.counts
    return (
        f"{counted(counts['cases'], 'case')} of {counted(counts['patients'], 'patient')} with "
        f"{counted(counts['objects'], 'object')}, {counted(counts['cases_without_objects'], 'case')} without any; "
        f"test set {evaluation.test_set}"
    )


def kind_of(config: ExperimentConfig) -> str:
    return f"{config.data.dims}D detection of {_listed(config.data.classes)}"


def _scans(config: ExperimentConfig) -> str:
    kinds = "/".join(config.data.modalities) + " " if config.data.modalities else ""
    return f"{kinds}{'volumes' if config.data.dims == 3 else 'fields of view'}"


def _data(config: ExperimentConfig) -> str:
    where = ", ".join(f"{name} = {value}" for name, value in config.data.where.items())
    return f"{config.data.source}{f' where {where}' if where else ''}"


def _split(config: ExperimentConfig) -> str:
    split = config.data.split
    if split.kind == "given":
        return "as the data's own index states"
    groups = "patient" if split.group_by == "patient" else "look"
    return f"by {groups}, fold {split.fold} of {split.folds} held back for the test"


def _input(config: ExperimentConfig, unit: str) -> str:
    intensity = config.preprocessing.intensity
    window = isinstance(intensity, Window)
    values = f"{intensity.lower:g} … {intensity.upper:g}".replace("-", "−")
    spacing = config.preprocessing.spacing
    grid = f"{' × '.join(f'{one:g}' for one in spacing)} {unit} spacing" if spacing else "each scan's own spacing"
    return f"{grid}; {f'values {values}' if window else f'percentiles {values} of each scan'}"


def _network(config: ExperimentConfig) -> str:
    detector = config.detector
    if isinstance(detector, RetinaNetConfig):
        shapes = ", ".join(" × ".join(f"{edge:g}" for edge in shape) for shape in detector.anchor_shapes)
        return f"RetinaNet on {_backbone(detector.backbone)}; anchors of {shapes} voxels and their doubles"
    decoder = "" if isinstance(detector.backbone, EfficientNetLite) else f", decoder of {detector.decoder_width}"
    return f"{_backbone(detector.backbone)}{decoder}"


def _backbone(backbone: Backbones) -> str:
    if isinstance(backbone, EfficientNetLite):
        return f"EfficientNet-Lite0, {'ImageNet weights' if backbone.pretrained else 'random weights'} at the start"
    if isinstance(backbone, ResNet):
        return f"ResNet-{backbone.depth} of width {backbone.width}"
    return f"residual U-Net with {', '.join(str(width) for width in backbone.widths)} channels"


def _training(config: ExperimentConfig) -> str:
    training = config.training
    start = f", from {training.initial_weights}" if training.initial_weights else ""
    return (
        f"at most {training.max_epochs} epochs of {config.sampling.samples_per_epoch} patches, batches of "
        f"{training.batch_size}, learning rate {training.learning_rate:g}{start}"
    )


def _listed(classes: tuple[str, ...]) -> str:
    return classes[0] if len(classes) == 1 else f"{', '.join(classes[:-1])} and {classes[-1]}"
