"""The command ``explain``."""

from types import SimpleNamespace

import pytest

from pipeline.cli.explain import _lines
from pipeline.explanation.checks import Deletion, Forgotten, SanityCheck
from pipeline.explanation.translation import Shift, TranslationReport


def explained(shifts=(), detection=None):
    report = TranslationReport(tuple(shifts), "mm", 1, sum(one.detections for one in shifts), True)
    chosen = {"number": 2, "label": "lesion", "score": 0.72}
    return SimpleNamespace(
        model="lesions/3", detections=4, out="out", chosen=chosen, detection=detection, translation=report
    )


def test_an_unknown_version_is_refused(cellscan, tmp_path):
    outcome = cellscan("explain", "lesions/1", tmp_path / "scan.nii.gz", "--out", tmp_path / "out")
    assert outcome.code == 1
    assert outcome.stderr.startswith("error: no registered model 'lesions'")


@pytest.mark.parametrize("number", ["0", "-1", "first"])
def test_detections_are_counted_from_one(cellscan, tmp_path, number):
    assert cellscan("explain", "a/1", tmp_path, "--out", tmp_path, "--detection", number).code == 2


def test_lines_say_what_was_found_and_whether_it_can_be_believed():
    told = SimpleNamespace(
        sanity=SanityCheck(1.0, True, (Forgotten("all", 0.02, 0.4, 0.3),), (Forgotten("all", -0.05, 0.4, 0.3),)),
        saliency=SimpleNamespace(relative_residual=0.012),
        deletion=Deletion((0.02, 0.1), (3.19, 4.0), (0.18, 0.7)),
    )
    shift = Shift(0, 1, (0.5, 1.5), (0.5, 1.5), (0.01, 0.03), 1, 4)
    assert _lines(explained([shift], told)) == [
        "lesions/3: 4 detections reach the threshold: out",
        "  detection 2: lesion, score 0.720",
        "  sanity check passed: rank correlation with the same weights 1.00, with random ones up to 0.05; "
        "the map's sum misses the rise of the logit by 1.2%",
        "  without the 2% of voxels that the map names first, the score's logit falls by 3.19; without as many others "
        "by 0.18",
        "  when the input is shifted, 4 detections move by 1.00 mm, change their score by 0.020, and 25.0% are lost "
        "(means)",
    ]


def test_lines_of_a_scan_without_a_detection():
    assert _lines(explained())[1:] == [
        "  no detection, so no saliency map",
        "  no detection lies far enough inside to be followed when the input is shifted",
    ]
