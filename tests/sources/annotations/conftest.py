import pytest

from pipeline.sources.decoding.child import answer


class DecodersHere:
    """What `Decoders` does, in this process: these tests are about what is read, and not about who reads it."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, jobs):
        return ((job, answer(job)) for job in list(jobs))


@pytest.fixture(autouse=True)
def decoders_here(monkeypatch):
    monkeypatch.setattr("pipeline.sources.ingest.Decoders", DecodersHere)
