from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.errors import ModelError, TrackingError
from pipeline.tracking import registry
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
    registry.set_champion(settings, "cells", version, "the first version")
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
        ("cells", "is written name@champion or name/3, got 'cells'"),
        ("cells/7", "no version 'cells/7'; there are cells/1"),
        ("cells@champion", "no version 'cells@champion'; there are cells/1"),
        ("lesions/1", "no registered model 'lesions'; there are: cells"),
    ],
)
def test_version_that_is_not_there_is_named_with_those_that_are(settings, run_id, bundle_folder, spec, message):
    _register(settings, run_id, bundle_folder)
    with pytest.raises(ModelError, match=message):
        registry.resolve(settings, spec)


def test_nothing_is_pickled(settings, run_id, bundle_folder):
    _register(settings, run_id, bundle_folder)
    files = {path.name for path in Path(settings.artifacts).rglob("*") if path.is_file()}
    assert files == {
        "MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "bundle.json", "weights.safetensors"
    }  # fmt: skip


def _weights(client, model_id):
    location = Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    return location / "data" / "bundle" / "weights.safetensors"
