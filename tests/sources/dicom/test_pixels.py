import hashlib
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from pipeline.errors import SourceError
from pipeline.sources.dicom.header import numbers, open_dataset, text
from pipeline.sources.dicom.pixels import decode, inverted, read_slice_file
from tests.sources.written import dataset, oblique_slice, write

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SHARED_FILES = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom"


def _file(tmp_path, values, **elements):
    return write(dataset(values, **elements), tmp_path / "file.dcm")


def _pydicom(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode(open_dataset(path, pixels=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (4, 2)])
def test_native_pixels_come_back_as_written(tmp_path, dtype, shape):
    ends = np.iinfo(dtype)
    values = np.random.default_rng(0).integers(ends.min, ends.max, shape, dtype, endpoint=True)
    file = read_slice_file(_file(tmp_path, values), ())
    assert file._native is not None
    assert file.pixels().dtype == dtype
    assert np.array_equal(file.pixels(), values)
    assert np.array_equal(file.pixels(), _pydicom(file.path))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_pixels_are_the_same_in_other_encodings(tmp_path, syntax):
    values = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)
    made = dataset(values)
    made.file_meta.TransferSyntaxUID = syntax
    file = read_slice_file(write(made, tmp_path / "file.dcm"), ("Modality",))
    assert np.array_equal(file.pixels(), values)
    assert (file.transfer_syntax, text(file.values, "Modality")) == (syntax, "CT")


def test_big_endian_and_run_length_pixels_are_decoded_by_pydicom(tmp_path):
    values = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)
    made = dataset(values, PixelData=values.astype(">i2").tobytes())
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made["PixelData"].VR = "OW"
    path = tmp_path / "big.dcm"
    pydicom.dcmwrite(path, made, implicit_vr=False, little_endian=False)
    assert np.array_equal(read_slice_file(path, ()).pixels(), values)
    packed = dataset(values)
    packed.compress(RLELossless, generate_instance_uid=False)
    file = read_slice_file(write(packed, tmp_path / "rle.dcm"), ())
    assert file._native is None
    assert np.array_equal(file.pixels(), values)


@pytest.mark.parametrize(
    ("signed", "stored", "raw", "value"),
    [
        (1, 12, 0x0FFF, -1),
        (1, 12, 0x0800, -2048),
        (1, 12, 0x07FF, 2047),
        (1, 12, 0x7001, 1),
        (0, 12, 0xF123, 0x123),
        (0, 12, 0x0FFF, 4095),
        (1, 1, 1, -1),
        (0, 1, 3, 1),
        (0, 16, 0xFFFF, 65535),
    ],
)
def test_bits_beyond_those_stored_are_no_part_of_the_value(tmp_path, signed, stored, raw, value):
    values = np.array([[raw, 0]], np.uint16)
    path = _file(tmp_path, values, BitsStored=stored, HighBit=stored - 1, PixelRepresentation=signed)
    file = read_slice_file(path, ())
    assert file._native is not None
    assert file.pixels().tolist() == [[value, 0]]
    assert np.array_equal(file.pixels(), _pydicom(path))


@pytest.mark.parametrize(
    "elements",
    [
        {"HighBit": 11},
        {"PixelRepresentation": None},
        {"BitsStored": None},
        {"NumberOfFrames": 2, "Rows": 1},
        {"PhotometricInterpretation": "PALETTE COLOR"},
    ],
    ids=lambda elements: next(iter(elements)),
)
def test_unusual_pixel_modules_are_left_to_pydicom(tmp_path, elements):
    path = _file(tmp_path, np.zeros((2, 4), np.uint16), **elements)
    assert read_slice_file(path, ())._native is None


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Rows": 3}, "calls for 24 bytes of pixels, 16 are there"),
        ({"Rows": 1}, "calls for 8 bytes of pixels, 16 are there"),
        ({"PixelData": b""}, "no pixel data"),
        ({"Rows": 0}, "must be at least 1, got 0 and 4"),
        ({"Rows": 65535, "Columns": 65535}, "more than 4 GiB"),
        ({"SamplesPerPixel": 3}, "MONOCHROME2 and 3 samples per pixel do not agree"),
        ({"PhotometricInterpretation": "Doe^Jane"}, "PhotometricInterpretation must be one of"),
        ({"BitsStored": 17}, "BitsStored must be 1 … BitsAllocated, got 17 of 16"),
        ({"PixelData": None}, "ends before or inside its pixel data"),
    ],
)
def test_pixel_module_that_contradicts_itself_is_refused(tmp_path, elements, reason):
    with pytest.raises(SourceError, match=reason) as caught:
        read_slice_file(_file(tmp_path, np.zeros((2, 4), np.int16), **elements), ()).pixels()
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.2, 0.9, 0.999])
def test_cut_file_is_refused(tmp_path, keep):
    path = _file(tmp_path, np.zeros((64, 64), np.int16))
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(SourceError):
        read_slice_file(path, ()).pixels()


def test_trailing_padding_is_no_part_of_the_pixels(tmp_path):
    values = np.arange(8, dtype=np.int16).reshape(2, 4)
    path = _file(tmp_path, values)
    with path.open("ab") as stream:
        stream.write(struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, 6) + b"\0" * 6)
    file = read_slice_file(path, ())
    assert file._native is not None
    assert np.array_equal(file.pixels(), values)


def test_file_that_changed_after_its_header_was_read_is_refused(tmp_path):
    path = _file(tmp_path, np.zeros((2, 4), np.int16))
    file = read_slice_file(path, ())
    with path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(SourceError, match="changed while it was read"):
        file.pixels()


@pytest.mark.parametrize("pixels_first", [True, False])
def test_digest_is_of_the_whole_file(tmp_path, pixels_first):
    path = _file(tmp_path, np.zeros((2, 4), np.int16))
    file = read_slice_file(path, ())
    if pixels_first:
        file.pixels()
    assert file.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_values_are_those_asked_for(tmp_path):
    path = write(oblique_slice(2, np.zeros((2, 4), np.int16)), tmp_path / "file.dcm")
    file = read_slice_file(path, ("PixelSpacing", "EchoTime"))
    assert numbers(file.values, "PixelSpacing", 2) == (2.0, 0.5)
    assert numbers(file.values, "EchoTime", 1) is None
    assert text(file.values, "PatientID") == ""


def _compare(paths):
    """How many files were read here; each must have pydicom's pixels."""
    compared = 0
    for path in paths:
        try:
            file = read_slice_file(path, ())
        except SourceError:
            continue
        if file._native is not None:
            assert np.array_equal(file.pixels(), _pydicom(path)), path.name
            assert file.pixels().dtype == _pydicom(path).dtype
            compared += 1
    return compared


def test_pixels_equal_pydicoms_on_its_own_test_files():
    assert _compare(sorted(PYDICOM_FILES.glob("*.dcm"))) >= 5


@pytest.mark.skipif(not SHARED_FILES.is_dir(), reason="the data folder has no dicom")
def test_pixels_equal_pydicoms_on_public_files():
    assert _compare(sorted(SHARED_FILES.rglob("*.dcm"))) > 100


def test_monochrome1_is_mirrored_within_its_stored_bits():
    assert inverted(np.array([0, 4095], np.uint16), 12, False).tolist() == [4095, 0]
    assert inverted(np.array([-2048, 2047], np.int16), 12, True).tolist() == [2047, -2048]


def test_usual_slices_are_read_without_pydicom(tmp_path):
    path = write(oblique_slice(0, np.ones((2, 3), np.int16)), tmp_path / "file.dcm")
    code = (
        "import sys; from pathlib import Path; from pipeline.sources.dicom.pixels import read_slice_file; "
        "assert read_slice_file(Path(sys.argv[1]), ()).pixels().sum() == 6; assert 'pydicom' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
