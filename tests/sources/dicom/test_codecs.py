import contextlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate

from pipeline.errors import SourceError
from pipeline.sources.dicom.header import open_dataset
from pipeline.sources.dicom.pixels import decode, read_slice_file
from tests.sources.dicom.written_codestreams import (
    HTJ2K_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_FIRST_ORDER,
    JPEG_TWELVE_BIT,
    PICTURE,
)
from tests.sources.written import dataset, write

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SYNTAX = "1.2.840.10008.1.2.4."


def _decoded(tmp_path, leaf, stream, **elements):
    made = dataset(PICTURE, **{"BitsStored": 12, "HighBit": 11, **elements})
    made.file_meta.TransferSyntaxUID = SYNTAX + leaf
    made.PixelData = encapsulate([stream])
    made["PixelData"].is_undefined_length = True
    return read_slice_file(write(made, tmp_path / "file.dcm"), ()).pixels()


@pytest.mark.parametrize(
    ("leaf", "stream"),
    [
        ("57", JPEG_LOSSLESS),
        ("70", JPEG_LOSSLESS_FIRST_ORDER),
        ("201", HTJ2K_LOSSLESS),
        ("203", HTJ2K_LOSSLESS),
    ],
)
def test_lossless_streams_of_other_encoders_come_back_exactly(tmp_path, leaf, stream):
    assert np.array_equal(_decoded(tmp_path, leaf, stream), PICTURE)


def test_twelve_bit_jpeg_is_what_dcmtk_decodes(tmp_path):
    pixels = _decoded(tmp_path, "51", JPEG_TWELVE_BIT)
    assert pixels[0].tolist() == [0, 1368, 1380, 34, 1423, 1457, 132, 1545]
    assert pixels.sum() == 140256


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_twelve_bit_files_of_pydicom_are_decoded(name):
    pixels = decode(open_dataset(PYDICOM_FILES / name, pixels=True))
    assert (pixels.dtype, pixels.shape, pixels.min(), pixels.max()) == (np.uint16, (1024, 256), 0, 264)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_lossless_copies_of_one_picture_are_equal(name):
    original = decode(open_dataset(PYDICOM_FILES / "MR_small.dcm", pixels=True))
    assert np.array_equal(decode(open_dataset(PYDICOM_FILES / name, pixels=True)), original)


@pytest.mark.parametrize(("leaf", "stream"), [("51", JPEG_TWELVE_BIT), ("57", JPEG_LOSSLESS), ("201", HTJ2K_LOSSLESS)])
def test_cut_streams_are_refused_or_decoded_but_never_a_crash(tmp_path, leaf, stream):
    for keep in range(2, len(stream), 17):
        with contextlib.suppress(SourceError):
            assert _decoded(tmp_path, leaf, stream[:keep]).shape == (8, 8)
