"""What may be shipped."""

import pytest

from pipeline.config import ExperimentConfig
from pipeline.errors import ModelError
from pipeline.starters.sources import SOURCES, shippable_source
from tests.experiments import tiny_2d


def _on(source, **training):
    raw = tiny_2d(**training).model_dump()
    raw["data"]["source"] = source
    return ExperimentConfig.model_validate(raw)


@pytest.mark.parametrize(("source", "licence"), [("dsb2018", "CC0 1.0"), ("/mnt/data/lidc_voi", "CC BY 3.0")])
def test_data_under_a_known_licence_may_be_shipped(source, licence):
    assert shippable_source(_on(source)).licence == licence


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("crchistophenotypes", "research use only, not to be passed on"),
        ("/data/crchistophenotypes/", "research use only"),
        ("hospital", "no licence is known here"),
        ("dsb2018/hospital", "no licence is known here"),
    ],
)
def test_other_data_may_not_and_the_message_says_why(source, why):
    with pytest.raises(ModelError, match=rf"may not be shipped: {why}.*; data that allow it: dsb2018, lidc_voi"):
        shippable_source(_on(source))


@pytest.mark.parametrize("initial", ["cells@champion", "cells/1", "./bundle"])
def test_weights_of_unknown_data_make_a_version_unfit(initial):
    with pytest.raises(ModelError, match="whose data may not allow"):
        shippable_source(_on("dsb2018", initial_weights=initial))


def test_a_version_that_started_from_a_starter_may_be_shipped():
    assert shippable_source(_on("dsb2018", initial_weights="starter/nuclei-2d")) is SOURCES["dsb2018"]


def test_imagenet_weights_make_a_version_unfit():
    raw = _on("dsb2018").model_dump()
    raw["preprocessing"]["channels"] = 3
    raw["detector"]["output_level"] = 1
    raw["detector"]["backbone"] = {"kind": "efficientnet_lite0", "pretrained": True}
    with pytest.raises(ModelError, match="ImageNet"):
        shippable_source(ExperimentConfig.model_validate(raw))
    raw["detector"]["backbone"]["pretrained"] = False
    assert shippable_source(ExperimentConfig.model_validate(raw)) is SOURCES["dsb2018"]
