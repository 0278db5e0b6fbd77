import math

import pytest

from pipeline.evaluation import Comparison, Estimate
from pipeline.stages.pairs import champions_in_order, pairs_to_compare, report_targets
from pipeline.stages.promote import _verdict


def _comparison(difference, value_b):
    return Comparison(
        version_a="cells/1",
        version_b="cells/2",
        test_set="t",
        primary="f1",
        differences={"f1": Estimate(difference, difference - 0.02, difference + 0.02)},
        p_values={"f1": 0.5},
        values_a={"f1": 0.7},
        values_b={"f1": value_b},
        patients=12,
    )


@pytest.mark.parametrize(
    ("difference", "margin", "may"), [(0.01, 0.0, True), (0.0, 0.0, True), (-0.01, 0.0, False), (-0.01, 0.02, True)]
)
def test_challenger_may_be_worse_by_the_margin_and_no_more(difference, margin, may):
    assert _verdict(_comparison(difference, 0.7 + difference), margin)[0] is may


def test_reason_has_both_figures_the_interval_and_the_margin():
    told = _verdict(_comparison(-0.05, 0.65), 0.01)[1]
    assert told == "f1 0.650 against 0.700 of cells/1 (difference -0.050 [-0.070, -0.030], 12 patients, margin 0.01)"


def test_difference_that_does_not_exist_promotes_nobody():
    may, reason = _verdict(_comparison(math.nan, math.nan), 1.0)
    assert not may
    assert reason.endswith("the difference does not exist")


def test_successive_versions_of_a_name_are_compared():
    versions = ["cells/1", "lesions/4", "cells/2", "cells/2", "cells/3"]
    champions = champions_in_order(["cells/1", "lesions/3", "cells/1", "cells/1", "cells/3"])
    assert champions == {"cells": "cells/3", "lesions": "lesions/3"}
    assert pairs_to_compare(versions, champions) == [
        ("cells/1", "cells/2"),
        ("cells/2", "cells/3"),
        ("lesions/3", "lesions/4"),
    ]
    assert report_targets(versions, champions) == ["cells/2..cells/3", "lesions/3..lesions/4"]


def test_single_first_version_is_compared_with_nothing():
    assert pairs_to_compare(["cells/1"], {"cells": "cells/1"}) == []
    assert report_targets(["cells/1"], {"cells": "cells/1"}) == ["cells/1"]
