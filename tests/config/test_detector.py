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


RETINANET = {"kind": "retinanet", "anchor_shapes": [[8, 8]]}


def with_detector(detector: dict[str, object]) -> ExperimentConfig:
    return ExperimentConfig.model_validate(tiny_2d().model_dump() | {"detector": detector})


def test_the_centre_kind_need_not_be_named_and_is_not_written_down():
    named = with_detector(tiny_2d().model_dump()["detector"] | {"kind": "centre"})
    assert named == tiny_2d()
    assert "kind" not in json.loads(named.model_dump_json())["detector"]
    assert named.digest() == "f795858e31c21f20"


def test_a_retinanet_names_another_experiment_and_comes_back_from_json():
    config = with_detector(RETINANET)
    assert config.digest() != tiny_2d().digest()
    assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (RETINANET | {"anchor_shapes": [[8, 8, 8]]}, r"detector\.anchor_shapes needs 2 edges"),
        (RETINANET | {"anchor_shapes": [[8, 0.5]]}, r"detector\.anchor_shapes needs 2 edges of at least 1 voxel"),
        (RETINANET | {"anchor_shapes": []}, "anchor_shapes"),
        (RETINANET | {"pyramid_width": 20}, "multiple of 8"),
        (RETINANET | {"decoder_width": 32}, "decoder_width"),
        (RETINANET | {"backbone": {"kind": "resnet", "first_stride": [2, 2, 1]}}, "first_stride needs 2 numbers"),
        ({"kind": "yolo"}, "'yolo'"),
    ],
)
def test_detectors_that_do_not_hold_together_are_refused(detector, message):
    with pytest.raises(ValidationError, match=message):
        with_detector(detector)
