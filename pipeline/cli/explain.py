"""``cellscan explain``: why a version found what it found in one scan."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, Home, Verbose, Version
from pipeline.cli.screen import PARTIAL, Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.stages.explain import Explained


def explain(
    version: Version,
    path: Annotated[Path, typer.Argument(help="One scan: a file, or the folder of a DICOM series.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and explanation.json.")],
    detection: Annotated[int, typer.Option("--detection", min=1, help="Which detection; 1 has the highest score.")] = 1,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Show which voxels raised the score of a detection, what the network's stages see, and how steady it is.

    Writes saliency.png (with the map of a network of random weights beside it), sanity.png (with the maps of networks
    that are more and more random), feature_maps.png, translation.png and explanation.json. Exits with 3 when the scan
    has no detection, which leaves nothing for a saliency map, or when the map fails its sanity check: it then tells of
    the image, and not of the network.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.stages.explain import explain_version

        explained = explain_version(version, path, out, Settings.from_environment(), detection, screen.progress)
        screen.say(*_lines(explained))
        screen.give(explained)
        if explained.detection is None or not explained.detection.sanity.passed:
            raise typer.Exit(PARTIAL)


def _lines(explained: "Explained") -> list[str]:
    head = f"{explained.model}: {explained.detections} detections reach the threshold: {explained.out}"
    return [head, *_detection_lines(explained), *_translation_lines(explained)]


def _detection_lines(explained: "Explained") -> list[str]:
    told, chosen = explained.detection, explained.chosen
    if told is None:
        return ["  no detection, so no saliency map"]
    random = max((abs(rho) for rho in told.sanity.randomised), default=0.0)
    verdict = "passed" if told.sanity.passed else "FAILED"
    share = told.deletion.shares[0]
    return [
        f"  detection {chosen['number']}: {chosen['label']}, score {chosen['score']:.3f}",
        f"  sanity check {verdict}: rank correlation with the same weights {told.sanity.repeated:.2f}, "
        f"with random ones up to {random:.2f}; the map's sum misses the rise of the logit by "
        f"{told.saliency.relative_residual:.1%}",
        f"  without the {share:.0%} of voxels that the map names first, the score's logit falls by "
        f"{told.deletion.by_saliency[0]:.2f}; without as many others by {told.deletion.by_chance[0]:.2f}",
    ]


def _translation_lines(explained: "Explained") -> list[str]:
    figures, unit = explained.translation.metrics(), explained.translation.unit
    if not figures["translation_detections"]:
        return ["  no detection lies far enough inside to be followed when the input is shifted"]
    return [
        f"  when the input is shifted, {figures['translation_detections']:.0f} detections move by "
        f"{figures[f'translation_shift_{unit}']:.2f} {unit}, change their score by "
        f"{figures['translation_score_change']:.3f}, and {figures['translation_lost']:.1%} are lost (means)"
    ]
