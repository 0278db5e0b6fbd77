"""Tests run with the array vocabulary checked: a wrong shape or axis fails where it enters, not where it hurts."""

from jaxtyping import install_import_hook

_CHECKED = ["pipeline.geometry", "pipeline.detections", "pipeline.inference.suppression", "pipeline.datasets.cases"]

install_import_hook(_CHECKED, "beartype.beartype")

pytest_plugins = ["tests.postgresql"]
