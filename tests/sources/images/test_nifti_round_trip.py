"""Any orthogonal affine, written by nibabel and read here: voxels identical, positions within 1e-3 mm.

A qform's quaternion holds an angle near half a turn to no better than 0.04 degrees, as its numbers are float32.
"""

import nibabel as nib
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.sources.images.nifti import load_nifti

ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)
STEPS = st.tuples(*[st.floats(0.05, 8.0)] * 3)
ORIGIN = st.tuples(*[st.floats(-500, 500)] * 3)
SHAPE = st.tuples(*[st.integers(1, 7)] * 3)
DTYPES = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32])


@settings(max_examples=50, deadline=None)
@given(
    angles=ANGLES,
    steps=STEPS,
    origin=ORIGIN,
    shape=SHAPE,
    dtype=DTYPES,
    mirrored=st.booleans(),
    by_qform=st.booleans(),
    big_endian=st.booleans(),
    packed=st.booleans(),
)
def test_written_volume_comes_back(
    tmp_path_factory, angles, steps, origin, shape, dtype, mirrored, by_qform, big_endian, packed
):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * steps
    affine[:3, 2] *= -1 if mirrored else 1
    affine[:3, 3] = origin
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if big_endian else "<")
    header.set_data_dtype(dtype)
    image = nib.Nifti1Image(voxels, affine, header)
    image.set_sform(affine, code=0 if by_qform else 1)
    image.set_qform(affine, code=1 if by_qform else 0)
    path = tmp_path_factory.mktemp("round") / ("a.nii.gz" if packed else "a.nii")
    nib.save(image, path)
    (scan,) = load_nifti([path])
    assert scan.image.dtype == dtype
    np.testing.assert_array_equal(scan.image[0], voxels)
    corners = np.array([[0, 0, 0], np.array(shape) - 1], dtype=float)
    expected = corners @ affine[:3, :3].T + affine[:3, 3]
    blurred = 8e-4 * np.linalg.norm(np.array(shape) * steps) if by_qform else 0.0
    np.testing.assert_allclose(scan.grid.to_world(corners), expected, atol=1e-3 + blurred)
