"""Comparing two versions in 52 strata, against SciPy's paired bootstrap and permutation test.

    python benchmarks/strata_speed.py

200 scans of 100 patients with 10,000 detections, five variables, 1,000 rounds of the bootstrap and as many of the
permutation test. Ours is what strata add to the time of `compare`. SciPy gets each stratum's counts a patient,
vectorised, and computes the same difference in F1: two of the 52 strata are timed and scaled, since the time of each is
nearly the same.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import stats

from pipeline.config.evaluation import CentreDistance, EvaluationConfig
from pipeline.detections import Detections
from pipeline.evaluation import Evaluation, ScoredCase, compare, evaluate
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

SCANS, ROUNDS, TIMED = 200, 1000, 2
CLASSES = ("a", "b")
LEVELS = {"site": 25, "scanner": 15, "stain": 7}


def main() -> None:
    for primary in ("f1", "cpm"):
        config = EvaluationConfig(
            match=CentreDistance(distance=5), primary=primary, bootstrap_rounds=100, strata=("size", "class", *LEVELS)
        )
        a, b = (evaluate(test_set(skill), config, CLASSES, name, 0.5) for name, skill in (("a", 0.6), ("b", 0.7)))
        levels = sum(len(parts) for parts in b.strata.values())
        whole, bare = (seconds(lambda pair=pair: compare(*pair, ROUNDS, 0)) for pair in ((a, b), without_strata(a, b)))
        mine = whole - bare
        print(f"{primary}: {levels} strata, {ROUNDS} rounds, {SCANS} scans, {a.counts['all_detections']} detections")
        print(f"  cellscan: {mine:.2f} s (compare takes {whole:.2f} s with strata and {bare:.2f} s without)")
        if primary == "f1":
            theirs = seconds(lambda a=a, b=b: scipy_of(a, b)) * levels / TIMED
            print(f"  scipy.stats.bootstrap and permutation_test: {theirs:.2f} s; ratio {theirs / mine:.1f}")


def without_strata(*evaluations: Evaluation) -> tuple[Evaluation, ...]:
    return tuple(replace(one, strata={}) for one in evaluations)


def test_set(skill: float) -> list[ScoredCase]:
    grid, world = Grid.of_pixels((2000, 2000)), np.random.default_rng(0)
    cases = []
    for index in range(SCANS):
        places, sizes = world.uniform(0, 2000, (25, 2)), world.uniform(4, 20, (25, 2))
        labels = world.choice(CLASSES, 25)
        attributes = {name: f"{name} {world.integers(levels):02}" for name, levels in LEVELS.items()}
        rng = np.random.default_rng([index, int(100 * skill)])
        hits = int(25 * skill)
        found = Boxes.around(
            np.vstack([places[:hits], rng.uniform(0, 2000, (50 - hits, 2))]), rng.uniform(4, 20, (50, 2)), grid
        )
        scores = np.concatenate([rng.beta(4, 2, hits), rng.beta(2, 4, 50 - hits)])
        detections = Detections(f"{index:03}", found, scores, rng.integers(0, 2, 50), CLASSES)
        annotations = Annotations.of(Boxes.around(places, sizes, grid), tuple(labels.tolist()))
        cases.append(ScoredCase(f"{index:03}", f"p{index // 2}", annotations, detections, attributes))
    return cases


def scipy_of(a: Evaluation, b: Evaluation) -> None:
    counts = [
        [one.cases.groupby("patient_key")[name].sum().to_numpy(dtype=float) for name in ("hits", "false_positives")]
        for one in (a, b)
    ]
    objects = a.cases.groupby("patient_key")["objects"].sum().to_numpy(dtype=float)

    def f1(hits: np.ndarray, false: np.ndarray, there: np.ndarray, axis: int) -> np.ndarray:
        return 2 * hits.sum(axis) / (hits.sum(axis) + false.sum(axis) + there.sum(axis))

    def difference(hits_a, false_a, hits_b, false_b, there, axis):
        return f1(hits_b, false_b, there, axis) - f1(hits_a, false_a, there, axis)

    def swapped(sign, axis):
        one = sign > 0
        first = [np.where(one, mine, theirs) for mine, theirs in zip(*counts, strict=True)]
        second = [np.where(one, theirs, mine) for mine, theirs in zip(*counts, strict=True)]
        return difference(*first, *second, np.broadcast_to(objects, one.shape), axis)

    for _ in range(TIMED):
        data = (*counts[0], *counts[1], objects)
        stats.bootstrap(data, difference, paired=True, vectorized=True, n_resamples=ROUNDS, method="percentile", rng=0)
        stats.permutation_test(
            (np.ones(len(objects)),), swapped, permutation_type="samples", vectorized=True, n_resamples=ROUNDS, rng=0
        )


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
