"""A threshold for each class, chosen on validation cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.evaluation import EvaluationConfig
from pipeline.evaluation.centre_f1 import f1
from pipeline.evaluation.matching import CaseMatches, match_cases
from pipeline.evaluation.ranking import Ranking
from pipeline.evaluation.records import ScoredCase

# A class that found fewer objects keeps the common threshold: there is too little to choose one by.
_LEAST_HITS = 20


def choose_class_thresholds(
    cases: Sequence[ScoredCase], config: EvaluationConfig, classes: tuple[str, ...], common: float
) -> tuple[float, ...]:
    """The scores, one for each class that detections name, at which F1 of all detections together is highest.

    F1 = 2 TP / (TP + FP + objects) is a ratio of sums over classes: for a given F1 the best threshold of each class
    maximises (2 - F1) TP - F1 FP on its own, and from the F1 so reached one starts again until nothing changes
    (Dinkelbach 1967, doi 10.1287/mnsc.13.7.492). F1 never falls, and in the end no thresholds give a higher one.
    Of equals, the highest score is taken. As in F1, a hit is an object found, whatever class the detection names.

    Args:
        cases: validation cases, all scores kept.
        config: for the match rule.
        classes: of the detector.
        common: the one threshold (`choose_threshold`), which classes with fewer than 20 hits keep.

    Raises:
        DatasetError: as `evaluate`.
    """
    matches = match_cases(cases, config.match)
    objects = sum(match.objects for match in matches)
    steps = [_steps(matches, label, common) for label in range(len(classes))]
    best = -1.0
    chosen = [0] * len(steps)
    while (reached := _f1(steps, chosen, objects)) > best:
        best = reached
        chosen = [int(np.argmax((2 - best) * one.hits - best * one.false)) for one in steps]
    return tuple(float(one.score[place]) for one, place in zip(steps, chosen, strict=True))


@dataclass(frozen=True, eq=False)
class _Steps:
    """Thresholds of one class ``score`` ``(n,)``, descending, and the ``hits`` and ``false`` detections at each."""

    score: np.ndarray
    hits: np.ndarray
    false: np.ndarray


def _steps(matches: Sequence[CaseMatches], label: int, common: float) -> _Steps:
    of_class = [(match, (match.case.detections.labels == label) & ~match.swallowed) for match in matches]
    score = np.concatenate([match.case.detections.scores[own] for match, own in of_class])
    hit = np.concatenate([match.hit[own] for match, own in of_class])
    if hit.sum() < _LEAST_HITS:
        above = score >= common
        return _Steps(np.array([common]), np.array([(hit & above).sum()]), np.array([(~hit & above).sum()]))
    ranking = Ranking.of(np.zeros(1, dtype=np.int64), np.zeros(len(score), dtype=np.int64), score, hit)
    return _Steps(ranking.step_score, ranking.step_hits, ranking.step_false)


def _f1(steps: Sequence[_Steps], chosen: Sequence[int], objects: int) -> float:
    hits = sum(int(one.hits[place]) for one, place in zip(steps, chosen, strict=True))
    false = sum(int(one.false[place]) for one, place in zip(steps, chosen, strict=True))
    return float(np.nan_to_num(f1(np.array(hits), np.array(false), np.array(objects))))
