"""Detections of a whole test set in the order of their scores: what FROC and precision-recall are read from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from pipeline.evaluation.matching import CaseMatches
from pipeline.evaluation.running import run_along

# Rounds that are counted side by side, and numbers in one array: it should stay in the processor's cache, and rows must
# be long, because each addition of rows costs as much as some hundred numbers (measured: twice of either is no faster).
_ROUNDS, _NUMBERS = 512, 131_072


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
        order = np.argsort(-score, kind="stable")
        case, score, hit = case[order], score[order], hit[order].astype(bool)
        hit_score, false_score = score[hit], score[~hit]
        last = np.flatnonzero(np.diff(hit_score, append=-np.inf))
        step_false = np.searchsorted(-false_score, -hit_score[last], side="right")
        return cls(objects, case[hit], case[~hit], hit_score, false_score, hit_score[last], last + 1, step_false)

    @classmethod
    def of_matches(cls, matches: Sequence[CaseMatches]) -> Self:
        kept = [~match.swallowed for match in matches]
        objects = np.array([match.objects for match in matches], dtype=np.int64)
        case = np.repeat(np.arange(len(matches)), [int(keep.sum()) for keep in kept])
        score = [match.case.detections.scores[keep] for match, keep in zip(matches, kept, strict=True)]
        hit = [match.hit[keep] for match, keep in zip(matches, kept, strict=True)]
        return cls.of(objects, case, np.concatenate(score), np.concatenate(hit))

    @property
    def once(self) -> np.ndarray:
        """Weights ``(1, cases)`` of the test set as it is: one round with each case once."""
        return np.ones((1, len(self.objects)), dtype=np.int64)

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

    def stretches(self, weights: np.ndarray, only_peaks: bool) -> Iterator[tuple[slice, "Stretch"]]:
        """Counts at the steps, or only at the peaks, where case ``c`` counts ``weights[r, c]`` times in round ``r``.

        Some rounds at a time, named by the slice, and of these one stretch of steps after the other, the LAST first:
        a detection is looked at once, in an order that the processor's cache likes, however many there are.
        """
        peaks = np.flatnonzero(np.diff(self.step_false, append=-1)) if only_peaks else np.arange(len(self.step_false))
        rounds_at_once = min(_ROUNDS, max(1, len(weights)))
        parts = [self._added(peaks, some) for some in _slices(len(peaks), _NUMBERS // rounds_at_once)]
        for rounds in _slices(len(weights), rounds_at_once):
            of_case = np.ascontiguousarray(weights[rounds].T, dtype=np.int32)
            hits, false = (total @ of_case for total in self._totals)
            for part in reversed(parts):
                stretch = Stretch.ending_with(hits, false, part @ of_case)
                hits, false = stretch.hits_before, stretch.false_before
                yield rounds, stretch

    @property
    def _totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Hits, and false detections up to the last step (no figure needs more), of each case ``(cases,)``."""
        relevant = self.step_false[-1] if len(self.step_false) else 0
        hits, false = self.hit_case, self.false_case[:relevant]
        return np.bincount(hits, minlength=len(self.objects)), np.bincount(false, minlength=len(self.objects))

    def _added(self, steps: np.ndarray, some: slice) -> csr_array:
        """How many hits of each case some of the steps add, and below them how many false, ``(2 x steps, cases)``.

        A case comes as often as it has detections in a step: they are summed when the array is multiplied.
        """
        hits, false = (
            np.append(ends[steps[some.start - 1]] if some.start else 0, ends[steps[some]])
            for ends in (self.step_hits, self.step_false)
        )
        cases = np.concatenate([self.hit_case[hits[0] : hits[-1]], self.false_case[false[0] : false[-1]]])
        borders = np.concatenate([hits - hits[0], false[1:] - false[0] + hits[-1] - hits[0]])
        shape = (len(borders) - 1, len(self.objects))
        return csr_array((np.ones(len(cases), dtype=np.int32), cases, borders), shape=shape)


@dataclass(frozen=True, eq=False)
class Stretch:
    """Steps in a row, in several rounds at once.

    ``hits`` and ``false`` ``(steps, rounds)`` are how many there are up to each step, ``hits_before`` and
    ``false_before`` ``(rounds,)`` how many before the first.
    """

    hits: np.ndarray
    false: np.ndarray
    hits_before: np.ndarray
    false_before: np.ndarray

    @classmethod
    def ending_with(cls, hits: np.ndarray, false: np.ndarray, added: np.ndarray) -> Self:
        """From the counts at its end ``(rounds,)`` and what each step adds: hits, and below them false detections,
        ``(2 x steps, rounds)``, which are written to."""
        found, wrong = np.split(added, 2)
        return cls(found, wrong, _counted_up(found, hits), _counted_up(wrong, false))

    @property
    def gained(self) -> np.ndarray:
        """How many hits each step adds, ``(steps, rounds)``."""
        return np.diff(self.hits, axis=0, prepend=self.hits_before[None])

    @property
    def precision(self) -> np.ndarray:
        """``(steps, rounds)``; 0 where a round has no detection yet."""
        all_there = self.hits + self.false
        np.maximum(all_there, 1, out=all_there)
        return self.hits / all_there


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, and NaN where ``whole`` is 0: the figure does not exist."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def _counted_up(added: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Turns what each step adds into counts that end with ``end``; the counts before the first step."""
    run_along(np.add, added)
    before = (end - added[-1]).astype(added.dtype)
    added += before
    return before


def _slices(length: int, most: int) -> list[slice]:
    return [slice(start, min(start + most, length)) for start in range(0, length, most)]
