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
