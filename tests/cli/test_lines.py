import math
from pathlib import Path

import pandas as pd

from pipeline.cli.lines import comparison_lines, detect_lines, evaluation_lines, reason_lines
from pipeline.evaluation.records import Comparison, Estimate, Evaluation, StratumDifference
from pipeline.stages.detect import DetectSummary


def evaluation() -> Evaluation:
    return Evaluation(
        version="cells/2",
        test_set="0123",
        primary="f1",
        threshold=0.4,
        counts={"cases": 6, "false_positives": 3, "misses": 0},
        metrics={"average_precision": Estimate(0.5, 0.4, 0.6), "f1": Estimate(0.7, 0.65, math.nan)},
        curves={},
        cases=pd.DataFrame(),
        objects=pd.DataFrame(),
        match_rule={},
        confidence=0.95,
    )


def test_the_primary_figure_comes_first_with_its_interval():
    assert evaluation_lines(evaluation()) == [
        "cells/2 on 6 cases, 3 false positives; figures with 95% intervals:",
        "  f1                 0.700 [0.650, nan]",
        "  average_precision  0.500 [0.400, 0.600]",
    ]


def test_a_comparison_shows_both_values_and_the_signed_difference():
    comparison = Comparison(
        version_a="cells/1",
        version_b="cells/2",
        test_set="0123",
        primary="f1",
        differences={"f1": Estimate(0.05, -0.01, 0.11)},
        p_values={"f1": 0.125},
        values_a={"f1": 0.65},
        values_b={"f1": 0.70},
        patients=3,
    )
    assert comparison_lines(comparison) == [
        "cells/2 against cells/1, paired over 3 patients",
        "  f1  0.650 -> 0.700  difference +0.050 [-0.010, +0.110]  p = 0.125",
    ]


def test_files_with_one_reason_share_a_line():
    lines = reason_lines(
        "quarantined", [("cut off", "a.dcm"), ("slice missing", "b/1.dcm"), ("slice missing", "b/2.dcm")]
    )
    assert lines == ["  quarantined: a.dcm: cut off", "  quarantined: b/1.dcm and 1 more: slice missing"]


def test_a_comparison_shows_what_could_have_been_seen_and_every_stratum_with_both_p_values():
    def part(value: float, p: float, adjusted: float, shown: float) -> StratumDifference:
        estimate = Estimate(value, value - 0.1, value + 0.1)
        return StratumDifference("f1", 0.5, 0.5 + value, estimate, p, adjusted, 9, 40, shown)

    nothing = Estimate(math.nan, math.nan, math.nan)
    comparison = Comparison(
        version_a="cells/1",
        version_b="cells/2",
        test_set="0123",
        primary="f1",
        differences={"cpm": Estimate(0.0, 0.0, 0.0), "f1": Estimate(0.05, -0.01, 0.11)},
        p_values={"f1": 0.125, "cpm": 1.0},
        values_a={"f1": 0.65, "cpm": 0.5},
        values_b={"f1": 0.70, "cpm": 0.5},
        patients=12,
        detectable={"f1": 0.0874, "cpm": math.nan},
        strata={
            "size": {"small": part(0.2, 0.01, 0.02, 0.15), "large": part(0.1, 0.4, 0.4, math.nan)},
            "stain": {"PAS": StratumDifference("f1", math.nan, math.nan, nothing, math.nan, math.nan, 1, 0)},
        },
    )
    assert comparison_lines(comparison) == [
        "cells/2 against cells/1, paired over 12 patients",
        "  f1   0.650 -> 0.700  difference +0.050 [-0.010, +0.110]  p = 0.125  detectable 0.087",
        "  cpm  0.500 -> 0.500  difference +0.000 [+0.000, +0.000]  p = 1.000",
        "  detectable: the smallest true difference that this test set shows with 80% power",
        "  by stratum, p adjusted for 2 of them (Holm):",
        "    size small  f1  0.500 -> 0.700  difference +0.200 [+0.100, +0.300]  p = 0.010, adjusted 0.020"
        "  detectable 0.150  (9 patients, 40 objects)",
        "    size large  f1  0.500 -> 0.600  difference +0.100 [+0.000, +0.200]  p = 0.400, adjusted 0.400"
        "  (9 patients, 40 objects)",
        "    stain PAS   f1  no difference exists  (1 patient, 0 objects)",
    ]


def test_levels_of_slides_that_were_left_aside_are_told_apart_from_scans_that_do_not_suit():
    summary = DetectSummary(
        *("cells/1", 0.5, Path("out"), ({"detections": 3},), 3, 1, 0),
        quarantined={},
        unsuited={"CT a": "the version reads 2D scans, this is 3D"},
        unfinished={},
        windows=10,
        levels={"SM b": "level 0 is nearest", "SM c": "level 0 is nearest"},
    )
    assert detect_lines(summary)[1:] == [
        "  not for this version: CT a: the version reads 2D scans, this is 3D",
        "  other levels of slides: SM b and 1 more: level 0 is nearest",
    ]
