import numpy as np
import pytest

from pipeline.detections import Detections
from pipeline.detections.class_scale import with_one_threshold
from pipeline.geometry import Boxes, Grid


def found(scores, labels):
    grid = Grid.of_pixels((10, 10))
    boxes = Boxes.around(np.arange(2.0 * len(scores)).reshape(-1, 2), np.array([1.0, 1.0]), grid)
    return Detections("v", boxes, np.array(scores), np.array(labels), ("a", "b"))


def test_scores_move_along_two_straight_lines_a_class():
    # Class b: own 0.2, common 0.5. 0.1 is half of the way up to it: 0.25; 0.6 is half of the way from it to 1: 0.75.
    changed = with_one_threshold(found([0.6, 0.5, 0.2, 0.1], [1, 0, 1, 1]), (0.5, 0.2), 0.5)
    assert changed.scores == pytest.approx([0.75, 0.5, 0.5, 0.25])
    assert changed.labels.tolist() == [1, 0, 1, 1]


def test_the_common_threshold_says_of_each_what_its_own_says_also_at_the_limit():
    rng = np.random.default_rng(0)
    for own in rng.uniform(0.05, 1, (50, 2)):
        common = float(rng.uniform(0.05, 1))
        labels = rng.integers(0, 2, 60)
        scores = np.concatenate([rng.uniform(0, 1, 20), own[labels[20:40]], np.nextafter(own[labels[40:]], 0)])
        before = found(scores, labels)
        after = with_one_threshold(before, tuple(own.tolist()), common)
        kept = before.scores >= own[before.labels]
        for label in (0, 1):
            counted = int((kept & (before.labels == label)).sum())
            assert (after.above(common).labels == label).sum() == counted
        assert after.scores.min() >= 0
        assert after.scores.max() <= 1


def test_an_own_threshold_of_one_keeps_only_what_is_certain():
    changed = with_one_threshold(found([1.0, 0.9], [0, 0]), (1.0, 0.5), 0.4)
    assert changed.scores[0] == 0.4
    assert changed.scores[1] == pytest.approx(0.36)


def test_boxes_stay_with_their_scores_when_the_order_changes():
    before = found([0.6, 0.5], [0, 1])
    after = with_one_threshold(before, (0.9, 0.1), 0.5)
    assert after.labels.tolist() == [1, 0]
    assert after.boxes.centres.tolist() == before.boxes.centres[::-1].tolist()
