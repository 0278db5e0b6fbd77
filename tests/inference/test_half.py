import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.geometry import Boxes, Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.half import Agreement, HalfPrecision, agreement_of
from tests.experiments import tiny_2d
from tests.inference.test_detect import FindsMarks


def found(places, scores, labels=None):
    grid = Grid.of_pixels((100, 100))
    boxes = Boxes.around(np.array([(float(n), 0.0) for n in places]).reshape(-1, 2), np.array([4.0, 4.0]), grid)
    given = np.zeros(len(scores), dtype=np.int64) if labels is None else np.array(labels)
    return Detections("v", boxes, np.array(scores, dtype=np.float64), given, ("a", "b"))


@pytest.mark.parametrize(
    ("other", "matched"),
    [
        (found([10], [0.81]), 2),
        (found([10.5], [0.8]), 2),
        (found([10.6], [0.8]), 0),
        (found([10], [0.83]), 0),
        (found([10], [0.8], [1]), 0),
    ],
    ids=["score near", "edge half a voxel off", "edge further off", "score further off", "another class"],
)
def test_detections_are_the_same_within_score_edge_and_class(other, matched):
    assert agreement_of(found([10], [0.8]), other, 0.5) == Agreement(2, matched)


def test_what_only_one_of_them_counts_is_not_the_same():
    assert agreement_of(found([10], [0.8]), found([], []), 0.5) == Agreement(1, 0)
    # Scores within 0.02, but on either side of the threshold: only the first is counted, and has no like.
    assert agreement_of(found([10], [0.505]), found([10], [0.495]), 0.5) == Agreement(1, 0)
    assert agreement_of(found([10], [0.4]), found([50], [0.3]), 0.5).holds


def test_ninety_nine_of_a_hundred_are_enough():
    places, scores = np.arange(0, 1000, 10), np.full(100, 0.8)
    other = scores.copy()
    other[0] = 0.7
    agreement = agreement_of(found(places, scores), found(places, other), 0.5)
    assert agreement == Agreement(200, 198)
    assert agreement.holds
    other[1] = 0.7
    assert not agreement_of(found(places, scores), found(places, other), 0.5).holds


def test_precision_is_settled_when_enough_was_compared():
    decided = HalfPrecision(0.5)
    exact = found(np.arange(0, 1000, 10), np.full(100, 0.8))
    assert not decided.settled
    decided.compare(exact, found(np.arange(0, 1000, 10), np.full(100, 0.81)))
    assert decided.settled
    assert not decided.refused


def test_scans_without_a_detection_are_not_done_twice_for_ever():
    decided = HalfPrecision(0.5)
    for _ in range(5):
        assert not decided.settled
        decided.compare(found([], []), found([], []))
    assert decided.settled
    assert not decided.refused


def test_empty_parts_of_a_scan_settle_nothing():
    decided = HalfPrecision(0.5)
    for _ in range(10):
        decided.compare(found([], []), found([], []), is_whole=False)
    assert not decided.settled
    for _ in range(5):
        decided.compare(found([10], [0.8]), found([10], [0.8]), is_whole=False)
    assert decided.settled


def test_a_scan_that_disagrees_ends_half_precision_and_the_log_says_so(caplog):
    decided = HalfPrecision(0.5)
    decided.compare(found([10], [0.8]), found([10], [0.6]))
    assert "of 2 detections at or above the threshold 0 are the same in 32 bits" in caplog.text
    assert decided.settled
    assert decided.refused


class Coarse(FindsMarks):
    """In half precision it says something else: products of matrices are what is done in bf16."""

    wrong = 0.0

    def forward(self, image):
        maps = super().forward(image)
        half = (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.bfloat16
        return type(maps)(maps.score - self.wrong * half, maps.classes, maps.distances)


@pytest.mark.parametrize(("wrong", "refused"), [(0.0, False), (3.0, True)])
def test_a_detector_in_auto_checks_itself_on_the_scan_at_hand(wrong, refused):
    raw = tiny_2d().model_dump()
    raw["inference"]["precision"] = "auto"
    config = ExperimentConfig.model_validate(raw)
    assert tiny_2d().digest() != config.digest()
    network = Coarse(config)
    network.wrong = wrong
    image = np.zeros((1, 40, 40), np.uint8)
    image[0, 10, 20] = 200
    detector = VolumeDetector(Bundle(config, network, 0.5), "cpu")
    for _ in range(6):
        last = detector.detect(image, Grid.of_pixels((40, 40)), "v")
    plain = VolumeDetector(Bundle(config, network, 0.5).plain, "cpu").detect(image, Grid.of_pixels((40, 40)), "v")
    assert detector._half is not None
    assert detector._half.refused == refused
    assert last.scores == pytest.approx(plain.scores)
