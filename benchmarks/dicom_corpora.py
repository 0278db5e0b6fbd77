"""What becomes of files that others made: pydicom's test files, and files with known faults.

    python benchmarks/dicom_corpora.py [data folder]

First table: every file of pydicom's wheel ends as volume, non-image or quarantined, each alone in a decoding child;
where pydicom decodes it, too, the voxels must be equal after the rescale (transposed, as documented); of lossy JPEG,
whose decoders may round differently (ITU-T T.83), within 1. Second table: one
row for each row of ``dicom/bad/MANIFEST.csv`` below the data folder (default: CELLSCAN_DATA, else ../shared/data):
fault, what is expected, what came. Ends with status 1 if voxels differ, or a row is not as expected.
"""

import csv
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from pipeline.settings import Settings
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.units import dicom_plan, read_headers
from pipeline.volumes.arrays import StoredArray

# The file declares and holds an even length: whoever wrote it padded the odd one, so a byte of one pixel is zero, and
# nothing in the file says so. A file that declares the odd length itself is refused.
NO_FAULT_TO_SEE = {"dicom/odd_pixels.dcm"}
PASSED, FAILED, OPEN = "pass", "FAIL", "n/a"
_LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")


@dataclass(frozen=True)
class End:
    """What became of one file.

    ``pixels``: "equal" to pydicom's, "within1", "differ", or "theirs" where only pydicom gives any.
    """

    path: Path
    end: str
    reason: str = ""
    pixels: str = ""


def main() -> int:
    warnings.simplefilter("ignore")
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CELLSCAN_DATA")
    data = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    with Decoders(2) as decoders:
        ends = list(pydicom_ends(decoders))
    show_ends(ends)
    bad = data.resolve() / "dicom" / "bad"
    if not (bad / "MANIFEST.csv").is_file():
        print(f"no {bad / 'MANIFEST.csv'}: the table of faults is left out")
        return int(any(one.pixels == "differ" for one in ends))
    rows = list(fault_rows(bad))
    show_faults(rows)
    return int(any(one.pixels == "differ" for one in ends) or any(row[-1] == FAILED for row in rows))


def pydicom_files() -> list[Path]:
    """All files that the installed wheel carries, but for its Python modules."""
    root = Path(pydicom.data.__file__).parent
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))


def pydicom_ends(decoders: Decoders) -> Iterator[End]:
    with tempfile.TemporaryDirectory(prefix="cellscan-corpora-") as folder:
        for number, path in enumerate(pydicom_files()):
            yield _end(path, decoders, str(Path(folder) / str(number)))


def _end(path: Path, decoders: Decoders, out: str) -> End:
    if not _is_dicom(path):
        return End(path, "non-image", "no DICOM file")
    at = {str(path): str(path)}
    plan = dicom_plan(read_headers(at, decoders))
    for refusal in plan.refusals:
        if refusal.outcome == "ignored":
            return End(path, "non-image", refusal.reason)
        return End(path, "quarantined", refusal.reason, _theirs(path))
    if not plan.units:
        return End(path, "non-image", "annotation" if plan.annotations else "directory")
    reply = decoders.one(plan.units[0].request(out, at, {}))
    if "error" in reply:
        return End(path, "quarantined", reply["message"], _theirs(path))
    if not reply["scans"]:
        return End(path, "quarantined", reply["refused"][0]["reason"], _theirs(path))
    return End(path, "volume", "; ".join(reply["scans"][0]["notes"]), _compared(path, reply["scans"]))


def _is_dicom(path: Path) -> bool:
    from pipeline.sources.walk import walk

    return any(file.kind == "dicom" for file in walk(path))


def _theirs(path: Path) -> str:
    try:
        return "theirs" if pydicom.dcmread(path).pixel_array.size else ""
    except Exception:
        return ""


def _compared(path: Path, scans: list[dict[str, Any]]) -> str:
    """Single frames voxel by voxel; of many frames, whose order is theirs, the sorted values."""
    ours = [np.asarray(StoredArray.open(Path(scan["image"]["path"]))) for scan in scans]
    try:
        dataset = pydicom.dcmread(path)
        theirs = _expected(dataset)
    except Exception:
        return ""
    if len(ours) == 1 and int(dataset.get("NumberOfFrames") or 1) == 1:
        (image,) = ours
        planes = (image[..., 0] if image.ndim == 4 else image).transpose(0, 2, 1)
        same = theirs.transpose(2, 0, 1) if theirs.ndim == 3 else theirs[None]
        lossy = dataset.file_meta.TransferSyntaxUID in _LOSSY_JPEG
        return _agreement(planes, same, lossy)
    mine = np.sort(np.concatenate([image.reshape(-1) for image in ours]).astype(np.float64))
    other = np.sort(theirs.reshape(-1).astype(np.float64))
    return "equal" if mine.shape == other.shape and np.allclose(mine, other, rtol=1e-6) else "differ"


def _agreement(ours: np.ndarray, theirs: np.ndarray, lossy: bool) -> str:
    if ours.shape != theirs.shape:
        return "differ"
    off = np.abs(ours.astype(np.float64) - theirs).max()
    return "equal" if off == 0 else "within1" if lossy and off <= 1 else "differ"


def _expected(dataset: pydicom.Dataset) -> np.ndarray:
    """pydicom's pixels ``([frame,] row, column[, 3])`` after palette, rescale and, for pictures, inversion."""
    array = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(array, dataset)
        return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours
    if dataset.SamplesPerPixel == 3:
        return array
    cross_sectional = "ImagePositionPatient" in dataset or "SharedFunctionalGroupsSequence" in dataset
    if dataset.PhotometricInterpretation == "MONOCHROME1" and not cross_sectional:
        top = -1 if dataset.PixelRepresentation else (1 << dataset.BitsStored) - 1
        array = (top - array.astype(np.int64)).astype(array.dtype)
    if "SharedFunctionalGroupsSequence" in dataset:
        shared = dataset.SharedFunctionalGroupsSequence[0]
        if "PixelValueTransformationSequence" in shared:
            step = shared.PixelValueTransformationSequence[0]
            return array * float(step.RescaleSlope) + float(step.RescaleIntercept)
        return array
    values = apply_modality_lut(array, dataset)
    return values.astype(np.float32) if float(dataset.get("RescaleSlope", 1)) != 1 else values


def show_ends(ends: list[End]) -> None:
    for one in ends:
        name = one.path.relative_to(Path(pydicom.data.__file__).parent)
        print(f"{one.end:12} {one.pixels:7} {str(name)[-52:]:52} {one.reason[:110]}")
    counts, pixels = Counter(one.end for one in ends), Counter(one.pixels for one in ends if one.pixels)
    print(f"{len(ends)} files of pydicom {pydicom.__version__}: {dict(counts)}; voxels against pydicom: {dict(pixels)}")


def fault_rows(bad: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """Path, fault, expected, what came, and whether that is right, for every row of the manifest."""
    from pipeline.sources.ingest import ingest

    with tempfile.TemporaryDirectory(prefix="cellscan-corpora-") as name:
        home = Path(name)
        settings = Settings(home, bad.parent, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)
        before = _contents(bad)
        files = ingest(bad, settings).files
        untouched = _contents(bad) == before
        leaks = _leaks(home)
    with (bad / "MANIFEST.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            mine = [
                one for one in files if one.path == row["path"] or one.path.startswith(row["path"].rstrip("/") + "/")
            ]
            came, right = _judged(row, mine, leaks)
            right = right and untouched
            verdict = OPEN if row["path"] in NO_FAULT_TO_SEE else PASSED
            yield row["path"], row["fault"], row["expected"], came, verdict if right else FAILED


def _judged(row: dict[str, str], files: list[Any], leaks: bool) -> tuple[str, bool]:
    taken = [file for file in files if file.volume_ids]
    others = [file for file in files if not file.volume_ids]
    volumes = {volume for file in taken for volume in file.volume_ids}
    remark = next((file.reason for file in taken if file.reason), "")
    reasons = [file.reason for file in others]
    came = (f"{len(volumes)} volume(s) of {len(taken)} file(s)" + (f" ({remark})" if remark else "")) if taken else ""
    refused = Counter(file.reason for file in others if file.outcome != "ignored" or not taken)
    came = "; ".join(filter(None, [came, *(f"{count} refused: {reason}" for reason, count in refused.items())]))
    if any("crashed" in reason or "took longer" in reason for reason in reasons) or not files:
        return came or "nothing came", False
    if row["path"] in NO_FAULT_TO_SEE:
        return f"{came} [no fault to see in the file]", bool(taken)
    return came, all(reasons) and _right(row["expected"], bool(taken), remark, len(volumes), leaks)


def _right(expected: str, taken: bool, remark: str, volumes: int, leaks: bool) -> bool:
    if expected in ("sanitise", "escape in reports", "accept, limit logs"):
        return taken and not leaks
    if expected == "split in two volumes":
        return volumes == 2
    if expected.startswith(("no crash", "accept or reject", "abs or reject")):
        return True
    if expected == "flag; strip preamble":
        return taken and bool(remark)
    if any(word in expected for word in ("warn", "flag", "split")) and not expected.startswith("accept"):
        return not taken or bool(remark) or "split" in expected
    if expected.startswith(("reject", "limit")):
        return not taken
    return taken


def _leaks(home: Path) -> bool:
    """Whether what the hostile headers hold as names came through to any file that was written."""
    needles = (b"<script", b"PID\x00", b"CompressedSamples")
    return any(needle in path.read_bytes() for path in home.rglob("*") if path.is_file() for needle in needles)


def _contents(folder: Path) -> set[tuple[str, int, int]]:
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {(str(path), state.st_size, state.st_mtime_ns) for path, state in found}


def show_faults(rows: list[tuple[str, str, str, str, str]]) -> None:
    print(f"{'':4} {'file':38} {'fault':38} {'expected':30} what came")
    for path, fault, expected, came, verdict in rows:
        print(f"{verdict:4} {path[:38]:38} {fault[:38]:38} {expected[:30]:30} {came[:150]}")
    counts = Counter(row[-1] for row in rows)
    print(
        f"{len(rows)} rows: {counts[PASSED]} as expected, {counts[OPEN]} whose fault is not in the file, "
        f"{counts[FAILED]} not as expected"
    )


if __name__ == "__main__":
    sys.exit(main())
