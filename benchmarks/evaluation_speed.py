"""Evaluating 200 volumes with 100,000 detections, against MONAI's COCOMetric and pycocotools.

    python benchmarks/evaluation_speed.py

Ours is the whole of `evaluate`: every figure, its interval from 1,000 bootstrap rounds, strata and tables. The peers
compute COCO's AP and AR over IoU 0.50 … 0.95, without any interval; their cap of 100 detections a volume is lifted.
Two test sets: lesions, 5 objects a volume among 500 detections, and cells, 250 among 500. Peers take each volume by
itself, so where all 200 would take minutes they get the first volumes only and the time is scaled (said where done).
Then `compare` of two such evaluations of cells, and the growth from 10,000 to 1,000,000 detections.
"""

import contextlib
import importlib.util
import io
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.config.evaluation import BoxOverlap, EvaluationConfig
from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase, compare, evaluate
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

VOLUMES = 200
ROUNDS = 1000
IOUS = (0.5, 0.95, 0.05)
NO_CAP = 1_000_000
CONFIG = EvaluationConfig(match=BoxOverlap(iou=0.5), bootstrap_rounds=ROUNDS)


def main() -> None:
    taken = {}
    for name, objects, share in (("lesions", 5, 1), ("cells", 250, 20)):
        cases = test_set(VOLUMES, objects, 500)
        mine = seconds(lambda cases=cases: evaluate(cases, CONFIG, ("object",), "v", 0.5))
        total = sum(len(case.detections) for case in cases)
        taken[total] = mine  # that of the cells stays, which growth goes on from
        print(f"{name}: {VOLUMES} volumes, {objects * VOLUMES} objects, {total} detections")
        print(f"  cellscan with {ROUNDS} bootstrap rounds: {mine:.1f} s")
        for peer, module, run in PEERS:
            if importlib.util.find_spec(module) is None:
                print(f"  {peer}: not installed, skipped")
                continue
            some = cases[: VOLUMES // share]
            theirs = seconds(lambda run=run, some=some: run(some)) * share
            scaled = f" (from {len(some)} volumes, x{share})" if share > 1 else ""
            print(f"  {peer} without bootstrap: {theirs:.1f} s{scaled}; ratio {theirs / mine:.1f}")
    comparison(cases)
    growth(taken)


def comparison(cases: list[ScoredCase]) -> None:
    """Two versions: the second reports nothing below 0.2. No peer compares."""
    fewer = [replace(case, detections=case.detections.above(0.2)) for case in cases]
    a, b = (evaluate(some, CONFIG, ("object",), name, 0.5) for name, some in (("a", cases), ("b", fewer)))
    taken = seconds(lambda: compare(a, b, ROUNDS, 0))
    counted = " and ".join(str(one.counts["all_detections"]) for one in (a, b))
    print(f"compare: {counted} detections, {ROUNDS} bootstrap rounds and permutations: {taken:.1f} s")


def growth(known: dict[int, float]) -> None:
    """Volumes stay at 200 and detections a volume grow; ``known`` are seconds that were measured already."""
    before = None
    for total in (10_000, 100_000, 1_000_000):
        taken = known.get(total) or grown(total // VOLUMES)
        times = "" if before is None else f", {taken / before:.1f} times the time of a tenth"
        print(f"growth: {total} detections, {total // 2} objects: {taken:.1f} s{times}")
        before = taken


def grown(each: int) -> float:
    cases = test_set(VOLUMES, each // 2, each)
    return seconds(lambda: evaluate(cases, CONFIG, ("object",), "v", 0.5))


def test_set(volumes: int, objects: int, detections: int) -> list[ScoredCase]:
    """3D; nine of ten objects are found with some error, all other detections are false."""
    rng = np.random.default_rng(objects)
    edge = int(30 * (objects + 10) ** (1 / 3))
    grid = Grid((edge,) * 3, np.eye(4))
    cases = []
    for index in range(volumes):
        there = Boxes.around(rng.uniform(0, edge, (objects, 3)), rng.uniform(8, 16, (objects, 3)), grid)
        hits = int(0.9 * objects)
        near = Boxes.around(there.centres[:hits] + rng.normal(0, 0.5, (hits, 3)), there.sizes[:hits], grid)
        left = detections - hits
        false = Boxes.around(rng.uniform(0, edge, (left, 3)), rng.uniform(8, 16, (left, 3)), grid)
        found = Boxes(np.vstack([near.lower, false.lower]), np.vstack([near.upper, false.upper]), grid)
        scores = np.concatenate([rng.beta(4, 2, hits), rng.beta(2, 4, left)])
        name = f"{index:04}"
        named = Detections(name, found, scores, np.zeros(detections, dtype=int), ("object",))
        cases.append(ScoredCase(name, f"p{index}", Annotations.of(there, ("object",) * objects), named))
    return cases


def monai(cases: list[ScoredCase]) -> None:
    from monai.apps.detection.metrics.coco import COCOMetric
    from monai.apps.detection.metrics.matching import matching_batch
    from monai.data.box_utils import box_iou

    metric = COCOMetric(classes=["object"], iou_list=[0.5], iou_range=IOUS, max_detection=[NO_CAP], verbose=False)
    matched = matching_batch(
        iou_fn=box_iou,
        iou_thresholds=metric.iou_thresholds,
        pred_boxes=[np.hstack([case.detections.boxes.lower, case.detections.boxes.upper]) for case in cases],
        pred_classes=[case.detections.labels for case in cases],
        pred_scores=[case.detections.scores for case in cases],
        gt_boxes=[np.hstack([case.annotations.boxes.lower, case.annotations.boxes.upper]) for case in cases],
        gt_classes=[np.zeros(len(case.annotations), dtype=int) for case in cases],
        max_detections=NO_CAP,
    )
    metric(matched)


def pycocotools(cases: list[ScoredCase]) -> None:
    """2D only: the volumes' boxes seen along ``k``. One area range instead of its four."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rectangles(boxes: Boxes) -> list[list[float]]:
        return np.hstack([boxes.lower[:, :2], boxes.sizes[:, :2]]).tolist()

    marks = [
        {"image_id": index, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for index, case in enumerate(cases)
        for box in rectangles(case.annotations.boxes)
    ]
    found = [
        {"image_id": index, "category_id": 1, "bbox": box, "score": score}
        for index, case in enumerate(cases)
        for box, score in zip(rectangles(case.detections.boxes), case.detections.scores.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": index} for index in range(len(cases))],
            "annotations": [{"id": number, **mark} for number, mark in enumerate(marks, start=1)],
            "categories": [{"id": 1}],
        }
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(found), "bbox")
        run.params.maxDets = [NO_CAP]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
        run.accumulate()


PEERS: tuple[tuple[str, str, Callable[[list[ScoredCase]], None]], ...] = (
    ("MONAI COCOMetric", "monai", monai),
    ("pycocotools", "pycocotools", pycocotools),
)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    logging.getLogger("monai").setLevel(logging.ERROR)
    main()
