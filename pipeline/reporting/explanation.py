"""Everything that explains a version, drawn, with what each picture says and does not say."""

from collections.abc import Mapping

import numpy as np

from pipeline.detectors.bundle import Bundle
from pipeline.explanation.pointing import Pointing
from pipeline.explanation.version import ExplainedCase, VersionExplanation
from pipeline.reporting.explained import ExplainedPicture, feature_picture, saliency_picture
from pipeline.reporting.naming import number
from pipeline.reporting.saliency import explained_png
from pipeline.reporting.units import units_png


def explanation_pictures(
    explanation: VersionExplanation, bundle: Bundle, feature_maps: bytes
) -> Mapping[str, ExplainedPicture]:
    """Picture by name, in the order in which they are read: from what the network sees to why it detects."""
    pictures = {
        "feature_maps": feature_picture(feature_maps),
        "units": _units_picture(units_png(explanation.units, explanation.filters, explanation.seen.grid)),
    }
    for name, what, one in (
        ("hit", "hit", explanation.hit),
        ("false_positive", "false positive", explanation.false_positive),
    ):
        if one is not None:
            drawn = _drawn(one, bundle)
            score = float(one.detections.scores[one.index])
            shown = saliency_picture(drawn["saliency"], one.explained, what, one.case.case_id, score)
            pictures[f"saliency_{name}"] = shown
            if name == "hit":
                pictures["sanity"] = _sanity_picture(drawn["sanity"], explanation.pointing)
    return pictures


def _drawn(one: ExplainedCase, bundle: Bundle) -> dict[str, bytes]:
    config = bundle.config
    image = np.asarray(one.case.array[...])
    return explained_png(image, one.detections, one.index, one.explained, config.data, config.preprocessing.intensity)


def _units_picture(png: bytes) -> ExplainedPicture:
    return ExplainedPicture(
        title="What excites single units, from simple to complex",
        png=png,
        alternative="Filters of the first layer, and for units of three stages the pieces of test scans that excite "
        "them most",
        shows="It shows, for the channels that vary most in the first, the middle and the last stage, the pieces of "
        "the test scans that excite them most, each as large as the unit's receptive field (at most 96 voxels): small "
        "pieces with levels and edges first, larger ones with whole structures last.",
        not_shown="It does not show what the unit ignores in these pieces, nor that it stands for one thing only.",
    )


def _sanity_picture(png: bytes, pointing: Pointing) -> ExplainedPicture:
    return ExplainedPicture(
        title="Whether the saliency map tells of the network: its layers are made random one after the other",
        png=png,
        alternative="The saliency map of the most confident hit, and those of the network with more and more random "
        "layers",
        shows="It shows how the map of the most confident hit changes when layers are put back to random weights, from "
        "the output downwards (Adebayo et al. 2018): a map that stayed as it is would show the image only.",
        not_shown="It does not show that the map is right, only that it depends on what was learned.",
        checked=_pointing_text(pointing),
    )


def _pointing_text(pointing: Pointing) -> str:
    figures = pointing.metrics()
    if not pointing.hits:
        return ""
    return (
        f"Of the positive attribution of {len(pointing.hits)} hits {figures['saliency_inside']:.0%} lies in the "
        f"object's box, which takes {number(100 * figures['saliency_area'], 2)} % of the window, against "
        f"{figures['saliency_inside_random']:.0%} with random weights; the strongest voxel lies in the box in "
        f"{figures['saliency_pointing']:.0%} of them, against {figures['saliency_pointing_random']:.0%}."
    )
