"""How often 95 % intervals hold the truth, on simulated test sets of few and of many patients.

    python benchmarks/interval_coverage.py

A patient has one to four scans and a sensitivity and a rate of false positives of his own, so that his scans resemble
each other. Two versions with the same truth are drawn: their figures have a known truth, their difference is 0. Printed
beside it is what plain percentiles of the same bootstrap rounds cover (no expansion for few patients).
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.part import Rows, Tally
from pipeline.evaluation.uncertainty import interval, patient_weights

FIGURES = ("f1", "recall", "average_precision", "cpm")
TEST_SETS = 1000
ROUNDS = 400
CONFIDENCE = 0.95
PLAIN = 10**9  # for so many patients the expanded percentiles are the plain ones


@dataclass(frozen=True)
class Patients:
    """Scans ``(scans,)``: the patient of each, its sensitivity, its rate of false positives and its objects."""

    of_scan: np.ndarray
    sensitivity: np.ndarray
    rate: np.ndarray
    objects: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, count: int) -> "Patients":
        of_scan = np.repeat(np.arange(count), rng.integers(1, 5, count))
        sensitivity, rate = rng.beta(4, 2, count), rng.gamma(1.0, 1.0, count)
        return cls(of_scan, sensitivity[of_scan], rate[of_scan], rng.integers(0, 6, len(of_scan)))

    def results(self, rng: np.random.Generator) -> Tally:
        """What a version finds in them: hits score higher than false positives, on the whole."""
        hits, false = rng.binomial(self.objects, self.sensitivity), rng.poisson(self.rate)
        counts = np.concatenate([hits, false, self.objects - hits])
        scan = np.repeat(np.tile(np.arange(len(hits)), 3), counts)
        kind = np.repeat(np.repeat([0, 1, 2], len(hits)), counts)
        score = np.select([kind == 0, kind == 1], [rng.beta(4, 2, len(kind)), rng.beta(2, 4, len(kind))], np.nan)
        return Tally.of(Rows(scan, score, kind == 0, kind == 1, kind == 2), len(hits), 0.4)


def main() -> None:
    rng = np.random.default_rng(0)
    truth = Patients.drawn(rng, 20_000).results(rng).values(FIGURES)
    print(f"{TEST_SETS} test sets a row; nominal {CONFIDENCE:.0%}; plain percentiles in brackets")
    for count in (5, 10, 20, 50, 100):
        held: Counter[tuple[str, str]] = Counter()
        for number in range(TEST_SETS):
            _one_test_set(rng, count, number, truth, held)
        shares = {key: value / TEST_SETS for key, value in held.items()}
        for name in FIGURES:
            figure = f"{shares[name, 'figure']:.3f} ({shares[name, 'figure, plain']:.3f})"
            difference = f"{shares[name, 'difference']:.3f} ({shares[name, 'difference, plain']:.3f})"
            print(f"{count:4} patients  {name:18} figure {figure}  paired difference {difference}")


def _one_test_set(
    rng: np.random.Generator, count: int, seed: int, truth: dict[str, float], held: Counter[tuple[str, str]]
) -> None:
    patients = Patients.drawn(rng, count)
    one, other = patients.results(rng), patients.results(rng)
    weights = patient_weights(patients.of_scan.astype(str), ROUNDS, seed)
    rounds_one, rounds_other = one.figures(weights, FIGURES), other.figures(weights, FIGURES)
    values_one, values_other = one.values(FIGURES), other.values(FIGURES)
    for name in FIGURES:
        asked = {
            "figure": (values_one[name], rounds_one[name], truth[name]),
            "difference": (values_other[name] - values_one[name], rounds_other[name] - rounds_one[name], 0.0),
        }
        for what, (value, rounds, real) in asked.items():
            for label, behind in ((what, count), (f"{what}, plain", PLAIN)):
                found = interval(value, rounds, CONFIDENCE, behind)
                held[name, label] += found.lower <= real <= found.upper


if __name__ == "__main__":
    main()
