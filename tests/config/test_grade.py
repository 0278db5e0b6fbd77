import json

import pytest
from pydantic import ValidationError

from pipeline.config import ExperimentConfig
from tests.experiments import tiny_2d, tiny_graded


def graded(**changes: object) -> ExperimentConfig:
    raw = tiny_graded().model_dump()
    raw["data"]["grade"] |= changes
    return ExperimentConfig.model_validate(raw)


def test_an_experiment_from_before_there_were_grades_keeps_its_digest_and_its_json():
    tree = json.loads(tiny_2d().model_dump_json())
    assert "grade" not in tree["data"]
    assert "grade_weight" not in tree["training"]
    assert tiny_2d().digest() == "f795858e31c21f20"


def test_a_grade_and_its_weight_name_another_experiment_and_come_back_from_json():
    heavier = tiny_graded(grade_weight=2.0)
    assert len({tiny_2d().digest(), tiny_graded().digest(), heavier.digest()}) == 3
    assert ExperimentConfig.model_validate_json(heavier.model_dump_json()) == heavier


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 0.0, "b": 0.4}, "some grades must be below 0.5 and some not"),
        ({"a": 0.5, "b": None}, "some grades must be below 0.5 and some not"),
        ({}, "some grades must be below 0.5 and some not"),
        ({"a": 0.0, "b": 1.1}, "less than or equal to 1"),
        ({"a": 0.0, "b": 1.0, "c": float("nan")}, "finite number"),
    ],
)
def test_grades_outside_0_to_1_or_all_on_one_side_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        graded(values=values)


@pytest.mark.parametrize("name", ["score", "Malignancy", "first slice"])
def test_a_name_that_an_export_uses_for_something_else_or_cannot_is_refused(name):
    with pytest.raises(ValidationError, match="name"):
        graded(name=name)
