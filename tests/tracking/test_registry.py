from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.errors import ModelError, TrackingError
from pipeline.tracking import champions, registry
from pipeline.tracking.history import Change
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import connect


@pytest.fixture
def run_id(settings):
    with tracked_run(settings, "cells", "key", {}) as run:
        return run.run_id


def _register(settings, run_id, bundle_folder, key="first"):
    return registry.register(settings, run_id, bundle_folder, "cells", key, {"cellscan.dims": "2"})


def test_registered_bundle_is_found_by_number_alias_and_uri(settings, run_id, bundle_folder):
    version = _register(settings, run_id, bundle_folder)
    assert registry.champion(settings, "cells") is None
    champions.change_champion(
        settings,
        champions.champions(settings, "cells"),
        Change.now("promoted", version, None, "the first version"),
    )
    for spec in ("cells/1", "cells@champion", "models:/cells/1", "models:/cells@champion"):
        record = registry.resolve(settings, spec)
        assert (record.spec, record.run_id) == ("cells/1", run_id)
        assert record.tags["cellscan.dims"] == "2"
        assert record.tags["cellscan.promotion_reason"] == "the first version"
        names = {path.name: path.read_bytes() for path in record.bundle_folder.iterdir()}
        assert names == {path.name: path.read_bytes() for path in bundle_folder.iterdir()}
    assert registry.champion(settings, "cells") == "1"


def test_retry_makes_no_second_version(settings, run_id, bundle_folder):
    assert _register(settings, run_id, bundle_folder) == "1"
    assert _register(settings, run_id, bundle_folder) == "1"
    assert _register(settings, run_id, bundle_folder, "other") == "2"
    assert registry.versions(settings, "cells") == ["1", "2"]


def test_versions_are_found_by_tag_and_no_odd_name_reaches_the_search(settings, run_id, bundle_folder):
    _register(settings, run_id, bundle_folder)
    assert registry.versions(settings, "cells", {"cellscan.dims": "2"}) == ["1"]
    assert registry.versions(settings, "cells", {"cellscan.dims": "3"}) == []
    with pytest.raises(ModelError, match="the name of a model was expected"):
        registry.versions(settings, "cells' or name = 'x")


def test_upload_killed_before_its_version_is_used_and_not_repeated(settings, run_id, bundle_folder, monkeypatch):
    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", killed)
        with pytest.raises(KeyboardInterrupt):
            _register(settings, run_id, bundle_folder)
    assert _register(settings, run_id, bundle_folder) == "1"
    experiment = connect(settings).get_run(run_id).info.experiment_id
    assert len(connect(settings).search_logged_models([experiment])) == 1


def test_upload_that_arrives_damaged_is_repeated(settings, run_id, bundle_folder, monkeypatch):
    upload, calls = MlflowClient.log_model_artifacts, []

    def lose_a_byte_once(client, model_id, local_dir):
        upload(client, model_id, local_dir)
        calls.append(model_id)
        if len(calls) == 1:
            _weights(client, model_id).write_bytes(b"half")

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", lose_a_byte_once)
    assert _register(settings, run_id, bundle_folder) == "1"
    assert len(calls) == 2


def test_upload_that_never_arrives_whole_is_not_registered(settings, run_id, bundle_folder, monkeypatch):
    upload = MlflowClient.log_model_artifacts

    def lose_a_byte(client, model_id, local_dir):
        upload(client, model_id, local_dir)
        _weights(client, model_id).write_bytes(b"half")

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", lose_a_byte)
    with pytest.raises(TrackingError, match="in 3 attempts"):
        _register(settings, run_id, bundle_folder)
    assert registry.versions(settings, "cells") == []


def test_changed_artifacts_are_refused(settings, run_id, bundle_folder):
    _register(settings, run_id, bundle_folder)
    record = registry.resolve(settings, "cells/1")
    (record.bundle_folder / "weights.safetensors").write_bytes(b"changed")
    with pytest.raises(TrackingError, match="registered was"):
        registry.resolve(settings, "cells/1")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cells", "is written name@champion or name/3, and a starter model starter/name, got 'cells'"),
        ("cells/7", "no version 'cells/7'; there are cells/1"),
        ("cells@champion", "no version 'cells@champion'; there are cells/1"),
        ("cells'x/1", "is written name@champion or name/3"),
        ("cells/" + "1" * 20, "no version 'cells/1{20}'; there are cells/1"),
        ("cells/1\n", "is written name@champion or name/3"),
        ("lesions/1", "no registered model 'lesions'; there are: cells"),
    ],
)
def test_version_that_is_not_there_is_named_with_those_that_are(settings, run_id, bundle_folder, spec, message):
    _register(settings, run_id, bundle_folder)
    with pytest.raises(ModelError, match=message):
        registry.resolve(settings, spec)


@pytest.fixture
def outage(monkeypatch):
    """The registry fails, as a server does that is gone; what was prepared stays prepared."""

    def fail(*arguments, **options):
        raise MlflowException("API request to http://mlflow/api failed with exception: refused\nand more")

    def begin():
        for name in ("get_model_version_by_alias", "get_model_version", "get_registered_model", "search_model_versions",
                     "set_model_version_tag", "set_registered_model_alias", "create_model_version"):  # fmt: skip
            monkeypatch.setattr(MlflowClient, name, fail)

    return begin


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda settings: registry.champion(settings, "cells"), "for cells@champion"),
        (lambda settings: registry.resolve(settings, "cells/1"), "for version 'cells/1'"),
        (lambda settings: registry.resolve(settings, "cells@champion"), "for version 'cells@champion'"),
        (lambda settings: registry.versions(settings, "cells"), "for the versions of 'cells'"),
        (lambda settings: champions.champions(settings, "cells"), "for the champions of 'cells'"),
        (lambda settings: champions.refuse(settings, "cells", "1", "why"), "to keep on cells/1 why"),
        (
            lambda settings: registry.register(settings, "r", Path(), "cells", "k", {}),
            "to register a version of 'cells'",
        ),
    ],
)
def test_an_outage_is_told_and_is_no_absence(settings, run_id, outage, ask, what):
    outage()
    with pytest.raises(TrackingError, match=what) as told:
        ask(settings)
    assert str(told.value).endswith("API request to http://mlflow/api failed with exception: refused")


def test_a_name_that_nobody_registered_has_no_champion(settings):
    assert registry.champion(settings, "nobody") is None


def test_an_outage_while_the_name_is_looked_up_registers_nothing(settings, run_id, bundle_folder, monkeypatch):
    def fail(*arguments):
        raise MlflowException("API request to http://mlflow/api failed")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_registered_model", fail)
        with pytest.raises(TrackingError, match="to register"):
            _register(settings, run_id, bundle_folder)
    assert connect(settings).search_registered_models() == []


def test_all_pages_of_versions_and_names_are_read(settings, run_id, bundle_folder, monkeypatch):
    monkeypatch.setattr(registry, "_PAGE", 1)
    for key in ("first", "second"):
        _register(settings, run_id, bundle_folder, key)
    connect(settings).create_registered_model("other")
    assert registry.versions(settings, "cells") == ["1", "2"]
    with pytest.raises(ModelError, match="there are: cells, other"):
        registry.resolve(settings, "lesions/1")


def test_nothing_is_pickled(settings, run_id, bundle_folder):
    _register(settings, run_id, bundle_folder)
    files = {path.name for path in Path(settings.artifacts).rglob("*") if path.is_file()}
    assert files == {
        "MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "bundle.json", "weights.safetensors"
    }  # fmt: skip


def _weights(client, model_id):
    location = Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    return location / "data" / "bundle" / "weights.safetensors"
