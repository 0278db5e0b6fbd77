"""Which pictures an evaluation has."""

import pandas as pd
import pytest

from pipeline.evaluation import Estimate, Evaluation
from pipeline.stages.pictures import evaluation_pictures

CONFUSION = pd.DataFrame([[3, 1], [2, 0]], index=["tumour", "no object"], columns=["tumour", "not found"])


def evaluation(strata, confusion):
    metrics = {"f1": Estimate(0.8, 0.7, 0.9)}
    empty = pd.DataFrame()
    return Evaluation(
        "cells/1", "t", "f1", 0.5, {}, metrics, {}, empty, empty, {}, 0.95, strata=strata, confusion=confusion
    )


@pytest.mark.parametrize(
    ("strata", "confusion", "names"),
    [
        ({}, None, set()),
        ({"stain": {"PAS": {"f1": Estimate(0.6, 0.5, 0.7)}}}, None, {"strata"}),
        ({}, CONFUSION, {"confusion"}),
    ],
)
def test_only_what_there_is_is_drawn(strata, confusion, names):
    pictures = evaluation_pictures(evaluation(strata, confusion))
    assert set(pictures) == names
    assert all(png.startswith(b"\x89PNG") for png in pictures.values())
