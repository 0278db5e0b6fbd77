import pytest

from tests.stores import copy_store, settings_in


@pytest.fixture
def settings(tmp_path, empty_store):
    return copy_store(empty_store, tmp_path / "home")


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory, empty_store):
    """One store for all tests of a module that only read it."""
    return copy_store(empty_store, tmp_path_factory.mktemp("home"))


@pytest.fixture
def unopened(tmp_path):
    """Settings whose store nobody has opened yet."""
    return settings_in(tmp_path)


@pytest.fixture
def bundle_folder(tmp_path):
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(bytes(range(256)))
    (folder / "bundle.json").write_text("{}")
    return folder
