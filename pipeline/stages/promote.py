"""Which version is the one to use."""

import math
from dataclasses import asdict, dataclass

from pipeline.detectors.bundle import Bundle
from pipeline.errors import DatasetError
from pipeline.evaluation import Comparison
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.compare import compare_versions
from pipeline.tracking import registry


@dataclass(frozen=True)
class PromotionDecision:
    """``champion`` is the number of the version that holds ``@champion`` afterwards."""

    promoted: bool
    reason: str
    champion: str | None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def promote_version(
    name: str, version: str, settings: Settings, force: bool = False, progress: Progress | None = None
) -> PromotionDecision:
    """Make a version the champion if it may be.

    The first version becomes champion. A later one does if its primary figure, on the same cases, is not worse than
    the champion's by more than ``evaluation.promotion_margin`` of its experiment. The reason is kept on the version.

    Raises:
        ModelError: there is no such version.
    """
    challenger = registry.resolve(settings, f"{name}/{version}")
    champion = registry.champion(settings, name)
    if champion == challenger.version:
        return PromotionDecision(True, "it is the champion already", champion)
    if champion is None:
        return _promote(settings, challenger, "the first version")
    if force:
        return _promote(settings, challenger, f"forced, against {name}/{champion}")
    may, reason = _judge(f"{name}/{champion}", challenger, settings, progress)
    if may:
        return _promote(settings, challenger, reason)
    registry.set_reason(settings, name, challenger.version, f"not promoted: {reason}")
    return PromotionDecision(False, reason, champion)


def _promote(settings: Settings, challenger: registry.VersionRecord, reason: str) -> PromotionDecision:
    registry.set_champion(settings, challenger.name, challenger.version, reason)
    return PromotionDecision(True, reason, challenger.version)


def _judge(
    champion: str, challenger: registry.VersionRecord, settings: Settings, progress: Progress | None
) -> tuple[bool, str]:
    try:
        comparison = compare_versions(champion, challenger.spec, settings, progress)
    except DatasetError as error:
        return False, f"it cannot be compared with {champion}: {error}"
    margin = Bundle.load(challenger.bundle_folder).config.evaluation.promotion_margin
    return _verdict(comparison, margin)


def _verdict(comparison: Comparison, margin: float) -> tuple[bool, str]:
    name = comparison.primary
    difference = comparison.differences[name]
    told = (
        f"{name} {comparison.values_b[name]:.3f} against {comparison.values_a[name]:.3f} of {comparison.version_a} "
        f"(difference {difference.value:+.3f} [{difference.lower:+.3f}, {difference.upper:+.3f}], "
        f"{comparison.patients} patients, margin {margin:g})"
    )
    if math.isnan(difference.value):
        return False, f"{told}: the difference does not exist"
    return difference.value >= -margin, told
