from dataclasses import replace

import pytest

from pipeline.doctor import examine, known_bad, sqlite_path, without_password
from pipeline.settings import Settings


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("CELLSCAN_HOME", str(tmp_path / "home"))
    for name in ("CELLSCAN_CATALOG_URL", "CELLSCAN_DEVICE", "CELLSCAN_DATA", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return Settings.from_environment()


def findings(settings):
    return {finding.topic: finding for finding in examine(settings).findings}


@pytest.mark.parametrize(
    ("package", "version", "why"),
    [
        ("fastapi", "0.154.0", "prefect deploy"),
        ("sqlalchemy", "2.1.9", "no schedule ever fires"),
        ("torch", "2.9.1+cpu", "CVE-2026-24747"),
        ("pyarrow", "26.0.0", "MLflow"),
    ],
)
def test_known_bad_versions_are_named_with_what_happens(package, version, why):
    (fault,) = [text for text in known_bad({package: version}) if why in text]
    assert fault.startswith(f"{package} {version}: ")


def test_the_pinned_versions_are_not_known_to_be_bad():
    assert known_bad({"torch": "2.13.0+cpu", "fastapi": "0.150.0", "pyarrow": "25.0.1", "numpy": "2.4.6"}) == []


def test_a_fresh_machine_is_healthy_and_stays_untouched(settings, tmp_path):
    found = findings(settings)
    assert all(finding.state != "problem" for finding in found.values())
    assert found["catalog"].facts["exists"] is False
    assert found["mlflow"].facts["exists"] is False
    assert found["device"].facts["threads"] >= 1
    assert not (tmp_path / "home").exists()


def test_servers_that_do_not_answer_are_problems(settings):
    # Port 9 is the discard service, which no server of ours listens on.
    away = replace(settings, tracking_uri="http://127.0.0.1:9", prefect_api_url="http://127.0.0.1:9/api")
    found = findings(away)
    assert (found["mlflow"].state, found["prefect"].state) == ("problem", "problem")
    assert found["prefect"].facts == {"url": "http://127.0.0.1:9/api", "reachable": False}


def test_a_folder_as_tracking_store_is_a_problem(settings):
    assert findings(replace(settings, tracking_uri="file:///runs"))["mlflow"].state == "problem"


def test_a_device_that_is_not_there_is_a_problem(settings):
    import torch

    asked = f"cuda:{torch.cuda.device_count()}"
    found = findings(replace(settings, device=asked))["device"]
    assert found.state == "problem"
    assert asked in found.text


def test_a_data_folder_that_is_not_there_is_a_problem(settings, tmp_path):
    assert findings(replace(settings, data=tmp_path / "none"))["data"].state == "problem"


def test_a_broken_catalog_is_a_problem_and_not_a_crash(settings, tmp_path):
    path = tmp_path / "catalog.db"
    path.write_bytes(b"no database")
    assert findings(replace(settings, catalog_url=f"sqlite:///{path}"))["catalog"].state == "problem"


def test_no_password_is_shown():
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert without_password("sqlite:////home/me/catalog.db") == "sqlite:////home/me/catalog.db"


def test_only_sqlite_has_a_file():
    assert str(sqlite_path("sqlite:////home/me/catalog.db")) == "/home/me/catalog.db"
    assert sqlite_path("postgresql://host/db") is None


def test_json_has_every_finding(cellscan):
    outcome = cellscan("doctor", "--json")
    assert outcome.code == 0
    assert outcome.json["healthy"] is True
    topics = [finding["topic"] for finding in outcome.json["findings"]]
    assert topics == ["python", "packages", "device", "home", "data", "mlflow", "prefect", "catalog"]


def test_a_problem_makes_the_command_exit_with_1(cellscan, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    outcome = cellscan("doctor")
    assert outcome.code == 1
    assert "PROBLEM mlflow" in outcome.stdout
