"""One detection, explained and checked."""

from dataclasses import dataclass

from pipeline.config.experiment import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.detector import Detector
from pipeline.explanation.checks import Deletion, SanityCheck, check_deletion, check_sanity
from pipeline.explanation.origin import find_origin
from pipeline.explanation.saliency import Saliency, saliency
from pipeline.explanation.scan import NetworkScan


@dataclass(frozen=True, eq=False)
class ExplainedDetection:
    """``cascade`` are the maps of networks with more and more random layers, as `SanityCheck.cascade` names them: what
    the trained one's must not look like."""

    saliency: Saliency
    cascade: tuple[Saliency, ...]
    sanity: SanityCheck
    deletion: Deletion

    @property
    def random(self) -> Saliency:
        """The map of a network none of whose layers is trained."""
        return self.cascade[-1]

    def to_json(self) -> dict[str, object]:
        return {
            "logit": self.saliency.logit,
            "baseline_logit": self.saliency.baseline_logit,
            "baseline": "the window, blurred by a Gaussian whose sigma is the box's edge",
            "steps": self.saliency.steps,
            "sum_of_values": self.saliency.total,
            "residual": self.saliency.residual,
            "relative_residual": self.saliency.relative_residual,
            "sanity": self.sanity.to_json(),
            "deletion": self.deletion.to_json(),
        }


def explain_detection(
    network: Detector, config: ExperimentConfig, scan: NetworkScan, detections: Detections, index: int
) -> ExplainedDetection:
    """Which voxels raised the score of a detection, and whether the answer can be believed.

    Raises:
        ModelError: the detection is of another network or another scan.
    """
    origin = find_origin(network, config, scan, detections, index)
    found = saliency(network, origin)
    sanity, cascade = check_sanity(network, origin)
    return ExplainedDetection(found, cascade, sanity, check_deletion(network, origin, found))
