"""What the user reads of a transfer curve."""

import dataclasses
import math

import pytest

from pipeline.cli.numbers import parse_shares
from pipeline.cli.transfer_curve import curve_lines
from pipeline.errors import ConfigError
from pipeline.evaluation.crossing import Crossing
from pipeline.stages.transfer_curve import TransferCurve
from tests.reporting.test_learning_curve_figure import SIZES, curve


def test_table_has_a_line_a_share_and_says_what_is_needed():
    made = dataclasses.replace(curve(), needed_steps=Crossing(math.inf, math.nan, math.nan, 0.1, math.nan))
    found = TransferCurve("cells", "0123", "nuclei/3", (), tuple(SIZES), made, False)
    assert curve_lines(found) == [
        "cells from scratch and transferred from nuclei/3, 2 seeds; f1 on 10 test cases of 10 patients with 95% "
        "intervals by patient and seed",
        "  share  patients  cases  objects  from scratch          transferred           gain",
        "  10%    3         3      54       0.400 [0.350, 0.450]  0.600 [0.550, 0.650]  0.200 (no interval)",
        "  100%   30        30     8664     0.700 [0.650, 0.750]  0.800 [0.750, 0.850]  0.100 (no interval)",
        "as good as from scratch with everything (0.700 [0.650, 0.750]), transferred needs",
        "  of the data   30% [≤ 10%, not reached]",
        "  of the steps  not reached (no interval) (on validation data)",
    ]


def test_json_says_not_reached_where_a_number_would_be_infinite():
    found = TransferCurve("cells", "0123", "nuclei/3", (), tuple(SIZES), curve(), False)
    assert found.to_json()["curve"]["needed_data"] == {
        "share": 0.3, "lower": 0.1, "upper": "not reached", "smallest": 0.1, "reached": 0.9
    }  # fmt: skip


def test_shares_are_numbers_with_commas():
    assert parse_shares("0.05, 0.5,1") == (0.05, 0.5, 1.0)
    for text in ("", "5%", "0.1;1", "0.1,,1"):
        with pytest.raises(ConfigError, match=r"--shares takes shares of the data such as 0\.05,0\.25,1, got"):
            parse_shares(text)


@pytest.mark.parametrize(("option", "value"), [("--seeds", "0"), ("--seeds", "0,1"), ("--share", "1")])
def test_wrong_use_exits_with_2(cellscan, option, value):
    assert cellscan("transfer-curve", "x.yaml", option, value).code == 2
