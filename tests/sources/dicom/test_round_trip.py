"""Any affine written as DICOM and as NIfTI comes back: the same voxels at the same places."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.sources.dicom.series import load_series
from pipeline.sources.images.nifti import load_nifti
from tests.sources.written import dataset, write, write_nifti

SHAPE = (5, 4, 3)
WITHIN_MM = 1e-3


@st.composite
def _affines(draw):
    """RAS mm: rotated by anything, perhaps mirrored, 0.2 to 8 mm along each axis, up to 800 mm off the centre."""
    turn = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    spacing = np.array(draw(st.tuples(*[st.floats(0.2, 8.0)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * spacing
    affine[:3, draw(st.integers(0, 2))] *= draw(st.sampled_from([1, -1]))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-800, 800)] * 3))
    return affine


def _written_series(folder, voxels, affine_ras):
    """Slices along ``k`` as a scanner writes them: decimal strings of at most 16 characters (PS3.5 6.2, DS)."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    row, column = lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]
    order = np.random.default_rng(0).permutation(voxels.shape[2])
    for number, k in enumerate(order):
        elements = {
            "ImagePositionPatient": _decimals(lps[:3, 3] + k * lps[:3, 2]),
            "ImageOrientationPatient": _decimals([*row, *column]),
            "PixelSpacing": _decimals([spacing[1], spacing[0]]),
            "RescaleSlope": "1",
            "RescaleIntercept": "0",
        }
        write(dataset(np.ascontiguousarray(voxels[:, :, k].T), **elements), folder / f"{number}.dcm")
    return sorted(folder.glob("*.dcm"))


def _decimals(values):
    return [f"{value:.9f}"[:16] for value in values]


def _check(scan, voxels, affine):
    """Every voxel of ``scan`` holds the value that was written for its place in the world."""
    index = np.argwhere(np.ones(scan.grid.shape, dtype=bool)).astype(float)
    there = np.linalg.solve(affine[:3, :3], (scan.grid.to_world(index) - affine[:3, 3]).T).T
    nearest = np.round(there).astype(int)
    off = np.linalg.norm((nearest - there) @ affine[:3, :3].T, axis=1)
    assert off.max() < WITHIN_MM
    assert sorted(map(tuple, nearest)) == sorted(map(tuple, index.astype(int)))
    np.testing.assert_array_equal(scan.image[0].reshape(-1), voxels[tuple(nearest.T)])


@settings(max_examples=100, deadline=None)
@given(affine=_affines(), seed=st.integers(0, 1000))
def test_any_affine_comes_back_from_dicom_and_nifti(affine, seed):
    voxels = np.random.default_rng(seed).integers(-1000, 3000, SHAPE).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        (series,) = load_series(_written_series(Path(folder) / "series", voxels, affine))
        (nifti,) = load_nifti([write_nifti(Path(folder) / "scan.nii.gz", voxels, affine)])
    _check(series, voxels, affine)
    _check(nifti, voxels, affine)
    # Both are read into the same orientation but for the slices' direction, which DICOM does not state.
    assert series.grid.shape == nifti.grid.shape == SHAPE
