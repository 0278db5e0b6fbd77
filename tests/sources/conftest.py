import pytest

from pipeline.settings import Settings
from pipeline.sources.decoding.decoders import Decoders


@pytest.fixture
def settings(tmp_path):
    home = tmp_path / "home"
    return Settings(home, tmp_path, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)


@pytest.fixture(scope="session")
def decoders():
    with Decoders(1) as running:
        yield running


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder
