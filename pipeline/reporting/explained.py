"""Pictures of why a network says what it says, each with a sentence on what it shows and one on what it does not."""

import math
from dataclasses import dataclass

from pipeline.explanation.checks import MOST_CORRELATION, MOST_MAGNITUDE_CORRELATION, Deletion, SanityCheck
from pipeline.explanation.detection import ExplainedDetection
from pipeline.reporting.naming import number


@dataclass(frozen=True, eq=False)
class ExplainedPicture:
    """``shows`` and ``not_shown`` are a sentence each; ``checked`` says what speaks for or against the picture."""

    title: str
    png: bytes
    alternative: str
    shows: str
    not_shown: str
    checked: str = ""


def feature_picture(png: bytes) -> ExplainedPicture:
    return ExplainedPicture(
        title="What the stages of the network respond to",
        png=png,
        alternative="Feature maps of three resolutions, one a row, from fine to coarse",
        shows="It shows the channels that vary most in the first, the middle and the last stage for one case: edges "
        "and brightness first, larger structures last. The frame on the input is what one cell of the map can see.",
        not_shown="It does not show which of these channels a detection rests on.",
    )


def saliency_picture(
    png: bytes, explained: ExplainedDetection, what: str, case_id: str, score: float
) -> ExplainedPicture:
    """``what``: hit or false positive."""
    return ExplainedPicture(
        title=f"Why there is a detection: the most confident {what}",
        png=png,
        alternative=f"Case {case_id} about a detection: bare, under its saliency map, and under that of random weights",
        shows=f"It shows a detection of score {score:.2f} in case {case_id}: red voxels raised its score and blue ones "
        "lowered it, against the same place blurred (integrated gradients).",
        not_shown="It does not show that the network knows what the object is, nor what moves other detections.",
        checked=f"{sanity_text(explained.sanity)} {deletion_text(explained.deletion)}",
    )


def translation_picture(png: bytes) -> ExplainedPicture:
    return ExplainedPicture(
        title="How steady detections are when the input is shifted",
        png=png,
        alternative="Displacement, change of score and share of lost detections against the shift of the input",
        shows="It shows how far detections move, how much their scores change and how many fall below the threshold "
        "when the same scan is cut a few voxels later: the lower, the steadier.",
        not_shown="It does not show how the network bears other scanners, noise, or turned scans.",
    )


def sanity_text(check: SanityCheck) -> str:
    """Whether the map tells of the trained network rather than of the image alone."""
    verdict = "passed" if check.passed else "FAILED, do not rely on this map"
    random = [abs(value) for value in check.randomised if not math.isnan(value)]
    alike = number(sum(random) / len(random), 2) if random else "not known"
    return (
        f"Sanity check {verdict}: its rank correlation with maps of wholly random networks is {alike} on average (less "
        f"than {MOST_CORRELATION:g} is asked for), that of the magnitudes {number(check.magnitude_correlation, 2)} "
        f"(less than {MOST_MAGNITUDE_CORRELATION:g}), with a second map of the same network "
        f"{number(check.repeated, 2)} (1 is asked for)."
    )


def deletion_text(deletion: Deletion) -> str:
    """What becomes of the score where the voxels that the map names are blanked."""
    share, named, chance = (row[0] for row in (deletion.shares, deletion.by_saliency, deletion.by_chance))
    return (
        f"Blanking the {share:.0%} of voxels about the object that it names lowers the score's logit by "
        f"{number(named, 2)}, blanking as many at random by {number(chance, 2)}."
    )
