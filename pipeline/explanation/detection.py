"""One detection, explained and checked."""

from dataclasses import dataclass

from pipeline.config.experiment import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.detector import CentreBoxDetector
from pipeline.explanation.checks import Deletion, SanityCheck, check_deletion, check_sanity
from pipeline.explanation.origin import find_origin
from pipeline.explanation.saliency import Saliency, saliency
from pipeline.explanation.scan import NetworkScan


@dataclass(frozen=True, eq=False)
class ExplainedDetection:
    """``random`` is the map of a network with random weights: what the trained one must not look like."""

    saliency: Saliency
    random: Saliency
    sanity: SanityCheck
    deletion: Deletion

    def to_json(self) -> dict[str, object]:
        return {
            "logit": self.saliency.logit,
            "baseline_logit": self.saliency.baseline_logit,
            "completeness": self.saliency.completeness,
            "sanity": self.sanity.to_json(),
            "deletion": self.deletion.to_json(),
        }


def explain_detection(
    network: CentreBoxDetector, config: ExperimentConfig, scan: NetworkScan, detections: Detections, index: int
) -> ExplainedDetection:
    """Which voxels raised the score of a detection, and whether the answer can be believed.

    Raises:
        ModelError: the detection is of another network or another scan.
    """
    origin = find_origin(network, config, scan, detections, index)
    found = saliency(network, origin)
    sanity, random = check_sanity(network, origin)
    return ExplainedDetection(found, random, sanity, check_deletion(network, origin, found))
