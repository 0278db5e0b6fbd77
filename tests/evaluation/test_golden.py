"""Figures against the public packages that define them, to 1e-6. A peer that is not installed is skipped.

Where definitions differ the tests keep to what both define: scores differ (COCO splits equal ones by their order), and
numbers of objects are prime (a recall of exactly 0.35 is 0.35000000000000003 in COCO's list and so not reached there).
FROC and CPM are worked by hand in `test_froc.py`.
"""

import contextlib
import io

import numpy as np
import pytest

from pipeline.config.evaluation import BoxOverlap, EvaluationConfig, MaskOverlap
from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase, evaluate, match_case
from pipeline.evaluation.masks import Masks
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

CLASSES = ("tumour", "other")
PRIMES = (47, 37)  # objects a class
CONFIG = EvaluationConfig(match=BoxOverlap(iou=0.5), bootstrap_rounds=100)


def fields(dims: int, classes: tuple[str, ...] = CLASSES, crowds: int = 0, cases: int = 9) -> list[ScoredCase]:
    """Objects found with some error, false detections, classes taken for each other, scans with nothing."""
    rng = np.random.default_rng([dims, crowds, len(classes)])
    grid = Grid((60,) * dims, np.eye(dims + 1))
    of_case = rng.integers(1, cases, sum(PRIMES[: len(classes)]))  # case 0 has no object
    label = np.repeat(np.arange(len(classes)), PRIMES[: len(classes)])
    scored = []
    for index in range(cases):
        labels = label[of_case == index]
        there = Boxes.around(rng.uniform(0, 60, (len(labels), dims)), rng.uniform(6, 14, (len(labels), dims)), grid)
        moved = rng.normal(0, 0.7, there.lower.shape), rng.normal(0, 0.7, there.lower.shape)
        false = Boxes.around(rng.uniform(0, 60, (8, dims)), rng.uniform(6, 14, (8, dims)), grid)
        lower = np.vstack([there.lower + moved[0], false.lower])
        upper = np.vstack([there.upper + moved[1], false.upper])
        keep = rng.random(len(lower)) < (0.9 if index != 1 else 0)  # case 1 has no detection
        named = np.where(rng.random(len(lower)) < 0.2, rng.integers(0, len(classes), len(lower)), [*labels, *[0] * 8])
        found = Boxes(lower, upper, grid)[keep]
        regions = Boxes.around(rng.uniform(0, 60, (crowds, dims)), np.full((crowds, dims), 30.0), grid)
        annotations = Annotations(
            Boxes(np.vstack([there.lower, regions.lower]), np.vstack([there.upper, regions.upper]), grid),
            tuple(classes[k] for k in [*labels, *rng.integers(0, len(classes), crowds)]),
            np.arange(len(labels) + crowds) >= len(labels),
        )
        detections = Detections(f"{index}", found, rng.random(int(keep.sum())), named[keep], classes)
        scored.append(ScoredCase(f"{index}", f"p{index}", annotations, detections))
    return scored


def ours(cases: list[ScoredCase], classes: tuple[str, ...] = CLASSES) -> float:
    value = evaluate(cases, CONFIG, classes, "v", 0.5).metrics["map_iou_0_50_0_95"].value
    assert 0.1 < value < 0.9
    return value


def monai_map(cases: list[ScoredCase], classes: tuple[str, ...]) -> float:
    coco = pytest.importorskip("monai.apps.detection.metrics.coco")
    matching = pytest.importorskip("monai.apps.detection.metrics.matching")
    from monai.data.box_utils import box_iou

    metric = coco.COCOMetric(classes=classes, iou_list=[0.5], iou_range=(0.5, 0.95, 0.05), max_detection=[100_000])
    matched = matching.matching_batch(
        iou_fn=box_iou,
        iou_thresholds=metric.iou_thresholds,
        pred_boxes=[np.hstack([c.detections.boxes.lower, c.detections.boxes.upper]) for c in cases],
        pred_classes=[c.detections.labels for c in cases],
        pred_scores=[c.detections.scores for c in cases],
        gt_boxes=[np.hstack([c.annotations.boxes.lower, c.annotations.boxes.upper]) for c in cases],
        gt_classes=[np.array([classes.index(name) for name in c.annotations.labels], dtype=int) for c in cases],
        max_detections=100_000,
    )
    return metric(matched)[0]["mAP_IoU_0.50_0.95_0.05_MaxDet_100000"]


def pycocotools_precision(cases: list[ScoredCase], classes: tuple[str, ...]) -> np.ndarray:
    """``(iou, recall, class)``, with the cap of 100 detections an image lifted."""
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")

    def rectangles(boxes: Boxes) -> list[list[float]]:
        return np.hstack([boxes.lower, boxes.sizes]).tolist()

    marks = [
        {
            "image_id": index,
            "category_id": classes.index(name) + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(crowd),
        }
        for index, case in enumerate(cases)
        for box, name, crowd in zip(
            rectangles(case.annotations.boxes), case.annotations.labels, case.annotations.ignore, strict=True
        )
    ]
    found = [
        {"image_id": index, "category_id": int(label) + 1, "bbox": box, "score": score}
        for index, case in enumerate(cases)
        for box, label, score in zip(
            rectangles(case.detections.boxes), case.detections.labels, case.detections.scores.tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": index} for index in range(len(cases))],
            "annotations": [{"id": number, **mark} for number, mark in enumerate(marks, start=1)],
            "categories": [{"id": number} for number in range(1, len(classes) + 1)],
        }
        truth.createIndex()
        run = evaluation.COCOeval(truth, truth.loadRes(found), "bbox")
        run.params.maxDets = [1, 10, 100_000]
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][:, :, :, 0, 2]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:1]])
def test_map_is_that_of_monai_coco_metric(dims, classes):
    cases = fields(dims, classes)
    assert ours(cases, classes) == pytest.approx(monai_map(cases, classes), abs=1e-6)


@pytest.mark.parametrize("crowds", [0, 2])
@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:1]])
def test_map_is_that_of_pycocotools_with_crowds_and_without_its_cap(crowds, classes):
    cases = fields(2, classes, crowds)
    theirs = pycocotools_precision(cases, classes).mean()
    assert ours(cases, classes) == pytest.approx(theirs, abs=1e-6)


def test_more_than_a_hundred_detections_an_image_count_as_in_pycocotools_without_its_cap():
    """211 objects and 400 detections in one field, where COCO would keep 100."""
    rng = np.random.default_rng(0)
    grid = Grid.of_pixels((900, 900))
    there = Boxes.around(rng.uniform(0, 900, (211, 2)), rng.uniform(10, 30, (211, 2)), grid)
    near = Boxes.around(there.centres[:200] + rng.normal(0, 2, (200, 2)), there.sizes[:200], grid)
    false = Boxes.around(rng.uniform(0, 900, (200, 2)), rng.uniform(10, 30, (200, 2)), grid)
    found = Boxes(np.vstack([near.lower, false.lower]), np.vstack([near.upper, false.upper]), grid)
    detections = Detections("a", found, rng.random(400), np.zeros(400, dtype=int), ("cell",))
    case = ScoredCase("a", "p", Annotations.of(there, ("cell",) * 211), detections)
    theirs = pycocotools_precision([case], ("cell",)).mean()
    assert ours([case], ("cell",)) == pytest.approx(theirs, abs=1e-6)


def test_class_without_an_object_is_left_out_as_in_pycocotools():
    cases = fields(2, CLASSES[:1])
    precision = pycocotools_precision(cases, CLASSES)
    assert (precision[:, :, 1] == -1).all()
    assert ours(cases, CLASSES) == pytest.approx(precision[precision > -1].mean(), abs=1e-6)


def label_maps(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Crowded balls that touch, and the same moved, some lost and some split or invented."""
    rng = np.random.default_rng(seed)
    there, found = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    where = np.indices(shape)
    for number in range(1, 41):
        centre, radius = rng.uniform(0, shape), rng.uniform(3, 7)
        there[radius**2 > (((where.T - centre) ** 2).sum(axis=-1).T)] = number
        if rng.random() < 0.85:
            centre = centre + rng.normal(0, 1.2, len(shape))
            found[(radius * rng.uniform(0.7, 1.2)) ** 2 > (((where.T - centre) ** 2).sum(axis=-1).T)] = 7 * number + 3
    return there, found


def masked(name: str, there: np.ndarray, found: np.ndarray, seed: int = 0) -> ScoredCase:
    """Detections get random scores, and so another order than their labels have."""
    grid = Grid(there.shape, np.eye(there.ndim + 1))
    boxes, _ = Boxes.from_label_map(there, grid)
    seen, values = Boxes.from_label_map(found, grid)
    scores = np.random.default_rng(seed).random(len(seen))
    detections = Detections(name, seen, scores, np.zeros(len(seen), dtype=int), ("cell",))
    in_order = values[np.argsort(-scores, kind="stable")]
    annotations = Annotations.of(boxes, ("cell",) * len(boxes))
    return ScoredCase(
        name, name, annotations, detections, {}, Masks.of_label_map(there), Masks.of_label_map(found, in_order)
    )


@pytest.mark.filterwarnings("default")  # numba's and csbdeep's own
@pytest.mark.parametrize("shape", [(90, 80), (40, 30, 24)])
@pytest.mark.parametrize("iou", [0.1, 0.3, 0.5, 0.61])
def test_masks_match_as_in_stardist(shape, iou):
    """At an IoU below 0.5 a mask may match several; both pair as many as can be paired."""
    matching = pytest.importorskip("stardist.matching")
    for seed in range(4):
        there, found = label_maps(seed, shape)
        theirs = matching.matching(there, found, thresh=iou)
        case = masked("a", there, found)
        mine = match_case(case, MaskOverlap(iou=iou, assignment="optimal"))
        assert (mine.hit.sum(), mine.false.sum(), len(mine.missed)) == (theirs.tp, theirs.fp, theirs.fn)
        assert 0 < theirs.tp < len(case.annotations)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("shape", [(90, 80), (40, 30, 24)])
def test_jaccard_index_and_panoptic_quality_are_those_of_stardist(shape):
    """Kirillov's panoptic quality asks for an IoU above 0.5 and StarDist's for at least that: it is asked for a bit
    more here. Its sums are over scans, also those with nothing on one side or on both."""
    matching = pytest.importorskip("stardist.matching")
    pairs = [label_maps(seed, shape) for seed in range(5)] + [(np.zeros(shape, int), label_maps(9, shape)[1])]
    pairs += [(label_maps(8, shape)[0], np.zeros(shape, int)), (np.zeros(shape, int), np.zeros(shape, int))]
    cases = [masked(f"{index}", *pair, seed=index) for index, pair in enumerate(pairs)]
    metrics = evaluate(cases, CONFIG, ("cell",), "v", 0.0).metrics
    at_least, above = matching.matching_dataset(
        *zip(*pairs, strict=True), thresh=(0.5, 0.5 + 1e-6), show_progress=False
    )
    assert metrics["mask_jaccard_0_50"].value == pytest.approx(at_least.accuracy, abs=1e-6)
    assert metrics["panoptic_quality"].value == pytest.approx(above.panoptic_quality, abs=1e-6)
    assert metrics["segmentation_quality"].value == pytest.approx(above.mean_matched_score, abs=1e-6)
    assert metrics["recognition_quality"].value == pytest.approx(above.f1, abs=1e-6)
    assert 0.1 < metrics["panoptic_quality"].value < 0.9


def test_scan_auc_is_that_of_scikit_learn(random_field):
    metrics = pytest.importorskip("sklearn.metrics")
    cases = [random_field(f"{seed:02}", seed, count=1, skill=0.9) for seed in range(60)]
    present = [len(case.annotations) > 0 for case in cases]
    highest = [case.detections.scores.max(initial=0) for case in cases]
    evaluation = evaluate(cases, CONFIG, CLASSES, "v", 0.5)
    assert 0.6 < evaluation.metrics["scan_auc"].value < 1
    assert evaluation.metrics["scan_auc"].value == pytest.approx(metrics.roc_auc_score(present, highest), abs=1e-12)
    curve = evaluation.curves["roc_scan"]
    rate, found, _ = metrics.roc_curve(present, highest, drop_intermediate=False)
    assert (curve.x, curve.y) == (pytest.approx(rate), pytest.approx(found))
