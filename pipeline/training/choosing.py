"""The scores from which detections count."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.evaluation.class_thresholds import choose_class_thresholds
from pipeline.evaluation.evaluate import choose_threshold
from pipeline.inference.detect import VolumeDetector, score_cases
from pipeline.progress import Progress
from pipeline.settings import Settings


def with_thresholds(
    bundle: Bundle, validation: Sequence[Case], settings: Settings, progress: Progress | None = None
) -> Bundle:
    """The same with the threshold, or those of its classes, that suit the validation cases."""
    config = bundle.config
    draft = replace(bundle, threshold=0.5, class_thresholds=None)
    scored = score_cases(VolumeDetector(draft, settings.device), validation, progress)
    threshold, own = choose_threshold(scored, config.evaluation), None
    if config.evaluation.threshold == "per_class" and len(config.data.classes) > 1:
        own = choose_class_thresholds(scored, config.evaluation, config.data.classes, threshold)
    return replace(bundle, threshold=threshold, class_thresholds=own)
