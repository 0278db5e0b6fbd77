"""What the command `better` says."""

import math

from pipeline.cli.better import better_lines
from pipeline.tracking.search import Better, BetterRun


def found(*runs):
    return Better("strata.size.small.f1", "lesions/1", 0.6, 0.5, 0.7, "0123", runs)


def test_each_run_has_its_interval_and_the_command_that_judges_the_difference():
    runs = (
        BetterRun("r4", "lesions/4", 0.75, 0.6, 0.65, 0.8),
        BetterRun("e4", "lesions/4", 0.75, 0.6, 0.65, 0.8),
        BetterRun("r3", "lesions/3", 0.7, 0.6, math.nan, math.nan),
    )
    assert better_lines(found(*runs), 30) == [
        "strata.size.small.f1 of lesions/1, the champion: 0.600 [0.500, 0.700], on test set 0123",
        "above it in the last 30 days, each with its own interval:",
        "  lesions/4  0.750 [0.650, 0.800]  run r4",
        "  lesions/4  0.750 [0.650, 0.800]  run e4",
        "  lesions/3  0.700  run r3",
        "a higher figure is not yet a difference that was shown; paired by patient, stratum by stratum:",
        "  cellscan compare lesions/1 lesions/4",
        "  cellscan compare lesions/1 lesions/3",
    ]


def test_none_is_said_so():
    assert better_lines(found(), 7)[1:] == ["no run of the last 7 days is above it"]
