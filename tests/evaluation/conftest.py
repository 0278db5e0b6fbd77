"""Scans for evaluation, written as short as a hand-worked table allows."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pipeline.config.evaluation import CentreDistance, EvaluationConfig
from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

CLASSES = ("tumour", "other")
EDGE = 10.0


def make_scan(
    case_id: str,
    objects: Sequence[tuple] = (),
    detections: Sequence[tuple] = (),
    patient: str | None = None,
    ignore: Sequence[int] = (),
    grid: Grid | None = None,
    from_points: bool = False,
    classes: tuple[str, ...] = CLASSES,
) -> ScoredCase:
    """``objects``: (place, label); ``detections``: (place, score, label). Boxes have an edge of 10 voxels.

    A place is a voxel index, or the number of a far-apart spot: spot 3 lies at (0, 300).
    """
    grid = grid or Grid.of_pixels((1000, 1000))
    flags = np.zeros(len(objects), dtype=bool)
    flags[list(ignore)] = True
    labels = tuple(item[1] if len(item) > 1 else classes[0] for item in objects)
    annotations = Annotations(_boxes([item[0] for item in objects], grid), labels, flags, from_points)
    named = np.array([classes.index(item[2]) if len(item) > 2 else 0 for item in detections], dtype=np.int64)
    scores = np.array([item[1] for item in detections], dtype=np.float64)
    found = Detections(case_id, _boxes([item[0] for item in detections], grid), scores, named, classes)
    return ScoredCase(case_id, patient or f"patient of {case_id}", annotations, found)


def _boxes(places: Sequence, grid: Grid) -> Boxes:
    centres = [(0.0, 100.0 * place) if np.isscalar(place) else place for place in places]
    return Boxes.around(np.array(centres, dtype=float).reshape(-1, grid.dims), np.full(grid.dims, EDGE), grid)


def make_random_field(
    case_id: str, seed: int, patient: str | None = None, dims: int = 2, skill: float = 0.7, count: int = 12
) -> ScoredCase:
    """A crowded field: objects found with probability ``skill``, as many false detections, classes often wrong."""
    world = np.random.default_rng(seed)
    number = int(world.integers(0, count + 1))
    objects = world.uniform(0, 60, (number, dims))
    labels = world.choice(CLASSES, number)
    detector = np.random.default_rng([seed, int(1000 * skill)])
    seen = detector.random(number) < skill
    places = np.vstack([objects[seen] + detector.normal(0, 2, (seen.sum(), dims)), detector.uniform(0, 60, (5, dims))])
    scores = np.concatenate([detector.beta(4, 2, seen.sum()), detector.beta(2, 4, 5)]).round(2)
    named = detector.choice(CLASSES, len(places))
    grid = Grid((60,) * dims, np.eye(dims + 1))
    return make_scan(
        case_id,
        [(tuple(place), str(label)) for place, label in zip(objects, labels, strict=True)],
        [(tuple(place), score, str(label)) for place, score, label in zip(places, scores, named, strict=True)],
        patient,
        grid=grid,
    )


@pytest.fixture(name="scan", scope="session")
def _scan() -> Callable[..., ScoredCase]:
    return make_scan


@pytest.fixture(name="random_field", scope="session")
def _random_field() -> Callable[..., ScoredCase]:
    return make_random_field


@pytest.fixture(name="config", scope="session")
def _config() -> EvaluationConfig:
    return EvaluationConfig(match=CentreDistance(distance=6.0), bootstrap_rounds=200)


@pytest.fixture(name="five_scans", scope="session")
def _five_scans() -> list[ScoredCase]:
    """Five scans, five objects; B to E stand for every kind of scan.

    ====  =======  ========================================
    scan  objects  detections (score; hit or false)
    ====  =======  ========================================
    A     2        .95 hit, .60 hit, .50 false
    B     1        .90 false, .80 hit
    C     0        .70 false
    D     2        .85 hit, .40 false; one object is missed
    E     0        none
    ====  =======  ========================================

    By descending score:

    =====  =====  ==  ==  ===========  =======  =========  =====
    score  what   TP  FP  sensitivity  FP/scan  precision  F1
    =====  =====  ==  ==  ===========  =======  =========  =====
    .95    hit    1   0   .2           .0       1          2/6
    .90    false  1   1   .2           .2       1/2        2/7
    .85    hit    2   1   .4           .2       2/3        4/8
    .80    hit    3   1   .6           .2       3/4        6/9
    .70    false  3   2   .6           .4       3/5        6/10
    .60    hit    4   2   .8           .4       4/6        8/11
    .50    false  4   3   .8           .6       4/7        8/12
    .40    false  4   4   .8           .8       4/8        8/13
    =====  =====  ==  ==  ===========  =======  =========  =====
    """
    return [
        make_scan("A", [(1,), (2,)], [(1, 0.95), (2, 0.60), (9, 0.50)]),
        make_scan("B", [(1,)], [(9, 0.90), (1, 0.80)]),
        make_scan("C", [], [(9, 0.70)]),
        make_scan("D", [(1,), (2,)], [(1, 0.85), (9, 0.40)]),
        make_scan("E"),
    ]
