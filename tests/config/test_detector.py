import json

import pytest
from pydantic import ValidationError

from pipeline.config import ExperimentConfig
from tests.experiments import tiny_2d, tiny_3d, tiny_star


def changed(config: ExperimentConfig, outline: dict[str, object]) -> ExperimentConfig:
    raw = config.model_dump()
    raw["detector"]["outline"] = outline
    return ExperimentConfig.model_validate(raw)


def test_an_experiment_from_before_there_were_outlines_keeps_its_digest():
    assert changed(tiny_2d(), {"kind": "box"}) == tiny_2d()
    assert "outline" not in json.loads(tiny_2d().model_dump_json())["detector"]
    assert tiny_2d().digest() == "f795858e31c21f20"


def test_outlines_name_another_experiment_and_come_back_from_json():
    assert (
        len({tiny_2d().digest(), tiny_star().digest(), changed(tiny_2d(), {"kind": "star", "rays": 64}).digest()}) == 3
    )
    assert ExperimentConfig.model_validate_json(tiny_star().model_dump_json()) == tiny_star()


@pytest.mark.parametrize("rays", [4, 30, 260])
def test_rays_that_a_quarter_turn_would_not_map_onto_rays_are_refused(rays):
    with pytest.raises(ValidationError, match="rays"):
        changed(tiny_2d(), {"kind": "star", "rays": rays})


def test_stars_in_a_volume_are_refused():
    with pytest.raises(ValidationError, match=r"detector\.outline star needs data\.dims 2"):
        changed(tiny_3d(), {"kind": "star"})
