"""Examine the machine: what is installed, on which device, with which servers and stores. Nothing is changed."""

import os
import platform
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pipeline.settings import Settings

State = Literal["ok", "note", "problem"]
_SERVER_SECONDS = 3
_DISK_NEEDED_GB = 5

# package, versions, what happens with them
_KNOWN_BAD = (
    ("torch", "<2.10", "a checkpoint can run code when it is loaded (CVE-2026-24747)"),
    ("torch", "==2.9.*", "3D convolutions in half precision run 4 times slower"),
    ("fastapi", ">=0.151", "it refuses what Prefect's client sends, so `prefect deploy` fails with 422"),
    ("sqlalchemy", ">=2.1", "Prefect's scheduler fails, so no schedule ever fires"),
    ("pyarrow", ">=26", "MLflow refuses it"),
    ("numpy", "<2", "the array code needs numpy 2"),
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. A problem is what makes a command fail; a note is what is worth knowing."""

    topic: str
    state: State
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return all(finding.state != "problem" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "healthy": self.healthy,
            "findings": [{"topic": f.topic, "state": f.state, "text": f.text, "facts": f.facts} for f in self.findings],
        }


def examine(settings: Settings) -> Diagnosis:
    """Look at everything. No finding raises: what cannot be looked at is a problem of its own."""
    looks: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("device", _device),
        ("home", _home),
        ("data", _data),
        ("mlflow", _mlflow),
        ("prefect", _prefect),
        ("catalog", _catalog),
    )
    return Diagnosis(tuple(_look(topic, function, settings) for topic, function in looks))


def _look(topic: str, function: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return function(settings)
    except Exception as error:
        return Finding(topic, "problem", f"could not be examined: {type(error).__name__}: {error}")


def _python(settings: Settings) -> Finding:
    version = platform.python_version()
    facts = {"python": version, "platform": platform.platform(), "cellscan": metadata.version("cellscan")}
    return Finding("python", "ok", f"cellscan {facts['cellscan']} on Python {version}, {facts['platform']}", facts)


def _packages(settings: Settings) -> Finding:
    installed: dict[str, str | None] = {}
    faults: list[str] = []
    notes: list[str] = []
    for requirement in _requirements():
        version = _version(requirement.name)
        installed[requirement.name] = version
        if version is None:
            (notes if requirement.marker else faults).append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{requirement.name} {version} is outside {requirement.specifier}")
    faults += known_bad({name: version for name, version in installed.items() if version})
    if _torchvision_breaks(installed.get("torch")):
        notes.append("torchvision is installed beside a CPU build of torch, with which it cannot be imported")
    text = f"{sum(version is not None for version in installed.values())} of {len(installed)} packages installed"
    state: State = "problem" if faults else "note" if notes else "ok"
    return Finding("packages", state, "; ".join([text, *faults, *notes]), {"installed": installed})


def known_bad(installed: dict[str, str]) -> list[str]:
    """Why some of these versions must not be used."""
    return [
        f"{name} {installed[name]}: {why}"
        for name, versions, why in _KNOWN_BAD
        if name in installed and SpecifierSet(versions).contains(installed[name], prereleases=True)
    ]


def _requirements() -> list[Requirement]:
    return [Requirement(text) for text in metadata.requires("cellscan") or ()]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torchvision_breaks(torch_version: str | None) -> bool:
    return torch_version is not None and torch_version.endswith("+cpu") and _version("torchvision") is not None


def _device(settings: Settings) -> Finding:
    import torch

    facts: dict[str, Any] = {
        "asked": settings.device,
        "torch": torch.__version__,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_available(),
    }
    if torch.cuda.is_available():
        return _cuda_device(torch, settings, facts)
    if settings.device.startswith("cuda"):
        why = "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        return Finding("device", "problem", f"CELLSCAN_DEVICE is {settings.device}, but {why}", facts)
    return _cpu_device(torch, facts)


def _cuda_device(torch: Any, settings: Settings, facts: dict[str, Any]) -> Finding:
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    facts["devices"] = [{"name": d.name, "memory_gb": round(d.total_memory / 2**30, 1)} for d in devices]
    facts["bf16"] = torch.cuda.is_bf16_supported()
    index = re.fullmatch(r"cuda:(\d+)", settings.device)
    if index and int(index[1]) >= len(devices):
        return Finding("device", "problem", f"CELLSCAN_DEVICE is {settings.device}, of {len(devices)} devices", facts)
    if settings.device == "cpu":
        return _cpu_device(torch, facts)
    names = ", ".join(f"{d['name']} ({d['memory_gb']} GB)" for d in facts["devices"])
    return Finding("device", "ok", f"cuda: {names}; bf16 {'yes' if facts['bf16'] else 'no'}", facts)


def _cpu_device(torch: Any, facts: dict[str, Any]) -> Finding:
    facts["bf16"] = _cpu_has_bf16(torch)
    speed = {True: "native", False: "emulated (slow)", None: "unknown"}[facts["bf16"]]
    return Finding(
        "device", "ok", f"cpu: {facts['threads']} threads of {facts['cpu_count']} cores; bf16 {speed}", facts
    )


def _cpu_has_bf16(torch: Any) -> bool | None:
    """Whether the processor computes in bfloat16 itself; None where this torch cannot tell."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    known = [name for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16") if name in capabilities]
    return any(capabilities[name] for name in known) if known else None


def _home(settings: Settings) -> Finding:
    """Disk space and right to write, at the nearest folder that exists."""
    nearest = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = round(shutil.disk_usage(nearest).free / 1e9, 1)
    facts = {"home": str(settings.home), "exists": settings.home.is_dir(), "free_gb": free}
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        return Finding("home", "problem", f"{settings.home} cannot be written", facts)
    made = "" if facts["exists"] else ", not made yet"
    if free < _DISK_NEEDED_GB:
        return Finding("home", "note", f"{settings.home}{made}; only {free} GB free", facts)
    return Finding("home", "ok", f"{settings.home}{made}; {free} GB free", facts)


def _data(settings: Settings) -> Finding:
    facts = {"data": str(settings.data), "exists": settings.data.is_dir()}
    if not facts["exists"]:
        return Finding("data", "problem", f"CELLSCAN_DATA is {settings.data}, which is no folder", facts)
    return Finding("data", "ok", f"experiments find their data under {settings.data}", facts)


def _mlflow(settings: Settings) -> Finding:
    uri = settings.tracking_uri
    if uri.startswith(("http://", "https://")):
        return _server("mlflow", uri, f"{uri.rstrip('/')}/health", "start it or unset MLFLOW_TRACKING_URI")
    if not uri.partition(":")[2] or uri.startswith("file:"):
        text = f"MLFLOW_TRACKING_URI is {uri}, a folder, which MLflow 3 refuses; use sqlite:////path/mlflow.db"
        return Finding("mlflow", "problem", text, {"uri": uri})
    return _local_store("mlflow", uri, "runs and model versions")


def _prefect(settings: Settings) -> Finding:
    if settings.prefect_api_url is None:
        return Finding("prefect", "ok", "no server named: one is started and stopped for each flow", {"url": None})
    url = settings.prefect_api_url
    return _server("prefect", url, f"{url.rstrip('/')}/health", "start it or unset PREFECT_API_URL")


def _server(topic: str, url: str, address: str, remedy: str) -> Finding:
    facts = {"url": without_password(url), "reachable": True}
    try:
        with urllib.request.urlopen(address, timeout=_SERVER_SECONDS):
            return Finding(topic, "ok", f"server at {facts['url']} answers", facts)
    except (urllib.error.URLError, OSError, ValueError) as error:
        facts["reachable"] = False
        return Finding(topic, "problem", f"no server answers at {facts['url']} ({error}); {remedy}", facts)


def _local_store(topic: str, url: str, what: str) -> Finding:
    shown = without_password(url)
    path = sqlite_path(url)
    facts: dict[str, Any] = {"uri": shown, "local": path is not None}
    if path is None:
        return Finding(topic, "ok", f"{what} in {shown} (not tried)", facts)
    facts["exists"] = path.is_file()
    return Finding(topic, "ok", f"{what} in {path}{'' if facts['exists'] else ' (not made yet)'}", facts)


def _catalog(settings: Settings) -> Finding:
    finding = _local_store("catalog", settings.catalog_url, "catalog")
    if finding.facts.get("exists") is False:
        return finding
    from pipeline.sources.catalog import Catalog

    catalog = Catalog.of(settings)
    try:
        counts = catalog.summary()
    finally:
        catalog.close()
    held = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
    return Finding(
        "catalog", "ok", f"{without_password(settings.catalog_url)} holds {held}", {**finding.facts, **counts}
    )


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL; None for another database."""
    return Path(url.partition(":///")[2]) if url.startswith("sqlite") else None


def without_password(url: str) -> str:
    """The address as it may be shown."""
    password = urlsplit(url).password
    return url if password is None else url.replace(f":{password}@", ":***@")
