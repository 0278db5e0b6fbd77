"""Stored pixels of many slices → the voxels of one volume, each slice by its own rescale."""

import numpy as np

from pipeline.sources.dicom.slices import Slice, blamed_on
from pipeline.sources.dicom.stacking import stack_planes


def scaled(slices: list[Slice]) -> np.ndarray:
    """``(channel, i, j, k)`` in HU or whatever the rescale gives: whole numbers where nothing is lost, else float32.

    Whole numbers come in the stored type where no slice has an intercept, else in the smallest signed type of 16 bits
    or more that holds them. In memory ``i`` runs fastest, as in the files. A few slices are decoded at a time.

    Raises:
        SourceError: a slice cannot be decoded (its ``path`` says which), or grey and colour are mixed.
    """
    volume = stack_planes(lambda k: pixels_of(slices[k]), [(one.slope, one.intercept) for one in slices])
    channels = volume[..., None] if volume.ndim == 3 else volume
    return channels.transpose(3, 2, 1, 0)


def pixels_of(one: Slice) -> np.ndarray:
    """The slice's stored values; a fault names its file."""
    with blamed_on(one.path):
        return one.pixels()
