"""Many rounds at once, stretch by stretch, against the definitions one round after the other."""

import numpy as np
import pytest

from pipeline.evaluation import ranking as module
from pipeline.evaluation.average_precision import average_precision, interpolated_precision
from pipeline.evaluation.froc import CPM_RATES, sensitivities
from pipeline.evaluation.ranking import Ranking
from pipeline.evaluation.running import run_along

CASES = 7


def random_ranking(seed: int, number: int = 60) -> tuple[Ranking, list[tuple[int, float, bool]]]:
    """Scores in tenths, so that many are equal; every third object is missed."""
    rng = np.random.default_rng(seed)
    case, score, hit = rng.integers(0, CASES, number), rng.integers(0, 10, number) / 10, rng.random(number) < 0.5
    objects = np.bincount(case[hit], minlength=CASES) + rng.integers(0, 3, CASES)
    return Ranking.of(objects, case, score, hit), list(zip(case.tolist(), score.tolist(), hit.tolist(), strict=True))


def by_definition(ranking: Ranking, detections, weights) -> tuple[float, float, list[float]]:
    """AP, COCO's AP and the sensitivities, from the counts at every score."""
    objects, cases = int(weights @ ranking.objects), int(weights.sum())
    points = [(0, 0)]
    for threshold in sorted({score for _, score, _ in detections}, reverse=True):
        taken = [(weights[case], hit) for case, score, hit in detections if score >= threshold]
        points.append((sum(w for w, hit in taken if hit), sum(w for w, hit in taken if not hit)))
    if objects == 0:
        return np.nan, np.nan, [np.nan] * len(CPM_RATES)
    precision = [hits / max(hits + false, 1) for hits, false in points]
    area = sum((points[i][0] - points[i - 1][0]) / objects * precision[i] for i in range(1, len(points)))
    coco = [
        max((p for (hits, _), p in zip(points, precision, strict=True) if 100 * hits >= percent * objects), default=0.0)
        for percent in range(101)
    ]
    found = [max(hits for hits, false in points if false <= np.floor(rate * cases)) / objects for rate in CPM_RATES]
    return area, float(np.mean(coco)), found


@pytest.mark.parametrize("numbers", [3, 40, 262_144])
@pytest.mark.parametrize("seed", range(4))
def test_every_round_is_as_the_definition_says_however_steps_are_cut_into_stretches(monkeypatch, seed, numbers):
    """Weights of 0 leave cases out; in the last round none is left, and no figure exists."""
    monkeypatch.setattr(module, "_ROUNDS", 3)
    monkeypatch.setattr(module, "_NUMBERS", numbers)
    ranking, detections = random_ranking(seed)
    weights = np.random.default_rng(seed).integers(0, 3, (8, CASES))
    weights[-1] = 0
    expected = [by_definition(ranking, detections, row) for row in weights]
    area, coco, found = zip(*expected, strict=True)
    assert average_precision(ranking, weights) == pytest.approx(np.array(area), abs=1e-12, nan_ok=True)
    assert interpolated_precision(ranking, weights) == pytest.approx(np.array(coco), abs=1e-12, nan_ok=True)
    assert sensitivities(ranking, weights) == pytest.approx(np.array(found), abs=1e-12, nan_ok=True)
    assert 0 < area[0] < coco[0] < 1


def test_ranking_without_a_hit_has_no_step_and_figures_of_zero():
    ranking = Ranking.of(np.array([2, 0]), np.array([0, 1]), np.array([0.9, 0.8]), np.array([False, False]))
    weights = np.array([[1, 1], [0, 2]])
    for figure in (average_precision, interpolated_precision):
        assert figure(ranking, weights) == pytest.approx([0, np.nan], nan_ok=True)


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 16, 37])
def test_rows_run_as_numpys_own_and_reversed_from_the_end(rows):
    values = np.random.default_rng(rows).integers(-5, 5, (rows, 4))
    summed, highest = values.copy(), values.copy()
    run_along(np.add, summed)
    run_along(np.maximum, highest[::-1])
    assert summed.tolist() == np.cumsum(values, axis=0).tolist()
    assert highest.tolist() == np.maximum.accumulate(values[::-1], axis=0)[::-1].tolist()
