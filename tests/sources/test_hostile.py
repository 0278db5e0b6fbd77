"""Inputs that an adversary found: each used to be guessed at, lost, or costly, and is refused or kept now."""

import gzip
import io
import struct
import zipfile
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sources import ingest as ingesting
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.dicom import header
from pipeline.sources.dicom.header import open_dataset, read_header
from pipeline.sources.dicom.plane import load_plane
from pipeline.sources.dicom.series import load_series
from pipeline.sources.images.nifti import load_nifti
from pipeline.sources.images.pictures import load_picture
from pipeline.sources.ingest import ingest
from pipeline.sources.opening import Openings
from pipeline.sources.scan import LoadedScan
from pipeline.sources.walk import walk
from tests.sources.written import (
    SECONDARY_CAPTURE,
    dataset,
    oblique_slice,
    oblique_voxels,
    write,
    write_nifti,
    write_oblique_series,
    write_png,
)

_VALUES = (np.arange(48 * 32).reshape(48, 32) % 251).astype(np.uint8)


def _encapsulated(stream, syntax, path, values=_VALUES):
    made = dataset(values, SECONDARY_CAPTURE)
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
    made["PixelData"].is_undefined_length = True
    made["PixelData"].VR = "OB"
    return write(made, path)


def _loaded(path):
    assert read_header(path).kind == "slice"
    return load_series([path])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_file_that_is_cut_anywhere_is_refused_and_never_ignored(archive, syntax):
    made = oblique_slice(0, np.ascontiguousarray(oblique_voxels((4, 3, 1))[:, :, 0].T))
    if syntax == RLELossless:
        made.compress(syntax, generate_instance_uid=False)
    path = write(made, archive / "0.dcm")
    load_series([path])
    whole = path.read_bytes()
    for kept in (*range(1, len(whole), 9), *range(len(whole) - 9, len(whole))):
        path.write_bytes(whole[:kept])
        with pytest.raises(SourceError):
            _loaded(path)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEGLSLossless, imagecodecs.jpegls_encode),
        (JPEG2000Lossless, lambda values: imagecodecs.jpeg2k_encode(values, codecformat="J2K", reversible=True)),
        (JPEGBaseline8Bit, imagecodecs.jpeg8_encode),
    ],
)
@pytest.mark.parametrize("change", [np.transpose, lambda values: values.reshape(24, 64), lambda values: values[:24]])
def test_compressed_picture_of_another_size_than_the_header_says_is_refused(archive, syntax, encode, change):
    load_plane([_encapsulated(encode(_VALUES), syntax, archive / "ok.dcm")])
    stream = encode(np.ascontiguousarray(change(_VALUES)))
    with pytest.raises(SourceError, match="the header calls for 32 x 48 pixels of 1 sample"):
        load_plane([_encapsulated(stream, syntax, archive / "bad.dcm")])


def test_compressed_picture_of_another_family_than_the_transfer_syntax_says_is_refused(archive):
    stream = imagecodecs.jpeg8_encode(_VALUES)
    with pytest.raises(SourceError, match="calls for JPEG 2000, the pixels are JPEG"):
        load_plane([_encapsulated(stream, JPEG2000Lossless, archive / "0.dcm")])


def test_item_that_reaches_beyond_the_pixel_data_is_refused(archive):
    path = _encapsulated(imagecodecs.jpegls_encode(_VALUES), JPEGLSLossless, archive / "0.dcm")
    whole = path.read_bytes()
    at = whole.rindex(b"\xfe\xff\x00\xe0") + 4
    path.write_bytes(whole[:at] + struct.pack("<L", 0xFFFFFFF0) + whole[at + 4 :])
    with pytest.raises(SourceError, match="do not end where the data end"):
        load_plane([path])


@pytest.mark.filterwarnings("ignore")
def test_transfer_syntax_that_is_free_text_is_not_quoted(archive):
    made = dataset(_VALUES, SECONDARY_CAPTURE)
    made.file_meta.TransferSyntaxUID = UID("1.2.Doe^Jane")
    with pytest.raises(SourceError, match=r"^transfer syntax is not one that can be decoded"):
        load_plane([write(made, archive / "0.dcm")])


@pytest.mark.parametrize(
    ("slope", "intercept"), [("1e38", "0"), ("1e308", "0"), ("1e-50", "0"), ("1", "1e30"), ("2", "1e10")]
)
@pytest.mark.parametrize("load", [load_series, load_plane])
def test_rescale_that_float32_cannot_hold_is_refused(archive, slope, intercept, load):
    elements = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    values = np.full((3, 4), 7, np.int16)
    made = oblique_slice(0, values, **elements)
    if load is load_plane:
        made = dataset(values, SECONDARY_CAPTURE, **elements)
    with pytest.raises(SourceError, match="float32 cannot hold or tell apart"):
        load([write(made, archive / "0.dcm")])


@pytest.mark.parametrize(
    "matrix", [np.diag([1e30, 1, 1, 1]), np.diag([1, 1e-30, 1, 1]), np.eye(4) + 1e30 * np.eye(4, k=3)]
)
def test_place_that_no_device_has_is_refused(matrix):
    with pytest.raises(GeometryError, match="no device"):
        LoadedScan(np.zeros((1, 2, 2, 2), np.int16), Grid((2, 2, 2), matrix), "CT")


def test_slices_of_two_frames_of_reference_are_not_one_volume(archive):
    voxels = oblique_voxels()
    for k in range(6):
        elements = {"FrameOfReferenceUID": f"1.2.{k // 3}"}
        write(oblique_slice(k, np.ascontiguousarray(voxels[:, :, k].T), **elements), archive / f"{k}.dcm")
    scans = load_series(sorted(archive.glob("*.dcm")))
    assert [(scan.part, scan.grid.shape[2]) for scan in scans] == [
        ("frame of reference 1 of 2", 3),
        ("frame of reference 2 of 2", 3),
    ]


def test_series_of_two_modalities_is_refused(archive):
    write_oblique_series(archive, oblique_voxels())
    write(oblique_slice(6, np.zeros((8, 12), np.int16), Modality="MR"), archive / "6.dcm")
    with pytest.raises(SourceError, match="2 modalities: CT, MR"):
        load_series(sorted(archive.glob("*.dcm")))


def test_sparse_slices_are_told(archive):
    write_oblique_series(archive, oblique_voxels(), leave_out=(1, 3, 5))
    (scan,) = load_series(sorted(archive.glob("*.dcm")))
    assert scan.notes == ("slices of 4 mm lie 8 mm apart: some may be missing",)


@pytest.mark.parametrize("start", [b"", b"\0" * 128 + b"DICM"])
def test_megabytes_of_zeros_are_not_read_element_by_element(archive, monkeypatch, start):
    path = archive / "0.dcm"
    path.write_bytes(start + bytes(1 << 20))
    monkeypatch.setattr(pydicom, "dcmread", None)
    with pytest.raises(SourceError, match="not DICOM"):
        open_dataset(path)


def test_deflated_bomb_is_refused_before_pydicom_inflates_it(archive, monkeypatch):
    made = oblique_slice(0, np.zeros((3, 4), np.int16))
    made.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    path = write(made, archive / "0.dcm")
    assert read_header(path).kind == "slice"
    start = 144 + struct.unpack("<L", path.read_bytes()[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(path.read_bytes()[:start] + packer.compress(bytes(4 << 20)) + packer.flush())
    monkeypatch.setattr(header, "HEADER_BYTES", 1 << 20)
    monkeypatch.setattr(pydicom, "dcmread", None)
    with pytest.raises(SourceError, match="grow beyond 1 MiB"):
        read_header(path)


def test_volumes_before_a_cut_are_kept_and_their_file_is_quarantined(archive, settings):
    voxels = np.random.default_rng(0).integers(0, 99, (5, 4, 3, 4)).astype(np.int16)
    path = write_nifti(archive / "a.nii", voxels, np.diag([2.0, 2.0, 3.0, 1.0]))
    (archive / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()[:-10]))
    path.unlink()
    (file,) = ingest(archive, settings).files
    assert file.outcome == "quarantined"
    assert file.reason.startswith("3 volume(s) of it are taken, not all: voxel data are cut")
    assert len(file.volume_ids) == 3


def test_nifti_offset_that_is_not_whole_is_refused(archive):
    path = write_nifti(archive / "a.nii", oblique_voxels(), np.eye(4))
    whole = path.read_bytes()
    path.write_bytes(whole[:108] + struct.pack("<f", 352.5) + whole[112:])
    with pytest.raises(SourceError, match="vox_offset must be whole"):
        load_nifti([path])


def test_png_with_fewer_pixels_than_it_states_is_refused(archive):
    path = write_png(archive / "a.png", _VALUES)
    load_picture([path])
    whole = path.read_bytes()
    head = whole[12:20] + struct.pack(">L", 96) + whole[24:29]
    path.write_bytes(whole[:12] + head + struct.pack(">L", zlib.crc32(head)) + whole[33:])
    with pytest.raises(SourceError, match="the PNG states 3168 bytes of pixels, 1584 are there"):
        load_picture([path])


def _zipped(members):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return made.getvalue()


def test_archives_in_an_archive_grow_no_more_than_one_may(archive, tmp_path, decoders):
    inner = _zipped([("zeros.bin", bytes(8 << 20))])  # each below the size from which a ratio is judged
    (archive / "a.zip").write_bytes(_zipped([(f"{n}.zip", inner) for n in range(5)]))
    openings = Openings(tmp_path / "unpacked", decoders)
    opened = openings.open(walk(archive), archive)
    openings.close()
    assert sum(member.size for member in opened.members.values() if member.kind == "other") == 8 << 20
    assert len(opened.refused) == 4


def test_members_of_an_archive_are_not_lost_when_a_run_ends_before_them(archive, settings, monkeypatch):
    png = write_png(archive / "a.png", _VALUES).read_bytes()
    (archive / "a.zip").write_bytes(_zipped([("b.png", png[:-30]), ("c.png", png)]))

    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ingesting._Run, "_read", stopped)
        with pytest.raises(KeyboardInterrupt):
            ingest(archive, settings)
    files = {file.path: file.outcome for file in ingest(archive, settings).files}
    members = {"a.zip/b.png": "quarantined", "a.zip/c.png": "ingested"}
    assert files == {"a.png": "ingested", "a.zip": "ingested", **members}


def test_job_of_a_decoder_that_is_killed_is_done_by_another(archive):
    write_oblique_series(archive, oblique_voxels())
    job = {"job": "index", "paths": [str(path) for path in sorted(archive.glob("*.dcm"))]}
    with Decoders(1) as decoders:
        first = decoders.one(job)
        (child,) = decoders._children
        child._process.kill()
        assert decoders.one(job) == first
