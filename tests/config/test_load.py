"""Experiments from YAML: what would be taken for something else, or silently for nothing, is refused."""

from pathlib import Path

import pytest

from pipeline.config import load_experiment
from pipeline.errors import ConfigError

DEMO = Path(__file__).parents[2] / "configs" / "experiments" / "demo_cells_2d.yaml"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_epochs=true", "training: .*max_epochs must be a number"),
        ("sampling.patch=[true, 8]", "sampling: .*patch must be a number"),
        ("training={max_epochs: 1, max_epochs: 2}", "the value is not valid YAML: key 'max_epochs' is given twice"),
        ("detector.output_level=-1", r"  detector\.output_level: Input should be greater"),
        ("detector={kind: retinanet}", r"  detector\.anchor_shapes: Field required"),
        ("detector=5", r"  detector: Input should be a valid dictionary"),
        ("detector.backbone.blocks=0", r"  detector\.backbone\.blocks: Input should be greater"),
        ("sampling.patch=[0, 8]", r"sampling\.patch\.0: Input should be greater than 0"),
        ("inference.window=[64, 0]", r"inference\.window\.1: Input should be greater than 0"),
        (
            "preprocessing.intensity={kind: window, lower: 255, upper: 0}",
            "must be below intensity.upper, got 255",
        ),
        ("preprocessing.intensity={kind: percentiles, upper: 101}", "upper: .*less than or equal to 100"),
        ("data.classes=[cell, cell]", "data.classes names one twice"),
        ("sampling.patch=[8", "the value is not valid YAML"),
        ("evaluation.promotion_margin=1", r"evaluation\.promotion_margin: Extra inputs are not permitted"),
    ],
)
def test_override_that_does_not_hold_is_refused_by_key(override, message):
    with pytest.raises(ConfigError, match=message):
        load_experiment(DEMO, [override])


def test_number_that_yaml_takes_for_text_and_true_where_it_belongs_are_taken():
    config = load_experiment(DEMO, ["training.learning_rate=1e-3", "augmentation.rotate90=false"])
    assert (config.training.learning_rate, config.augmentation.rotate90) == (0.001, False)


def test_key_that_is_given_twice_is_named_with_its_line(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(f"{DEMO.read_text(encoding='utf-8')}\nname: other\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="key 'name' is given twice"):
        load_experiment(path)


def test_key_that_stands_in_for_a_merged_one_is_given_once(tmp_path):
    text = DEMO.read_text(encoding="utf-8").replace("training:", "training: &t {max_epochs: 1}\nunused:")
    path = tmp_path / "merged.yaml"
    path.write_text(f"{text}\nsame: {{<<: *t, max_epochs: 2}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        load_experiment(path)
    assert "twice" not in str(told.value)


def test_experiment_keeps_the_name_that_it_had_when_the_margin_was_its_own():
    """Else everything that is finished would be trained again."""
    finished = Path(__file__).with_name("finished_experiment.yaml")
    assert load_experiment(finished).digest() == "35cbfbd8028b5c1c"


def test_variations_that_older_experiments_did_not_have_are_not_in_their_digest():
    off = ["augmentation.rotation=0", "augmentation.stain=0", "sampling.class_balance=0", "sampling.each_counts=volume"]
    assert load_experiment(DEMO, off).digest() == load_experiment(DEMO).digest()
    assert load_experiment(DEMO, ["augmentation.rotation=10"]).digest() != load_experiment(DEMO).digest()


@pytest.mark.parametrize(
    "given",
    [
        ["preprocessing.channels=1"],
        ["preprocessing.channels=3", "preprocessing.intensity={kind: window, lower: 10, upper: 255}"],
        ["preprocessing.channels=3", "preprocessing.intensity={kind: percentiles}"],
    ],
)
def test_stain_variation_of_anything_but_light_in_three_colours_is_refused(given):
    with pytest.raises(ConfigError, match=r"augmentation\.stain reads red, green and blue"):
        load_experiment(DEMO, ["augmentation.stain=0.1", *given])
