"""Bundles from before something changed."""

import json

from pipeline.detectors.bundle import Bundle, seeded_network
from tests.made_versions import cells_config


def test_bundle_from_before_policies_set_the_margin_is_still_read(tmp_path):
    config = cells_config()
    Bundle(config, seeded_network(config), 0.5).save(tmp_path)
    path = tmp_path / "experiment.json"
    tree = json.loads(path.read_text())
    tree["evaluation"]["promotion_margin"] = 0.0
    path.write_text(json.dumps(tree))
    assert Bundle.load(tmp_path).config == config


def test_thresholds_of_classes_are_kept_and_older_bundles_have_none(tmp_path):
    config = cells_config()
    Bundle(config, seeded_network(config), 0.5, class_thresholds=(0.25, 0.75)).save(tmp_path / "new")
    Bundle(config, seeded_network(config), 0.5).save(tmp_path / "old")
    assert Bundle.load(tmp_path / "new").class_thresholds == (0.25, 0.75)
    assert "class_thresholds" not in json.loads((tmp_path / "old" / "bundle.json").read_text())
    assert Bundle.load(tmp_path / "old").class_thresholds is None


def test_a_plain_bundle_gives_the_networks_own_answers(tmp_path):
    raw = cells_config().model_dump()
    raw["inference"] |= {"views": "flips", "precision": "auto"}
    raw["augmentation"]["flip"] = [0]
    config = type(cells_config()).model_validate(raw)
    plain = Bundle(config, seeded_network(config), 0.5, class_thresholds=(0.25, 0.75)).plain
    assert (plain.config.inference.views, plain.config.inference.precision, plain.class_thresholds) == (
        "none",
        "32",
        None,
    )
