"""A whole slide with planted cells, from the DICOM file to the results: is any lost or doubled, and what does it take?

`python benchmarks/slide.py [--pixels 40000] [--cells 200000] [--model-um 0.5] [--folder /tmp]`

A slide of so many pixels to each side (TILED_FULL, JPEG tiles of 512, half a micron per pixel) is mostly tissue with
some glass around it, and holds so many dark marks at known places: at random, and one in ten on purpose where two
windows meet. It is written tile by tile. Another process then ingests it, detects with a stub of a network that sees
marks exactly, through the ledger and the engine as any archive, and exports; its memory counts from its first import to
the last file, its decoders' included. What is missing or doubled is then the tiling's fault. ``--model-um`` has the
stub ask for another resolution, so that the slide is resampled on the way.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

TILE, UM = 512, 0.5
GLASS, TISSUE, MARK = (238, 236, 240), (205, 150, 190), (50, 20, 90)
# Marks are this wide, lie on a lattice of this many pixels, and may be so far from its points.
WIDTH, LATTICE, JITTER = 5, 20, 2
THRESHOLD = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pixels", type=int, default=40_000)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--model-um", type=float, default=UM)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--detect", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.detect:
        detect(given.detect, given.model_um)
        return
    with tempfile.TemporaryDirectory(prefix="cellscan-slide-", dir=given.folder) as name:
        folder = Path(name)
        start = time.perf_counter()
        places = planted(given.pixels, given.cells, round(384 * given.model_um / UM))
        write_slide(folder / "archive" / "slide.dcm", given.pixels, places)
        size = (folder / "archive" / "slide.dcm").stat().st_size
        print(
            f"{given.pixels:,} x {given.pixels:,} pixels with {len(places):,} marks, {size / 2**20:.0f} MiB of JPEG "
            f"({time.perf_counter() - start:.0f} s to write)",
            flush=True,
        )
        command = [sys.executable, __file__, "--detect", str(folder), "--model-um", str(given.model_um)]
        subprocess.run(command, check=True)
        tell(places, folder)


def planted(pixels: int, cells: int, step: int) -> np.ndarray:
    """Middles ``(n, 2)`` as ``(i, j)`` of marks in the tissue, at least ``LATTICE - 2 JITTER`` apart along an axis; one
    in ten within two pixels of a multiple of ``step`` + 64, where the cores of windows meet."""
    rng = np.random.default_rng(0)
    axis = np.arange(LATTICE, pixels - LATTICE, LATTICE)
    lattice = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    lattice = lattice[is_tissue(lattice[:, 0], lattice[:, 1], pixels)]
    if cells > len(lattice):
        raise SystemExit(f"at most {len(lattice)} cells fit into {pixels} x {pixels} pixels, {cells} were asked for")
    near = (np.abs((lattice - 64 + step // 2) % step - step // 2) <= JITTER).any(axis=1)
    seams, others = (rng.permutation(np.flatnonzero(side)) for side in (near, ~near))
    chosen = np.concatenate([seams[: cells // 10], others])[:cells]
    return lattice[chosen] + rng.integers(-JITTER, JITTER + 1, (len(chosen), 2))


def is_tissue(i: np.ndarray, j: np.ndarray, pixels: int) -> np.ndarray:
    """Two pieces, three quarters of the slide."""
    x, y = i / pixels, j / pixels
    return ((x - 0.4) ** 2 / 0.155 + (y - 0.5) ** 2 / 0.24 < 1) | ((x - 0.86) ** 2 / 0.011 + (y - 0.5) ** 2 / 0.2 < 1)


def write_slide(path: Path, pixels: int, places: np.ndarray) -> None:
    """One tile after the other: the offset table is filled in when their lengths are known."""
    from pydicom import dcmwrite

    path.parent.mkdir(parents=True)
    across = -(-pixels // TILE)
    with path.open("wb") as file:
        dcmwrite(file, header(pixels, across**2), enforce_file_format=True)
        file.write(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0" + (4 * across**2).to_bytes(4, "little"))
        table = file.tell()
        file.write(bytes(4 * across**2))
        offsets, first = [], file.tell()
        for tile in tiles(pixels, places):
            offsets.append(file.tell() - first)
            content = jpeg(tile)
            content += b"\0" * (len(content) % 2)
            file.write(b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content)
        file.write(b"\xfe\xff\xdd\xe0\0\0\0\0")
        file.seek(table)
        file.write(np.array(offsets, "<u4").tobytes())


def header(pixels: int, frames: int):
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

    def sequence(**values: object) -> list[Dataset]:
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        return [item]

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    measures = sequence(PixelSpacing=[UM / 1000] * 2, SliceThickness=0.001)
    values: dict[str, object] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientID": "synthetic",
        "Modality": "SM",
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "DimensionOrganizationType": "TILED_FULL",
        "TotalPixelMatrixColumns": pixels,
        "TotalPixelMatrixRows": pixels,
        "TotalPixelMatrixFocalPlanes": 1,
        "NumberOfFrames": frames,
        "OpticalPathSequence": sequence(OpticalPathIdentifier="1"),
        "SharedFunctionalGroupsSequence": sequence(PixelMeasuresSequence=measures),
        "Rows": TILE,
        "Columns": TILE,
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0,
        "PhotometricInterpretation": "YBR_FULL_422",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "LossyImageCompression": "01",
    }
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def tiles(pixels: int, places: np.ndarray) -> Iterator[np.ndarray]:
    """``(row, column, 3)`` each, left to right, then top to bottom."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (2 * TILE, 2 * TILE, 1)).astype(np.float32)
    across = -(-pixels // TILE)
    reach = WIDTH // 2
    lows, highs = (places - reach) // TILE, (places + reach) // TILE
    marks: dict[tuple[int, int], list[int]] = {}
    for number, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        for column in {low[0], high[0]}:
            for row in {low[1], high[1]}:
                marks.setdefault((column, row), []).append(number)
    for row in range(across):
        for column in range(across):
            j, i = np.mgrid[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            tissue = is_tissue(i, j, pixels)[..., None]
            x, y = rng.integers(0, TILE, 2)
            grain = noise[x : x + TILE, y : y + TILE]
            tile = np.where(tissue, np.float32(TISSUE) + 14 * grain, np.float32(GLASS) + grain).clip(0, 255)
            for middle in places[marks.get((column, row), [])] - (column * TILE, row * TILE):
                (left, right), (top, bottom) = ((max(m - reach, 0), max(m + reach + 1, 0)) for m in middle)
                tile[top:bottom, left:right] = MARK
            yield tile.astype(np.uint8)


def jpeg(tile: np.ndarray) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def detect(folder: Path, model_um: float) -> None:
    """The part that is measured: everything a run of ``cellscan detect`` does with a slide."""
    stages: dict[str, tuple[float, float]] = {}
    memory = Memory()

    def staged(name, work):
        start = time.perf_counter()
        result = work()
        stages[name] = (time.perf_counter() - start, memory.peak_mib())
        print(f"{name}: {stages[name][0]:.0f} s, {stages[name][1]:,.0f} MiB at most", flush=True)
        return result

    modules = staged("imports", imported)
    settings = modules.settings_in(folder / "home")
    staged("ingest", lambda: modules.ingest(folder / "archive", settings))
    volumes = modules.volumes_below(folder / "archive", settings)
    detector = modules.detector(model_um)
    fit, _ = modules.nearest_levels(detector.config, modules.suited(detector.config, volumes)[0])
    done = staged("detect", lambda: modules.detect_volumes(detector, "stub/1", fit, settings))
    if done.quarantined or done.unfinished:
        raise SystemExit(f"not done: {done.quarantined or done.unfinished}")
    bundle = SimpleNamespace(classes=detector.config.data.classes, threshold=THRESHOLD, config=detector.config)
    staged("export", lambda: modules.export(fit, done.results, bundle, "stub/1", folder / "out"))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"stages": stages, "windows": done.windows, "background": done.background, "own_mib": own}
    (folder / "told.json").write_text(json.dumps(told))


class Memory:
    """What this process and its children hold together, each page once (PSS), looked at ten times a second."""

    def __init__(self) -> None:
        self._peak = 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def peak_mib(self) -> float:
        """Since it was last asked."""
        peak, self._peak = self._peak, 0.0
        return peak / 1024

    def _look(self) -> None:
        while True:
            held, waiting = 0, [os.getpid()]
            while waiting:
                process = Path("/proc") / str(waiting.pop())
                with contextlib.suppress(OSError):
                    held += int((process / "smaps_rollup").read_text().partition("\nPss:")[2].split()[0])
                    for thread in (process / "task").iterdir():
                        waiting += map(int, (thread / "children").read_text().split())
            self._peak = max(self._peak, held)
            time.sleep(0.1)


def imported() -> SimpleNamespace:
    import dataclasses

    import torch

    from pipeline.config import ExperimentConfig, load_experiment
    from pipeline.detectors.bundle import Bundle
    from pipeline.detectors.centre import CentreDetector
    from pipeline.detectors.maps import Maps
    from pipeline.inference.archive import detect_volumes
    from pipeline.inference.detect import VolumeDetector
    from pipeline.settings import Settings
    from pipeline.sources.ingest import ingest
    from pipeline.stages.detect import suited
    from pipeline.stages.experiment import volumes_below
    from pipeline.stages.export import export
    from pipeline.stages.levels import nearest_levels

    class SeesMarks(CentreDetector):
        """Sees a dark square of a mark's width, best at its middle."""

        width = WIDTH

        def forward(self, image: torch.Tensor) -> Maps:
            dark = -image.mean(dim=1, keepdim=True)
            square = torch.nn.functional.avg_pool2d(dark, self.width, 1, self.width // 2)
            found = torch.nn.functional.max_pool2d(square, self.stride, self.stride)[:, 0]
            shape = (len(image), 1, *found.shape[1:])
            classes, distances = torch.zeros(shape), torch.full((len(image), 4, *found.shape[1:]), 5.0)
            return Maps(torch.where(found > 0.2, 1 + 4 * found, -9.0), classes, distances)

    def settings_in(home: Path) -> Settings:
        home.mkdir()
        url = f"sqlite:///{home / 'catalog.db'}"
        return dataclasses.replace(Settings.from_environment(), home=home, catalog_url=url, device="cpu")

    def detector(model_um: float) -> VolumeDetector:
        configs = Path(__file__).resolve().parents[1] / "configs" / "experiments"
        raw = load_experiment(configs / "demo_cells_2d.yaml").model_dump()
        raw["data"] |= {"in_pixels": False, "classes": ["cell"]}
        raw["preprocessing"]["spacing"] = [model_um / 1000] * 2
        raw["inference"] |= {"window": [512, 512], "overlap": 0.25, "suppression_distance": 0.0}
        config = ExperimentConfig.model_validate(raw)
        network = SeesMarks(config).eval()
        network.width = 2 * int(WIDTH * UM / model_um / 2) + 1
        return VolumeDetector(Bundle(config, network, THRESHOLD), "cpu")

    return SimpleNamespace(
        settings_in=settings_in,
        detector=detector,
        ingest=ingest,
        volumes_below=volumes_below,
        suited=suited,
        nearest_levels=nearest_levels,
        detect_volumes=detect_volumes,
        export=export,
    )


def tell(places: np.ndarray, folder: Path) -> None:
    import pandas as pd
    from scipy.spatial import cKDTree

    table = pd.read_parquet(folder / "out" / "detections.parquet")
    lower, upper = (table[[f"{side}_i_voxel", f"{side}_j_voxel"]].to_numpy() for side in ("lower", "upper"))
    found = (lower + upper) / 2
    apart, nearest = cKDTree(places).query(found, distance_upper_bound=WIDTH)
    at = np.bincount(nearest[np.isfinite(apart)], minlength=len(places))
    told = json.loads((folder / "told.json").read_text())
    seconds, held = (tuple(column) for column in zip(*told["stages"].values(), strict=True))
    print(
        f"{len(found):,} found of {len(places):,} ({len(found) / len(places) - 1:+.3%}, goal within 1 %): "
        f"{(at == 0).sum()} lost, {(at - 1).clip(0).sum()} doubled, {np.isinf(apart).sum()} where there is none; "
        f"{told['background']:,} of {told['windows']:,} windows skipped as background; {sum(seconds):.0f} s, "
        f"{max(*held, told['own_mib']):,.0f} MiB at most, its children's included (goal below 2,048)",
        flush=True,
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
