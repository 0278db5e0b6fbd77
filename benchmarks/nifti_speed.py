"""A gzipped NIfTI of a CT (int16, 512 x 512 x 141): voxels on their grid, with their digest, against nibabel.

    python benchmarks/nifti_speed.py

nibabel is timed twice: ``np.asanyarray(image.dataobj)``, which keeps int16, and ``get_fdata()``, what its manual tells
people to use. Neither digests. Each figure is the best of several turns, taken in turn on the same file.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.sources.images.nifti import load_nifti

SHAPE = (512, 512, 141)
TURNS = 5


def main() -> None:
    """Print seconds and ratios."""
    try:
        import nibabel as nib
    except ImportError:
        print("nibabel is not installed: nothing to compare with")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.nii.gz"
        nib.save(nib.Nifti1Image(_ct(), np.diag([0.7, 0.7, 2.5, 1.0])), path)
        print(f"{path.stat().st_size / 2**20:.0f} MiB, {np.prod(SHAPE) * 2 / 2**20:.0f} MiB inflated")
        (scan,) = load_nifti([path])
        assert np.array_equal(scan.image[0], np.asanyarray(nib.load(path).dataobj)), "not the same voxels"
        ours = {
            "cellscan, voxels": lambda: load_nifti([path])[0].image[...],
            "cellscan, voxels and digest": lambda: load_nifti([path])[0].volume_id,
        }
        peers = {
            "nibabel, np.asanyarray(dataobj)": lambda: np.asanyarray(nib.load(path).dataobj),
            "nibabel, get_fdata()": lambda: nib.load(path).get_fdata(),
        }
        _print(_best({**ours, **peers}), list(ours), list(peers))


def _ct() -> np.ndarray:
    """Smooth shapes with noise in a round field of view, air outside: compresses about as a CT does."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=SHAPE).astype(np.float32), 4)
    hounsfield = smooth / smooth.std() * 300 - 200 + rng.normal(0, 12, SHAPE)
    x, y = np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE[:2]), indexing="ij")
    hounsfield[x**2 + y**2 > 240**2] = -1024
    return np.clip(np.round(hounsfield), -1024, 3071).astype(np.int16)


def _best(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(TURNS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def _print(seconds: dict[str, float], ours: list[str], peers: list[str]) -> None:
    for name, taken in seconds.items():
        print(f"{name:34s} {taken:6.3f} s")
    for mine in ours:
        for peer in peers:
            print(f"{peer} / {mine}: {seconds[peer] / seconds[mine]:.2f} (goal: 2)")


if __name__ == "__main__":
    main()
