"""Average precision in both definitions, by hand and against the peers."""

import numpy as np
import pytest

from pipeline.config.evaluation import BoxOverlap, CentreDistance
from pipeline.evaluation.average_precision import average_precision, interpolated_precision
from pipeline.evaluation.curves import precision_recall_curve
from pipeline.evaluation.matching import match_cases
from pipeline.evaluation.ranking import Ranking
from pipeline.geometry import Grid

WIDE = Grid.of_pixels((2000, 2000))
SIX = CentreDistance(distance=6.0)


def ranked(cases, rule=SIX) -> Ranking:
    return Ranking.of_matches(match_cases(cases, rule))


def once(figure, ranking: Ranking) -> float:
    return figure(ranking, ranking.once)[0]


def test_five_scans_by_hand(five_scans):
    """Each of the four hits adds 1/5 recall at precision 1, 2/3, 3/4 and 4/6."""
    assert once(average_precision, ranked(five_scans)) == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 6) / 5)


def test_five_scans_interpolated_by_hand(five_scans):
    """Best precision to the right: 1 up to recall .2 (21 points), 3/4 to .6 (40), 2/3 to .8 (20), then 0."""
    assert once(interpolated_precision, ranked(five_scans)) == pytest.approx((21 * 1 + 40 * 3 / 4 + 20 * 2 / 3) / 101)


def test_recall_of_exactly_a_whole_percent_counts(scan):
    """7 of 20 found, all right: recall .35 covers the 36 points 0 … .35."""
    one = scan("a", [(spot,) for spot in range(20)], [(spot, 0.9 - spot / 100) for spot in range(7)], grid=WIDE)
    assert once(interpolated_precision, ranked([one])) == pytest.approx(36 / 101)


def test_curve_has_the_precision_of_each_hit(five_scans):
    curve = precision_recall_curve(ranked(five_scans))
    assert curve.x == pytest.approx((0.2, 0.4, 0.6, 0.8))
    assert curve.y == pytest.approx((1, 2 / 3, 3 / 4, 4 / 6))


def test_perfect_detector_scores_one_and_blind_one_zero(scan):
    perfect = ranked([scan("a", [(1,), (2,)], [(1, 0.9), (2, 0.8)])])
    blind = ranked([scan("a", [(1,)], [(9, 0.9)]), scan("b", [(1,)])])
    for figure in (average_precision, interpolated_precision):
        assert once(figure, perfect) == pytest.approx(1)
        assert once(figure, blind) == 0


def test_without_an_object_it_does_not_exist(scan):
    ranking = ranked([scan("a", [], [(9, 0.9)])])
    assert np.isnan(once(average_precision, ranking))
    assert np.isnan(once(interpolated_precision, ranking))


def test_long_curve_is_drawn_with_a_thousand_points(scan):
    places = [(20.0 * i, 20.0 * j) for i in range(40) for j in range(40)]
    detections = [(place, (index + 1) / 2000) for index, place in enumerate(places)]
    curve = precision_recall_curve(ranked([scan("a", [(place,) for place in places], detections)]))
    assert len(curve.x) == 1000
    assert (curve.x[0], curve.x[-1]) == (1 / 1600, 1.0)


def test_agrees_with_scikit_learn_up_to_the_share_of_objects_found(random_field):
    """With misses they differ by the share that was found: scikit-learn's recall is of the right detections."""
    metrics = pytest.importorskip("sklearn.metrics")
    cases = [random_field(f"{seed:02}", seed) for seed in range(30)]
    ranking = ranked(cases)
    scores = np.concatenate([ranking.hit_score, ranking.false_score])
    right = np.arange(len(scores)) < len(ranking.hit_score)
    theirs = metrics.average_precision_score(right, scores)
    found = right.sum() / ranking.objects.sum()
    assert 0.5 < found < 0.9
    assert once(average_precision, ranking) == pytest.approx(theirs * found)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("iou", [0.25, 0.5])
def test_agrees_with_monai_coco_metric(scan, dims, iou):
    """One class, a cap above every count, and scores that differ: then both are COCO's AP at one IoU.

    83 objects: no recall but 0 and 1 is a whole percent, where MONAI's single precision decides by its rounding.
    """
    coco = pytest.importorskip("monai.apps.detection.metrics.coco")
    matching = pytest.importorskip("monai.apps.detection.metrics.matching")
    from monai.data.box_utils import box_iou

    rng = np.random.default_rng(dims)
    grid = Grid((60,) * dims, np.eye(dims + 1))
    cases = []
    for index, count in enumerate((0, 14, 3, 9, 11, 1, 13, 7, 0, 10, 12, 3)):
        objects = rng.uniform(0, 60, (count, dims))
        places = np.vstack([objects + rng.normal(0, 1.5, objects.shape), rng.uniform(0, 60, (6, dims))])
        detections = [(tuple(place), score) for place, score in zip(places, rng.random(len(places)), strict=True)]
        cases.append(scan(f"{index:02}", [(tuple(place),) for place in objects], detections, grid=grid))
    corners = [np.hstack([c.detections.boxes.lower, c.detections.boxes.upper]) for c in cases]
    truth = [np.hstack([c.annotations.boxes.lower, c.annotations.boxes.upper]) for c in cases]
    metric = coco.COCOMetric(classes=["any"], iou_list=[iou], iou_range=(iou, iou, 0.05), max_detection=[1000])
    matched = matching.matching_batch(
        iou_fn=box_iou,
        iou_thresholds=metric.iou_thresholds,
        pred_boxes=corners,
        pred_classes=[np.zeros(len(boxes), dtype=int) for boxes in corners],
        pred_scores=[c.detections.scores for c in cases],
        gt_boxes=truth,
        gt_classes=[np.zeros(len(boxes), dtype=int) for boxes in truth],
        max_detections=1000,
    )
    theirs = metric(matched)[0][f"AP_IoU_{iou:.2f}_MaxDet_1000"]
    ours = once(interpolated_precision, ranked(cases, BoxOverlap(iou=iou)))
    assert 0.1 < ours < 0.95
    assert ours == pytest.approx(theirs, abs=1e-6)
