"""Model versions: registered once, only after their upload was read back whole, and found again by name."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.errors import ModelError, TrackingError
from pipeline.settings import Settings
from pipeline.starters.shelf import STARTER, Starter, is_starter, starter, there_are
from pipeline.tracking.asking import asking, everything, is_absent
from pipeline.tracking.champions import catch_up
from pipeline.tracking.history import CHAMPION, RUN_TAG, alias_holder, new_history
from pipeline.tracking.model import BUNDLE, save_model
from pipeline.tracking.session import connect, prepare

KEY_TAG = "cellscan.idempotency_key"
DIGEST_TAG = "cellscan.bundle_digest"
MODEL_TAG = "cellscan.logged_model"  # MLflow's SQL store forgets which logged model a version was made from
_UPLOADS = 3
_PAGE = 1000
_DIGITS = 9  # of a version's number, which has 32 bits in the registry
_NAME = r"[\w][\w .-]*"  # without what MLflow's searches would have to quote
_SPEC = re.compile(rf"(?:models:/)?(?P<name>{_NAME})(?:/(?P<version>[0-9]+)|@(?P<alias>[\w.-]+))")


@dataclass(frozen=True)
class VersionRecord:
    """One registered version, or a starter model, which is in no registry and has no run.

    ``bundle_folder`` is on this machine and has the digest that was registered. ``model_id`` names MLflow's logged
    model, to which figures are linked. ``registered_at`` is in UTC.
    """

    name: str
    version: str
    run_id: str
    bundle_folder: Path
    tags: dict[str, str]
    model_id: str | None = None
    registered_at: datetime = datetime(1970, 1, 1)

    @property
    def spec(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def is_starter(self) -> bool:
        return is_starter(self.spec)


def register(
    settings: Settings,
    run_id: str,
    bundle_folder: Path,
    name: str,
    idempotency_key: str,
    tags: Mapping[str, str],
    threshold: float = 0.5,
) -> str:
    """Register a bundle as a new version of ``name``; with a key that was registered before, as that version.

    The files are uploaded, read back and compared by digest before the version exists, so that a version never
    points to half an upload.

    Returns:
        The version's number.

    Raises:
        TrackingError: the upload did not arrive whole in three attempts, or MLflow did not do as asked.
    """
    prepare(settings)
    client = connect(settings)
    (settings.home / "locks").mkdir(parents=True, exist_ok=True)
    with FileLock(settings.home / "locks" / f"register-{name}.lock"), asking(f"to register a version of {name!r}"):
        known = _by_key(client, name, idempotency_key)
        if known is not None:
            return str(known.version)
        model = _uploaded_before(client, run_id, idempotency_key) or _upload(
            client, settings, run_id, bundle_folder, name, idempotency_key, threshold
        )
        _ensure_name(client, name, client.get_run(run_id).info.experiment_id)
        own = {KEY_TAG: idempotency_key, DIGEST_TAG: folder_digest(bundle_folder), MODEL_TAG: model.model_id, **tags}
        # The location and not models:/<id>, which MLflow would look up in its global store and not in this one.
        version = client.create_model_version(
            name, model.artifact_location, run_id=run_id, tags=own, model_id=model.model_id
        ).version
        where = json.dumps([{"name": name, "version": str(version)}])
        client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": where})
    return str(version)


def resolve(settings: Settings, spec: str) -> VersionRecord:
    """``name@champion``, ``name/3`` or either after ``models:/`` → the version, its files on this machine.

    ``starter/nuclei-2d`` is a model that came with cellscan (`pipeline.starters`): MLflow is not asked for it.

    Raises:
        ModelError: no such name, version, alias or starter; the message names those that exist.
        TrackingError: the files are not what was registered, or MLflow does not answer.
    """
    if is_starter(spec):
        return _of_starter(starter(spec))
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ModelError(
            f"a version is written name@champion or name/3, and a starter model {STARTER}/name, got {spec!r}"
        )
    prepare(settings)
    client = connect(settings)
    with asking(f"for version {spec!r}"):
        if match["alias"] == CHAMPION:
            catch_up(settings, client, match["name"])
        version = _find(client, spec, match)
        folder = _fetch(settings, version)
    number, run_id = str(version.version), str(version.run_id)
    registered_at = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).replace(tzinfo=None)
    model_id = version.tags.get(MODEL_TAG)
    return VersionRecord(version.name, number, run_id, folder, dict(version.tags), model_id, registered_at)


def named(settings: Settings, spec: str) -> str:
    """The version that ``spec`` names now, as ``cells/8``; its files are left where they are.

    Raises:
        ModelError: as `resolve`.
        TrackingError: MLflow does not answer.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or match["alias"] is None:
        return resolve(settings, spec).spec
    prepare(settings)
    client = connect(settings)
    with asking(f"for version {spec!r}"):
        if match["alias"] == CHAMPION:
            catch_up(settings, client, match["name"])
        version = _find(client, spec, match)
    return f"{version.name}/{version.version}"


def champion(settings: Settings, name: str) -> str | None:
    """The number of the version that holds ``@champion``, if one does.

    Raises:
        TrackingError: MLflow did not say whether there is one.
    """
    prepare(settings)
    client = connect(settings)
    with asking(f"for {name}@{CHAMPION}"):
        catch_up(settings, client, name)
        return alias_holder(client, name)


def versions(settings: Settings, name: str, tags: Mapping[str, str] | None = None) -> list[str]:
    """Numbers of the versions of ``name``, oldest first; with ``tags``, of those that have them all.

    Raises:
        ModelError: no name of a model has such characters.
    """
    if not re.fullmatch(_NAME, name):
        raise ModelError(f"the name of a model was expected, such as lesions, got {name!r}")
    prepare(settings)
    with asking(f"for the versions of {name!r}"):
        return [str(number) for number in _numbers(connect(settings), name, tags or {})]


def folder_digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files in a folder, as 64 hex digits."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def _upload(
    client: MlflowClient, settings: Settings, run_id: str, bundle_folder: Path, name: str, key: str, threshold: float
) -> LoggedModel:
    experiment = client.get_run(run_id).info.experiment_id
    with tempfile.TemporaryDirectory() as temporary:
        named = Path(temporary) / BUNDLE
        named.symlink_to(bundle_folder.resolve(), target_is_directory=True)
        staged = Path(temporary) / "model"
        save_model(named, staged, threshold)
        expected = folder_digest(staged)
        model = client.create_logged_model(
            experiment, name=name, source_run_id=run_id, tags={KEY_TAG: key}, model_type="detector"
        )
        _upload_whole(client, settings, model, staged, expected)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _upload_whole(client: MlflowClient, settings: Settings, model: LoggedModel, staged: Path, expected: str) -> None:
    came = ""
    for _ in range(_UPLOADS):
        client.log_model_artifacts(model.model_id, str(staged))
        with tempfile.TemporaryDirectory() as back:
            came = folder_digest(_download(settings, model.artifact_location, Path(back)))
        if came == expected:
            return
    raise TrackingError(
        f"model files arrived as {came[:16]} instead of {expected[:16]} in {_UPLOADS} attempts; "
        "check the artifact store's space and connection, and start again"
    )


def _uploaded_before(client: MlflowClient, run_id: str, key: str) -> LoggedModel | None:
    """An upload that was finished without its version; one that was killed half-way is dropped."""
    experiment = client.get_run(run_id).info.experiment_id
    whole = None
    for model in client.search_logged_models([experiment], f"tags.`{KEY_TAG}` = '{key}'"):
        if model.status == LoggedModelStatus.READY:
            whole = model
        else:
            client.delete_logged_model(model.model_id)
    return whole


def _of_starter(found: Starter) -> VersionRecord:
    tags = {DIGEST_TAG: found.digest}
    return VersionRecord(STARTER, found.name, found.digest, found.folder, tags, registered_at=found.made_at)


def _download(settings: Settings, uri: str, target: Path) -> Path:
    """Local artifacts are used where they lie; others are copied into ``target``."""
    path = Path(uri.removeprefix("file://"))
    if path.is_dir():
        return path
    return Path(
        download_artifacts(
            uri, dst_path=str(target), tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri
        )
    )


def _fetch(settings: Settings, version: ModelVersion) -> Path:
    digest = version.tags.get(DIGEST_TAG)
    if digest is None or version.run_id is None:
        raise ModelError(f"version {version.version} of {version.name!r} was not registered by cellscan")
    kept = settings.cache / "versions" / digest[:16]
    if kept.is_dir() and folder_digest(kept) == digest:
        return kept
    uri = _location(connect(settings), version)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = _download(settings, uri, Path(temporary)) / "data" / BUNDLE
        came = folder_digest(bundle)
        if came != digest:
            raise TrackingError(
                f"files of {version.name}/{version.version} have digest {came[:16]}, registered was {digest[:16]}; "
                "the artifact store was changed or is incomplete"
            )
        return _keep(bundle, kept) if bundle.is_relative_to(temporary) else bundle


def _location(client: MlflowClient, version: ModelVersion) -> str:
    if version.model_id:
        return str(client.get_logged_model(version.model_id).artifact_location)
    return str(client.get_model_version_download_uri(version.name, version.version))


def _keep(bundle: Path, kept: Path) -> Path:
    """What came from a server, for the next time; whole or not at all."""
    part = kept.with_name(f".{kept.name}.{os.getpid()}.part")
    shutil.copytree(bundle, part)
    if kept.exists():  # its digest was wrong
        shutil.rmtree(kept)
    part.rename(kept)
    return kept


def _find(client: MlflowClient, spec: str, match: re.Match[str]) -> ModelVersion:
    name, number, alias = match["name"], match["version"], match["alias"]
    if number and len(number) > _DIGITS:
        raise ModelError(_not_there(client, spec, name))
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, number)
    except MlflowException as error:
        if is_absent(error, alias):
            raise ModelError(_not_there(client, spec, name)) from error
        raise


def _not_there(client: MlflowClient, spec: str, name: str) -> str:
    numbers = _numbers(client, name, {})
    if numbers:
        return f"no version {spec!r}; there are {', '.join(f'{name}/{number}' for number in numbers)}"
    models = everything(lambda token: client.search_registered_models(max_results=_PAGE, page_token=token))
    known = ", ".join(sorted(model.name for model in models)) or "none yet"
    return f"no registered model {name!r}; there are: {known} (cellscan train makes one); {there_are()}"


def _numbers(client: MlflowClient, name: str, tags: Mapping[str, str]) -> list[int]:
    """Numbers of all versions of a name that have these tags, oldest first."""
    wanted = " and ".join([f"name = '{name}'", *(f"tags.`{key}` = '{value}'" for key, value in tags.items())])
    found = everything(lambda token: client.search_model_versions(wanted, max_results=_PAGE, page_token=token))
    return sorted(int(version.version) for version in found)


def _by_key(client: MlflowClient, name: str, key: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' and tags.`{KEY_TAG}` = '{key}'")
    return found[0] if found else None


def _ensure_name(client: MlflowClient, name: str, experiment_id: str) -> None:
    try:
        client.get_registered_model(name)
        return
    except MlflowException as error:
        if not is_absent(error):
            raise
    history = new_history(client, name, experiment_id)
    try:
        client.create_registered_model(name, tags={RUN_TAG: history})
    except MlflowException as error:
        client.delete_run(history)
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by another machine, with a history of its own
            raise
