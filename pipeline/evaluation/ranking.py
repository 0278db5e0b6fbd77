"""Detections of a whole test set in the order of their scores: what FROC and precision-recall are read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from pipeline.evaluation.matching import CaseMatches


@dataclass(frozen=True, eq=False)
class Ranking:
    """Hits and false detections by descending score, and the steps at which a curve rises.

    ``objects`` is ``(cases,)``: counted annotations a case. ``hit_case`` and ``false_case`` name the case of each hit
    and each false detection, highest score first; ``hit_score`` and ``false_score`` are their scores. A step is a
    score that at least one hit has: ``step_score`` is ``(steps,)``, descending, and ``step_hits``, ``step_false`` say
    how many of each score at least that. Between steps only false detections are added, so no figure needs more
    than the steps.
    """

    objects: np.ndarray
    hit_case: np.ndarray
    false_case: np.ndarray
    hit_score: np.ndarray
    false_score: np.ndarray
    step_score: np.ndarray
    step_hits: np.ndarray
    step_false: np.ndarray

    @classmethod
    def of(cls, objects: np.ndarray, case: np.ndarray, score: np.ndarray, hit: np.ndarray) -> Self:
        """From flat arrays ``(n,)``, one entry a detection that is right or false (swallowed ones left out)."""
        order = np.lexsort((case, -score))
        case, score, hit = case[order], score[order], hit[order].astype(bool)
        step_score, first = np.unique(-score[hit], return_index=True)
        step_hits = np.append(first[1:], hit.sum()) if len(first) else first
        step_false = np.searchsorted(-score[~hit], step_score, side="right")
        return cls(objects, case[hit], case[~hit], score[hit], score[~hit], -step_score, step_hits, step_false)

    @classmethod
    def of_matches(cls, matches: Sequence[CaseMatches]) -> Self:
        kept = [~match.swallowed for match in matches]
        objects = np.array([match.objects for match in matches], dtype=np.int64)
        case = np.repeat(np.arange(len(matches)), [int(keep.sum()) for keep in kept])
        score = [match.case.detections.scores[keep] for match, keep in zip(matches, kept, strict=True)]
        hit = [match.hit[keep] for match, keep in zip(matches, kept, strict=True)]
        return cls.of(objects, case, np.concatenate(score), np.concatenate(hit))

    def as_it_is(self) -> "Steps":
        """Counts at every step with each case once: one round."""
        return self.at_steps(np.ones((1, len(self.objects)), dtype=np.int64))

    def pooled_with(self, other: Self) -> "Ranking":
        """Both versions' detections in one ranking, the other's cases after one's own.

        Scores of two versions mean different things, so each is first replaced by its standing: how many of its own
        version's detections score at least as high. No figure of either version alone changes by that.
        """
        return Ranking.of(
            np.concatenate([self.objects, other.objects]),
            np.concatenate([self._cases(), other._cases() + len(self.objects)]),
            -np.concatenate([self._standings(), other._standings()]),
            np.concatenate([self._hits(), other._hits()]),
        )

    def _cases(self) -> np.ndarray:
        return np.concatenate([self.hit_case, self.false_case])

    def _hits(self) -> np.ndarray:
        return np.arange(len(self.hit_case) + len(self.false_case)) < len(self.hit_case)

    def _standings(self) -> np.ndarray:
        scores = np.concatenate([self.hit_score, self.false_score])
        return np.searchsorted(np.sort(-scores), -scores, side="right").astype(np.float64)

    @property
    def size(self) -> int:
        """How many numbers one resampled round holds."""
        return len(self.hit_case) + 1 + (len(self.step_score) if self._sparse else len(self.false_case))

    def at_steps(self, weights: np.ndarray) -> "Steps":
        """Counts at every step where case ``c`` counts ``weights[r, c]`` times in round ``r``."""
        return Steps(
            hits=self._hits_at_steps(weights),
            false=self._false_at_steps(weights),
            objects=weights @ self.objects,
            cases=weights.sum(axis=1),
        )

    def _hits_at_steps(self, weights: np.ndarray) -> np.ndarray:
        sums = _sums(weights, self.hit_case)
        each_is_a_step = len(self.step_hits) == len(self.hit_case)
        return sums[:, 1:] if each_is_a_step else np.take(sums, self.step_hits, axis=1)

    @property
    def _relevant(self) -> int:
        """How many false detections come before the last step: no figure needs those after it."""
        return int(self.step_false[-1]) if len(self.step_false) else 0

    @property
    def _sparse(self) -> bool:
        """Whether many false detections lie between few steps, so that they are better counted before they are
        weighted (measured: 100,000 of them between 1,000 steps are seven times as fast so)."""
        return 4 * len(self.step_false) < self._relevant

    def _false_at_steps(self, weights: np.ndarray) -> np.ndarray:
        if not self._sparse:
            return np.take(_sums(weights, self.false_case[: self._relevant]), self.step_false, axis=1)
        between = np.ascontiguousarray((self._false_between_steps @ weights.T.astype(np.int32)).T)
        return np.cumsum(between, axis=1, dtype=np.int32, out=between)

    @cached_property
    def _false_between_steps(self) -> csr_array:
        """How many false detections of each case come between one step and the next, ``(steps, cases)``."""
        step = np.searchsorted(self.step_false, np.arange(self._relevant), side="right")
        ones = np.ones(self._relevant, dtype=np.int32)
        shape = (len(self.step_false), len(self.objects))
        return csr_array((ones, (step, self.false_case[: self._relevant])), shape=shape)


@dataclass(frozen=True, eq=False)
class Steps:
    """``hits`` and ``false`` are ``(rounds, steps)``, both rising; ``objects`` and ``cases`` are ``(rounds,)``."""

    hits: np.ndarray
    false: np.ndarray
    objects: np.ndarray
    cases: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """``(rounds, steps)``; 0 where a round has no detection yet."""
        return self.hits / np.maximum(self.hits + self.false, 1)

    @property
    def recall(self) -> np.ndarray:
        """``(rounds, steps)``; NaN where a round has no object."""
        return ratio(self.hits, self.objects[:, None])


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, and NaN where ``whole`` is 0: the figure does not exist."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def _sums(weights: np.ndarray, case: np.ndarray) -> np.ndarray:
    """Running sums ``(rounds, 1 + n)`` of each entry's weight, beginning with 0."""
    sums = np.zeros((len(weights), len(case) + 1), dtype=np.int32)
    np.cumsum(np.take(weights.astype(np.int32), case, axis=1), axis=1, dtype=np.int32, out=sums[:, 1:])
    return sums
