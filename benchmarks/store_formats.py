"""The store's format against zarr and plain ``.npy``: one CT-like volume written, read whole, by patch, by slice."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.volumes.arrays import StoredArray, write_array

PATCH, TIMES = 96, 30


def main() -> None:
    voxels = _volume()
    table = Table(title=f"{voxels.nbytes >> 20} MiB int16, best of 3, seconds (times that of the store)")
    for name in ("format", "MiB on disk", "write", "read whole", f"{TIMES} patches of {PATCH}³", f"{TIMES} slices"):
        table.add_column(name, justify="left" if name == "format" else "right")
    base: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, write, open_ in _formats():
            path = Path(folder) / name
            figures = [_best(lambda w=write, p=path: w(p, voxels))]
            figures += [_best(lambda o=open_, p=path, use=use: use(o(p))) for use in (np.array, _patches, _slices)]
            base = base or figures
            cells = [f"{value:.3f} ({value / own:.1f})" for value, own in zip(figures, base, strict=True)]
            table.add_row(name, f"{_size(path) / 2**20:.1f}", *cells)
    Console(width=120).print(table)


def _formats() -> list[tuple[str, Callable, Callable]]:
    formats: list[tuple[str, Callable, Callable]] = [
        ("cellscan (blosc2, CRC)", write_array, StoredArray.open),
        ("npy, memory map", lambda path, v: np.save(path.open("wb"), v), lambda path: np.load(path, mmap_mode="r")),
    ]
    try:
        import zarr
        from zarr.codecs import BloscCodec, Crc32cCodec
    except ImportError:
        print("zarr is not installed: left out")
        return formats

    def write(path: Path, v: np.ndarray) -> None:
        shutil.rmtree(path, ignore_errors=True)
        codecs = [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()]
        array = zarr.create_array(path, shape=v.shape, dtype=v.dtype, chunks=(1, 128, 128, 32), compressors=codecs)
        array[:] = v

    return [*formats, ("zarr (blosc, CRC)", write, lambda path: zarr.open_array(path, mode="r"))]


def _volume() -> np.ndarray:
    """Smooth tissue with noise in a cylinder of air, as a reader hands it over: ``i`` varies fastest."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    tissue = gaussian_filter(rng.normal(0, 1, (141, 512, 512)).astype(np.float32), (1, 3, 3))
    tissue = tissue / tissue.std() * 400 + rng.normal(0, 12, tissue.shape)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    tissue[:, x**2 + y**2 > 0.8] = -1000
    return tissue.astype(np.int16).T[None]


def _patches(array: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    for _ in range(TIMES):
        i, j, k = (rng.integers(0, n - PATCH) for n in array.shape[1:])
        np.array(array[:, i : i + PATCH, j : j + PATCH, k : k + PATCH])


def _slices(array: np.ndarray) -> None:
    for k in range(TIMES):
        np.array(array[:, :, :, k * 4])


def _best(action: Callable[[], object]) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
