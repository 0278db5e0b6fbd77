import pytest


@pytest.fixture(autouse=True)
def _computes_bf16(monkeypatch):
    """Half precision is tried whatever this machine's processor: without instructions for it, it is slow, not wrong."""
    monkeypatch.setattr("pipeline.inference.detect.computes_bf16", lambda device: True)
