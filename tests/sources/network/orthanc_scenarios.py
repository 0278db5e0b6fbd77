"""What is played against a real Orthanc, inside a network namespace of its own: see test_orthanc.py.

Run as ``python -m tests.sources.network.orthanc_scenarios NAME FOLDER``; it fails by an exception.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np

from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.stages.ingest import ingest_archive
from tests.sources.written import write_oblique_series

USER, PASSWORD = "reader", "secret"
ADDRESS = "http://127.0.0.1:8042/dicom-web"
SLICES = 80


class Orthanc:
    """A server that can be killed and started again on the same store."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._configuration = folder / "orthanc.json"
        self._log = folder / "orthanc.log"
        self._configuration.write_text(
            json.dumps(
                {
                    "StorageDirectory": str(folder / "store"),
                    "IndexDirectory": str(folder / "store"),
                    "HttpPort": 8042,
                    "DicomPort": 4242,
                    "DicomAet": "ORTHANC",
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": {USER: PASSWORD},
                    "Plugins": ["/usr/share/orthanc/plugins"],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                    "DicomModalities": {"cellscan": ["CELLSCAN", "127.0.0.1", 11112]},
                    "SynchronousCMove": True,
                }
            )
        )
        self.start()

    def start(self) -> None:
        log = self._log.open("ab")
        self._process = subprocess.Popen(["Orthanc", str(self._configuration)], stdout=log, stderr=log)
        until(lambda: httpx.get("http://127.0.0.1:8042/system", auth=(USER, PASSWORD)).status_code == 200)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def push_all() -> int:
    """Have Orthanc send every study to ``cellscan listen`` by C-STORE; the HTTP status."""
    studies = httpx.get("http://127.0.0.1:8042/studies", auth=(USER, PASSWORD)).json()
    where = "http://127.0.0.1:8042/modalities/cellscan/store"
    return httpx.post(where, json=studies, auth=(USER, PASSWORD), timeout=60).status_code


def until(what, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if what():
                return
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def stow(files: list[Path]) -> None:
    """Store files by STOW-RS, twenty a request."""
    for start in range(0, len(files), 20):
        parts = [
            b"--part\r\nContent-Type: application/dicom\r\n\r\n" + f.read_bytes() for f in files[start : start + 20]
        ]
        body = b"\r\n".join([*parts, b"--part--"])
        kind = 'multipart/related; type="application/dicom"; boundary=part'
        answer = httpx.post(f"{ADDRESS}/studies", content=body, headers={"Content-Type": kind}, auth=(USER, PASSWORD))
        answer.raise_for_status()


def series(folder: Path, seed: int, study: str, slices: int = SLICES) -> np.ndarray:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, (16, 12, slices)).astype(np.int16)
    write_oblique_series(folder, voxels, SeriesInstanceUID=f"{study}.1", StudyInstanceUID=study)
    return voxels


def settings_in(folder: Path) -> Settings:
    os.environ |= {"CELLSCAN_DICOMWEB_USER": USER, "CELLSCAN_DICOMWEB_PASSWORD": PASSWORD}
    home = folder / "home"
    return Settings(home, folder, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)


def check_whole(settings: Settings, root: Path, *expected: np.ndarray) -> None:
    """Every slice is here once, and the volumes are what was sent."""
    files = Counter(Catalog.of(settings).summary())
    assert files["ingested"] == sum(voxels.shape[2] for voxels in expected), files
    assert files["quarantined"] == files["ignored"] == 0, files
    assert len(list(root.rglob("*.dcm"))) == files["ingested"]
    volumes = {volume.array[0].tobytes() for volume in Catalog.of(settings).volumes(root)}
    assert volumes == {voxels.tobytes() for voxels in expected}


def dicomweb(folder: Path) -> None:
    """A study is fetched and ingested; the second time nothing is fetched; a second study costs itself only."""
    settings, orthanc = settings_in(folder), Orthanc(folder / "orthanc")
    first, second = (series(folder / str(n), n, f"1.2.{n}", 30) for n in (3, 4))
    stow(sorted((folder / "3").glob("*.dcm")))
    summary = ingest_archive(ADDRESS, settings)
    assert summary.counts()["ingested"] == 30
    check_whole(settings, summary.root, first)
    assert ingest_archive(ADDRESS, settings).unchanged == 30
    stow(sorted((folder / "4").glob("*.dcm")))
    assert ingest_archive(ADDRESS, settings, where={"StudyInstanceUID": "1.2.9"}).counts()["files"] == 30
    again = ingest_archive(ADDRESS, settings)
    assert again.unchanged == 30
    check_whole(settings, again.root, first, second)
    orthanc.kill()


def server_killed(folder: Path) -> None:
    """The server dies in the middle of a fetch and comes back: the run waits for it and loses nothing."""
    settings, orthanc = settings_in(folder), Orthanc(folder / "orthanc")
    voxels = series(folder / "series", 3, "1.2.3")
    stow(sorted((folder / "series").glob("*.dcm")))
    killed: list[int] = []

    def progress(done: int, total: int, what: str) -> None:
        if what == "instances fetched" and done == SLICES // 3:
            orthanc.kill()
            killed.append(done)
            orthanc.start()

    summary = ingest_archive(ADDRESS, settings, progress)
    assert killed
    assert summary.unfetched == {}
    check_whole(settings, summary.root, voxels)
    orthanc.kill()


def client_killed(folder: Path) -> None:
    """This side dies in the middle of a fetch: the same command goes on, and fetches only what is missing."""
    settings, orthanc = settings_in(folder), Orthanc(folder / "orthanc")
    voxels = series(folder / "series", 3, "1.2.3")
    stow(sorted((folder / "series").glob("*.dcm")))
    command = [sys.executable, "-m", "pipeline.cli", "ingest", ADDRESS, "--home", str(settings.home)]
    running = subprocess.Popen(command)
    remote = settings.home / "remote"
    until(lambda: len(list(remote.rglob("*.dcm"))) > 10)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = {path: path.stat().st_mtime_ns for path in remote.rglob("*.dcm")}
    assert len(before) < SLICES
    summary = ingest_archive(ADDRESS, settings)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    check_whole(settings, summary.root, voxels)
    orthanc.kill()


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "pipeline.cli", "listen", "--quiet", "1", "--home", str(settings.home)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "listens" in process.stderr.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def pushed(folder: Path) -> None:
    """A push is cut by a kill of the listener, and sent again: every instance is here once, and ingested."""
    settings, orthanc = settings_in(folder), Orthanc(folder / "orthanc")
    voxels = series(folder / "series", 3, "1.2.3")
    stow(sorted((folder / "series").glob("*.dcm")))
    received = settings.home / "received"
    with listening(settings) as process:
        sender = threading.Thread(target=push_all)
        sender.start()
        until(lambda: len(list(received.rglob("*.dcm"))) > 10)
        process.kill()
        sender.join()
    arrived = len(list(received.rglob("*.dcm")))
    assert 10 < arrived < SLICES
    with listening(settings):
        assert push_all() == 200
        until(lambda: Catalog.of(settings).summary()["ingested"] == SLICES)
    check_whole(settings, received, voxels)
    orthanc.kill()


def sent(folder: Path) -> None:
    """What was found goes into its scan's study by STOW-RS and C-STORE, twice, and comes back byte for byte equal."""
    from pipeline.stages.send import send_files
    from tests.detections.dicom.made import on_series, on_slide

    settings, orthanc = settings_in(folder), Orthanc(folder / "orthanc")
    out = folder / "out"
    out.mkdir()
    report, slices = on_series(folder / "series")
    objects, slide = on_slide(folder / "slide.dcm")
    for number, made in enumerate([report, *objects]):
        made.save_as(out / f"{made.Modality}{number}.dcm", enforce_file_format=True)
    assert [path.stem for path in sorted(out.iterdir())] == ["ANN2", "SEG1", "SR0"]
    stow([*slices, slide])
    assert send_files([out], ADDRESS, settings).counts() == {"stored": 3}
    assert send_files([out], ADDRESS, settings).counts() == {"before": 3}
    assert send_files([out], "dicom://ORTHANC@127.0.0.1:4242", settings).counts() == {"stored": 3}
    for path in out.iterdir():
        assert returned(path.stem[:-1])[132:] == path.read_bytes()[132:], f"Orthanc gives back another {path.stem}"
    orthanc.kill()


def returned(modality: str) -> bytes:
    """The only instance of this modality, as Orthanc gives it."""
    with httpx.Client(base_url="http://127.0.0.1:8042", auth=(USER, PASSWORD)) as client:
        series = client.get("/series", params={"expand": ""}).json()
        ((instance,),) = [one["Instances"] for one in series if one["MainDicomTags"]["Modality"] == modality]
        return client.get(f"/instances/{instance}/file").content


if __name__ == "__main__":
    {
        "sent": sent,
        "dicomweb": dicomweb,
        "server_killed": server_killed,
        "client_killed": client_killed,
        "pushed": pushed,
    }[sys.argv[1]](Path(sys.argv[2]))
