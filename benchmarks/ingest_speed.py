"""From a DICOM folder to one canonical volume: cellscan against what people use, on the same generated series.

`python benchmarks/ingest_speed.py [--slices 141] [--repeats 3] [--series 10 200]`

A chest-like phantom (air, tissue, bone, noise) of 512 x 512 int16 slices is written as files of one CT series. Each
reader turns the folder into one array; the best of several runs counts, files are in the page cache for all alike.
A tool that is not installed is named and left out. Programs are timed with their start, libraries without.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
CT = "1.2.840.10008.5.1.4.1.1.2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slices", type=int, default=141)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--series", type=int, nargs="*", default=[10, 200], help="numbers of small series for memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellscan-bench-") as name:
        folder = Path(name)
        write_series(folder / "ct", chest(options.slices))
        compare(folder, options.repeats)
        for count in options.series:
            memory(folder, count)


def compare(folder: Path, repeats: int) -> None:
    """Print the seconds of every reader, and how many times ours it takes."""
    paths = sorted((folder / "ct").iterdir())
    size = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} slices of 512 x 512, {size / 1e6:.0f} MB, best of {repeats}")
    readers = {
        "raw read": lambda: [path.read_bytes() for path in paths],
        "cellscan, slices into one array": lambda: read_series(paths),
        "cellscan, into the store (decoder's job)": lambda: decode_job(paths, folder),
        "cellscan ingest, whole command, fresh home": lambda: ingest(folder / "ct", folder),
        "dcm2niix -z n, whole command": lambda: dcm2niix(folder, "n"),
        "dcm2niix -z y (compressed, as the store is)": lambda: dcm2niix(folder, "y"),
        "pydicom, stacked and rescaled": lambda: pydicom_stack(paths),
        "SimpleITK": lambda: simpleitk(folder / "ct"),
        "dicom2nifti": lambda: dicom2nifti(folder),
        "MONAI PydicomReader": lambda: monai(folder / "ct"),
    }
    seconds = {name: best(call, repeats) for name, call in readers.items()}
    ours = seconds["cellscan, into the store (decoder's job)"]
    for name, taken in seconds.items():
        print(f"  {name:44} " + ("no figure" if taken is None else f"{taken:7.3f} s   x{taken / ours:5.2f}"))


def best(call: Callable[[], object], repeats: int) -> float | None:
    """Seconds of the fastest run; `None` where the tool is not there."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        try:
            call()
        except (ImportError, FileNotFoundError):
            return None
        except subprocess.CalledProcessError as error:
            print(f"  failed: {error.cmd[0]} ended with {error.returncode}")
            return None
        found.append(time.perf_counter() - start)
    return min(found)


def read_series(paths: list[Path]) -> None:
    from pipeline.sources.dicom.series import load_series

    load_series(paths)


def decode_job(paths: list[Path], folder: Path) -> None:
    from pipeline.sources.decoding.jobs import do

    out = Path(tempfile.mkdtemp(dir=folder))
    do({"job": "series", "paths": [str(path) for path in paths], "out": str(out / "volume")})
    shutil.rmtree(out)


def ingest(root: Path, folder: Path) -> None:
    home = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(_ingest_command(root), env={**os.environ, "CELLSCAN_HOME": str(home)}, check=True)
    shutil.rmtree(home)


def _ingest_command(root: Path) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from pipeline.settings import Settings; "
        "from pipeline.sources.ingest import ingest; "
        "found = ingest(Path(sys.argv[1]), Settings.from_environment()); "
        "assert not found.counts()['quarantined'], found.counts()"
    )
    return [sys.executable, "-c", code, str(root)]


def dcm2niix(folder: Path, compress: str) -> None:
    out = Path(tempfile.mkdtemp(dir=folder))
    command = ["dcm2niix", "-z", compress, "-b", "n", "-o", str(out), str(folder / "ct")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert list(out.glob("*.nii*"))
    shutil.rmtree(out)


def pydicom_stack(paths: list[Path]) -> None:
    import pydicom

    slices = sorted((pydicom.dcmread(path) for path in paths), key=lambda one: one.ImagePositionPatient[2])
    np.stack([one.pixel_array * np.float32(one.RescaleSlope) + np.float32(one.RescaleIntercept) for one in slices])


def simpleitk(folder: Path) -> None:
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    sitk.GetArrayViewFromImage(reader.Execute())


def dicom2nifti(folder: Path) -> None:
    import dicom2nifti

    out = Path(tempfile.mkdtemp(dir=folder))
    dicom2nifti.convert_directory(str(folder / "ct"), str(out), compression=False, reorient=False)
    shutil.rmtree(out)


def monai(folder: Path) -> None:
    from monai.data.image_reader import PydicomReader

    reader = PydicomReader()
    reader.get_data(reader.read(str(folder)))


def memory(folder: Path, count: int) -> None:
    """Print the peak memory of an ingest of ``count`` series of 24 slices, parent and children together."""
    root = folder / f"series-{count}"
    small = chest(24)[:128, :128]
    for number in range(count):
        write_series(root / str(number), small + number % 7, series=number)
    home = Path(tempfile.mkdtemp(dir=folder))
    start = time.perf_counter()
    process = subprocess.Popen(_ingest_command(root), env={**os.environ, "CELLSCAN_HOME": str(home)})
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.02)
    taken = time.perf_counter() - start
    assert process.returncode == 0
    print(f"ingest of {count} series of 24 slices: peak memory {peak / 2**20:.0f} MiB (all processes), {taken:.1f} s")


def _resident(pid: int) -> int:
    """Bytes in memory of a process and its children."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        threads = Path(f"/proc/{pid}/task").iterdir()
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident(int(child)) for child in children)


def chest(slices: int, size: int = 512) -> np.ndarray:
    """Stored values ``(column, row, slice)``, int16, of an elliptic body with lungs and spine: noise as a soft kernel
    leaves it (it compresses about as a real chest does), and padding outside the round field of view.
    """
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    volume = np.empty((slices, size, size), dtype=np.int16)
    for k in range(slices):
        plane = np.full((size, size), -1000.0)
        breath = 0.05 * np.sin(k / 15)
        plane[(x / 0.85) ** 2 + (y / 0.6) ** 2 < 1] = 40
        for side in (-0.4, 0.4):
            plane[((x - side) / (0.28 + breath)) ** 2 + (y / 0.4) ** 2 < 1] = -850
        plane[x**2 + (y - 0.4) ** 2 < 0.01] = 700
        noise = random.normal(0, 40, (size + 2, size + 2))
        plane += (noise[1:-1, 1:-1] * 2 + noise[2:, 1:-1] + noise[:-2, 1:-1] + noise[1:-1, 2:] + noise[1:-1, :-2]) / 6
        plane[x**2 + y**2 > 1] = -2000
        volume[k] = plane + 1024
    return volume.transpose(2, 1, 0)


def write_series(folder: Path, voxels: np.ndarray, series: int = 0) -> None:
    """One explicit little-endian file a slice of ``(column, row, slice)``, with the elements that a scanner writes."""
    folder.mkdir(parents=True)
    for k in range(voxels.shape[2]):
        plane = np.ascontiguousarray(voxels[:, :, k].T)
        made = slice_header(f"1.2.826.0.1.3680043.8.498.{series + 1}", k)
        made.Rows, made.Columns = plane.shape
        made.PixelData = plane.tobytes()
        made.save_as(folder / f"IM{k:05d}.dcm", enforce_file_format=True)


def slice_header(series: str, k: int):
    """A data set without pixels: slice ``k`` of a CT series, in explicit little-endian elements."""
    import pydicom

    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CT
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = f"{series}.{k + 1}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = series + ".1", series, series + ".2"
    made.ImageType, made.Modality, made.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT", "PHANTOM"
    made.PatientID, made.PatientName, made.PatientBirthDate, made.PatientSex = f"P{series[-3:]}", "A^B", "", "O"
    made.StudyDate = made.SeriesDate = made.AcquisitionDate = made.ContentDate = "20200101"
    made.StudyTime = made.SeriesTime = made.AcquisitionTime = made.ContentTime = "101010"
    made.AccessionNumber = made.ReferringPhysicianName = made.StudyID = ""
    made.KVP, made.SliceThickness, made.ConvolutionKernel, made.PatientPosition = 120, 2.5, "B30f", "HFS"
    made.SeriesNumber, made.AcquisitionNumber, made.InstanceNumber = 1, 1, k + 1
    made.ImagePositionPatient = [-175.0, -175.0, 2.5 * k]
    made.ImageOrientationPatient, made.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.684, 0.684]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = -1024, 1, "HU"
    return made


if __name__ == "__main__":
    main()
