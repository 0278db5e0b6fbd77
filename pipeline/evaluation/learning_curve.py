"""How good a detector gets from a share of the training data, from scratch and transferred.

Each way in is trained on several shares of the data, each from the same seeds; every detector is judged on the same
test set, at its own threshold. A point of the curve is the mean of its seeds' figures. Its interval takes patients and
seeds into account: each round draws patients (`pipeline.evaluation.uncertainty`) and seeds
(`pipeline.evaluation.seeds`), the same for all points, because trainings of one seed share their patients and patches.
Drawing both rows and columns of a table of seeds by patients is Owen's pigeonhole bootstrap (Ann. Appl. Stat. 1:386,
2007), which errs towards wide intervals. With one seed an interval says nothing of how trainings differ.

Of all data, the transferred detector needs the share at which its curve first reaches the figure of scratch with
everything, on test data; between two trained shares the curve is a straight line over the logarithm of the share. Of
all training steps, it needs those after which the detector that validated best so far, trained on everything, first
validates as well as scratch with everything in the end; between two validations nothing is known, so the later counts.
The learning rate was still high then: a training planned to be so short would end better.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from pipeline.config.evaluation import EvaluationConfig
from pipeline.errors import DatasetError
from pipeline.evaluation.centre_f1 import detection_figures
from pipeline.evaluation.crossing import Crossing, share_reached, steps_reached
from pipeline.evaluation.figures import Measured, ranked_figures
from pipeline.evaluation.records import Estimate, Evaluation
from pipeline.evaluation.seeds import mean_over_seeds, seed_tail, seed_weights
from pipeline.evaluation.uncertainty import FEWEST_PATIENTS, expanded_tail, interval, patient_weights, patients_of

Way = Literal["scratch", "transferred"]
WAYS: tuple[Way, Way] = ("scratch", "transferred")
SCRATCH, TRANSFERRED = WAYS
_NEEDED = ("needed_data", "needed_steps")


@dataclass(frozen=True, eq=False)
class Training:
    """One detector of a curve.

    ``share`` is that of the training patients that it was really trained on. ``validation`` has the primary figure
    after some of its steps, in their order.
    """

    way: Way
    share: float
    seed: int
    evaluation: Evaluation
    validation: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Point:
    """``each`` has the figure of each seed."""

    share: float
    figure: Estimate
    each: tuple[float, ...]


@dataclass(frozen=True)
class Validated:
    """The primary figure on validation data after each of ``steps``; ``each`` has a row a seed, NaN where none was."""

    steps: tuple[int, ...]
    each: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, trainings: Sequence[Training]) -> Self:
        steps = sorted({step for one in trainings for step, _ in one.validation})
        known = [dict(one.validation) for one in trainings]
        return cls(tuple(steps), tuple(tuple(own.get(step, math.nan) for step in steps) for own in known))

    @property
    def kept(self) -> np.ndarray:
        """Of each seed the best so far, which is the detector that is kept, ``(seeds, steps)``; 0 before the first."""
        return np.maximum.accumulate(np.nan_to_num(np.array(self.each), nan=0.0), axis=1)


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """``curves``: way → its points, the smallest share first. ``gains``: transferred less scratch at each share.

    ``validated``: way → how the trainings with everything validated. ``steps`` of a whole training. ``needed_data``
    and ``needed_steps`` are what the transferred detector needs, as shares of all.
    """

    primary: str
    confidence: float
    test_set: str
    counts: dict[str, int]
    seeds: tuple[int, ...]
    curves: dict[str, tuple[Point, ...]]
    gains: tuple[Estimate, ...]
    validated: dict[str, Validated]
    steps: int
    needed_data: Crossing
    needed_steps: Crossing

    @property
    def shares(self) -> tuple[float, ...]:
        return tuple(point.share for point in self.curves[SCRATCH])

    @property
    def drawn(self) -> str:
        """What intervals are made over."""
        return "patient and seed" if len(self.seeds) > 1 else "patient"

    @property
    def reference(self) -> Estimate:
        """Scratch with everything."""
        return self.curves[SCRATCH][-1].figure

    def rows(self) -> pd.DataFrame:
        """One row a point: ``way share metric value lower upper``; in rows of way ``gain`` transferred less scratch."""
        rows = [
            {"way": way, "share": point.share, "metric": self.primary, **asdict(point.figure)}
            for way, points in self.curves.items()
            for point in points
        ]
        gains = [
            {"way": "gain", "share": share, "metric": self.primary, **asdict(gain)}
            for share, gain in zip(self.shares, self.gains, strict=True)
        ]
        return pd.DataFrame(rows + gains)

    def to_json(self) -> dict[str, Any]:
        needed = {name: getattr(self, name).to_json() for name in _NEEDED}
        return asdict(self) | needed

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """What `to_json` gave, also after it went through JSON."""
        curves = {
            way: tuple(Point(one["share"], Estimate(**one["figure"]), tuple(one["each"])) for one in points)
            for way, points in raw["curves"].items()
        }
        validated = {
            way: Validated(tuple(one["steps"]), tuple(tuple(row) for row in one["each"]))
            for way, one in raw["validated"].items()
        }
        own = {
            "seeds": tuple(raw["seeds"]),
            "curves": curves,
            "gains": tuple(Estimate(**one) for one in raw["gains"]),
            "validated": validated,
            **{name: Crossing.from_json(raw[name]) for name in _NEEDED},
        }
        return cls(**(raw | own))


def learning_curve(
    trainings: Sequence[Training], config: EvaluationConfig, classes: tuple[str, ...], steps: int, seed: int = 0
) -> LearningCurve:
    """The curve of both ways in.

    Args:
        trainings: both ways at every share from every seed, each once, share 1 among them.
        config: primary metric and bootstrap.
        classes: the classes that are evaluated.
        steps: of a training with everything.
        seed: of the bootstrap.

    Raises:
        DatasetError: a training is missing, or they were judged on other cases or by another rule.
    """
    _check(trainings)
    shares, seeds = (sorted({getattr(one, name) for one in trainings}) for name in ("share", "seed"))
    drawn = seed_weights(len(seeds), config.bootstrap_rounds, seed)
    table = {(one.way, one.share, one.seed): one for one in trainings}
    judged = _Judged.of(
        [[[table[way, share, one] for one in seeds] for share in shares] for way in WAYS], config, classes, drawn, seed
    )
    validated: dict[str, Validated] = {way: Validated.of([table[way, 1.0, one] for one in seeds]) for way in WAYS}
    first = trainings[0].evaluation
    return LearningCurve(
        primary=config.primary,
        confidence=config.confidence,
        test_set=first.test_set,
        counts={name: first.counts[name] for name in ("patients", "cases", "objects")},
        seeds=tuple(seeds),
        curves={way: judged.points(number, shares) for number, way in enumerate(WAYS)},
        gains=judged.gains(),
        validated=validated,
        steps=steps,
        needed_data=judged.needed_data(shares),
        needed_steps=_needed_steps(validated, steps, drawn, config.confidence),
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """The primary figure: ``each`` training's ``(ways, shares, seeds)``, their mean in each round ``(ways, shares,
    rounds)``, and what intervals are made from."""

    each: np.ndarray
    rounds: np.ndarray
    patients: int
    confidence: float

    @classmethod
    def of(
        cls,
        trainings: Sequence[Sequence[Sequence[Training]]],
        config: EvaluationConfig,
        classes: tuple[str, ...],
        drawn: np.ndarray,
        seed: int,
    ) -> Self:
        patients = patients_of(_sorted_cases(trainings[0][0][0].evaluation))
        weights = patient_weights(patients, config.bootstrap_rounds, seed)
        everyone = np.ones((1, len(patients)), dtype=np.int64)
        with_everyone = np.concatenate([everyone, weights])
        figures = np.array(
            [
                [
                    [_primary(one.evaluation, with_everyone, config.primary, classes) for one in seeds]
                    for seeds in shares
                ]
                for shares in trainings
            ]
        )
        rounds = mean_over_seeds(figures[..., 1:], drawn)
        return cls(figures[..., 0], rounds, len(np.unique(patients)), config.confidence)

    @property
    def means(self) -> np.ndarray:
        return np.asarray(self.each.mean(axis=2))

    def points(self, way: int, shares: Sequence[float]) -> tuple[Point, ...]:
        return tuple(
            Point(
                share,
                self._estimate(self.means[way, place], self.rounds[way, place]),
                tuple(self.each[way, place].tolist()),
            )
            for place, share in enumerate(shares)
        )

    def gains(self) -> tuple[Estimate, ...]:
        values, rounds = self.means[1] - self.means[0], self.rounds[1] - self.rounds[0]
        return tuple(self._estimate(value, some) for value, some in zip(values, rounds, strict=True))

    def needed_data(self, shares: Sequence[float]) -> Crossing:
        found = share_reached(shares, self.means[1], self.means[0, -1])
        rounds = [share_reached(shares, *one) for one in zip(self.rounds[1].T, self.rounds[0, -1], strict=True)]
        tail = expanded_tail(self.patients, self.confidence) if self.patients >= FEWEST_PATIENTS else None
        return Crossing.of(found, np.array(rounds), tail, shares[0])

    def _estimate(self, value: float, rounds: np.ndarray) -> Estimate:
        return interval(float(value), rounds, self.confidence, self.patients)


def _check(trainings: Sequence[Training]) -> None:
    shares, seeds = ({getattr(one, name) for one in trainings} for name in ("share", "seed"))
    expected = {(way, share, seed) for way in WAYS for share in shares for seed in seeds}
    given = [(one.way, one.share, one.seed) for one in trainings]
    if len(given) != len(expected) or set(given) != expected:
        raise DatasetError(f"expected both ways in at every share from every seed, each once, got {sorted(given)}")
    if max(shares) != 1:
        raise DatasetError(
            f"the curve is measured against training with everything: expected share 1 in {sorted(shares)}"
        )
    judged = {(one.evaluation.test_set, str(one.evaluation.match_rule)) for one in trainings}
    if len(judged) > 1:
        raise DatasetError(
            f"the trainings were judged on other cases or by another rule ({len(judged)} of them): the data changed "
            "between the trainings; give the command again"
        )


def _sorted_cases(evaluation: Evaluation) -> pd.DataFrame:
    return evaluation.cases.sort_values("case_id", ignore_index=True)


def _primary(evaluation: Evaluation, weights: np.ndarray, primary: str, classes: tuple[str, ...]) -> np.ndarray:
    """``(rounds,)``; cases in the order of their ids."""
    measured = Measured.of(_sorted_cases(evaluation), evaluation.objects, evaluation.threshold, classes)
    if primary == "f1":
        return detection_figures(measured.counts, weights)["f1"]
    return ranked_figures(measured.ranking, weights, (primary,))[primary]


def _needed_steps(validated: dict[str, Validated], steps: int, drawn: np.ndarray, confidence: float) -> Crossing:
    if not all(one.steps for one in validated.values()):
        return Crossing.unknown()
    scratch, transferred = (validated[way].kept for way in WAYS)
    after = [step / steps for step in validated[TRANSFERRED].steps]

    def needed(counts: np.ndarray) -> float:
        share = counts / counts.sum()
        return steps_reached(after, share @ transferred, float(share @ scratch[:, -1]))

    seeds = drawn.shape[1]
    rounds = np.array([needed(counts) for counts in drawn])
    return Crossing.of(needed(np.ones(seeds)), rounds, seed_tail(seeds, confidence), after[0])
