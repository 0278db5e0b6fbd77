import itertools

import numpy as np
import pytest

from pipeline.detections.class_scale import with_one_threshold
from pipeline.evaluation import choose_threshold, primary_value
from pipeline.evaluation import class_thresholds as module
from pipeline.evaluation.class_thresholds import choose_class_thresholds
from tests.evaluation.conftest import CLASSES


def scaled(cases, own, common):
    changed = [with_one_threshold(case.detections, own, common) for case in cases]
    return [case.__class__(case.case_id, case.patient_key, case.annotations, found)
            for case, found in zip(cases, changed, strict=True)]  # fmt: skip


def test_no_pair_of_thresholds_gives_a_higher_f1(config, random_field, monkeypatch):
    monkeypatch.setattr(module, "_LEAST_HITS", 1)
    for seed in range(4):
        cases = [random_field(f"c{n}", 10 * seed + n) for n in range(4)]
        own = choose_class_thresholds(cases, config, CLASSES, choose_threshold(cases, config))
        reached = primary_value(scaled(cases, own, 0.5), config, 0.5)
        scores = np.unique(np.concatenate([case.detections.scores for case in cases]))
        every = [
            primary_value(scaled(cases, pair, 0.5), config, 0.5) for pair in itertools.product(scores[::3], repeat=2)
        ]
        assert reached >= max(every) - 1e-12
        assert reached >= primary_value(cases, config) - 1e-12


def test_classes_that_differ_get_thresholds_that_differ(config, scan, monkeypatch):
    monkeypatch.setattr(module, "_LEAST_HITS", 1)
    # tumour: .9 hit, .5 false; other: .3 hit, .2 false. One threshold: .9 gives 2/3; .3 gives 4/5. Two give 1.
    case = scan("A", [(1, "tumour"), (2, "other")],
                [(1, 0.9, "tumour"), (8, 0.5, "tumour"), (2, 0.3, "other"), (9, 0.2, "other")])  # fmt: skip
    assert choose_threshold([case], config) == 0.3
    assert choose_class_thresholds([case], config, CLASSES, 0.3) == (0.9, 0.3)


def test_a_class_with_few_hits_keeps_the_common_threshold(config, scan):
    spots = range(1, 26)
    case = scan(
        "A",
        [(n, "tumour") for n in spots] + [(40, "other")],
        [(n, 0.5 + n / 100, "tumour") for n in spots] + [(40, 0.9, "other"), (60, 0.1, "tumour")],
    )
    assert choose_class_thresholds([case], config, CLASSES, 0.4) == (pytest.approx(0.51), 0.4)


def test_detections_on_ignored_objects_do_not_count(config, scan, monkeypatch):
    monkeypatch.setattr(module, "_LEAST_HITS", 1)
    case = scan("A", [(1,), (2,)], [(1, 0.5), (2, 0.8)], ignore=[1])
    assert choose_class_thresholds([case], config, CLASSES, 0.7) == (0.5, 0.7)
