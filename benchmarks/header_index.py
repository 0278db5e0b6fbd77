"""Which series does each of 20,000 small DICOM files belong to? cellscan against pydicom and gdcmscanner.

`python benchmarks/header_index.py [--files 20000]`

The files (3 KB each, 40 a series, 50 series a folder) are written into a temporary folder first. The index is timed in
one process, through cellscan's decoding processes, and as a whole `ingest` of a fresh home; then the same ingest again,
which must only find that nothing changed. A tool that is not installed is named and left out.
"""

import argparse
import io
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

_SERIES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--without-ingest", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellscan-bench-") as name:
        folder = Path(name)
        paths = write_files(folder / "archive", options.files)
        size = sum(path.stat().st_size for path in paths)
        print(f"{len(paths)} files, {size / 1e6:.0f} MB")
        index(paths, folder / "archive")
        if not options.without_ingest:
            twice(folder)


def index(paths: list[Path], root: Path) -> None:
    """Print the seconds of each index, and how many times ours it takes."""
    names = [str(path) for path in paths]
    count = len(paths) // _SERIES
    calls = {
        "cellscan read_header, one process": lambda: by_header(paths),
        "cellscan index, its decoders": lambda: by_decoders(names),
        "pydicom, stop_before_pixels, specific_tags": lambda: by_pydicom(paths),
        "gdcmscanner, whole command": lambda: by_gdcm(root),
    }
    seconds: dict[str, float] = {}
    for name, call in calls.items():
        start = time.perf_counter()
        try:
            found = call()
        except (ImportError, FileNotFoundError):
            print(f"  {name:44} not installed")
            continue
        seconds[name] = time.perf_counter() - start
        assert found == count, f"{name} found {found} series, not {count}"
    ours = seconds["cellscan index, its decoders"]
    for name, taken in seconds.items():
        print(f"  {name:44} {taken:7.2f} s   x{taken / ours:5.2f}   {taken / len(paths) * 1e6:6.0f} us a file")


def by_header(paths: list[Path]) -> int:
    from pipeline.sources.dicom.header import read_header

    return len({read_header(path).series_uid for path in paths})


def by_decoders(names: list[str]) -> int:
    from pipeline.sources.decoding.decoders import Decoders
    from pipeline.sources.units import read_headers

    with Decoders() as decoders:
        return len(
            {header["series_uid"] for header in read_headers(dict(zip(names, names, strict=True)), decoders).values()}
        )


def by_pydicom(paths: list[Path]) -> int:
    import pydicom

    tags = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
    read = (pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags) for path in paths)
    return len({str(dataset.SeriesInstanceUID) for dataset in read})


def by_gdcm(root: Path) -> int:
    tags = [option for tag in ("0008,0016", "0008,0018", "0020,000d", "0020,000e") for option in ("-t", tag)]
    command = ["gdcmscanner", "-r", "-d", str(root), *tags]
    done = subprocess.run([*command, "-p"], check=True, capture_output=True, text=True, errors="replace")
    return len({line.split("[")[1].split("]")[0] for line in done.stdout.splitlines() if "(0020,000e)" in line})


def twice(folder: Path) -> None:
    """Print the seconds of the first and the second ingest of one tree."""
    from pipeline.settings import Settings
    from pipeline.sources.ingest import ingest

    os.environ["CELLSCAN_HOME"] = str(folder / "home")
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        summary = ingest(folder / "archive", Settings.from_environment())
        seconds.append(time.perf_counter() - start)
    print(f"  ingest: first {seconds[0]:.1f} s, again {seconds[1]:.2f} s: x{seconds[0] / seconds[1]:.0f}")
    print(f"  {summary.counts()}")
    shutil.rmtree(folder / "home")


def write_files(root: Path, count: int) -> list[Path]:
    """CT slices of 32 x 32; only identifiers, position and pixels differ, so they are put in their bytes."""
    head, places = _template()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 200, (64, 32 * 32), dtype=np.int16)
    paths = []
    for number in range(count):
        series, k = divmod(number, _SERIES)
        folder = root / f"{series // 50:04d}" / f"{series:06d}"
        if k == 0:
            folder.mkdir(parents=True)
        made = bytearray(head)
        for keyword, text in (
            ("series", f"1{series:07d}"),
            ("instance", f"1{number:07d}"),
            ("position", f"{2.5 * k + 1000:.3f}"),
        ):
            for place in places[keyword]:
                made[place : place + 8] = text.encode()
        path = folder / f"IM{k:04d}"
        path.write_bytes(bytes(made) + (pixels[number % 64] + series).tobytes())
        paths.append(path)
    return paths


def _template() -> tuple[bytes, dict[str, list[int]]]:
    """The bytes of one file up to its pixels, and where the parts that differ lie in them."""
    from ingest_speed import slice_header

    marks = {"series": "44444444", "instance": "77777777", "position": "1234.567"}
    made = slice_header(f"1.2.826.0.1.3680043.8.498.{marks['series']}", 0)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = f"1.2.826.0.1.{marks['instance']}"
    made.ImagePositionPatient = ["-175.0", "-175.0", marks["position"]]
    made.PatientID = marks["series"]
    made.Rows = made.Columns = 32
    made.PixelData = bytes(32 * 32 * 2)
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    data = stream.getvalue()
    found = {name: _places(data, mark.encode()) for name, mark in marks.items()}
    assert all(found.values())
    return data[: -32 * 32 * 2], found


def _places(data: bytes, mark: bytes) -> list[int]:
    found, start = [], data.find(mark)
    while start >= 0:
        found.append(start)
        start = data.find(mark, start + 1)
    return found


if __name__ == "__main__":
    main()
