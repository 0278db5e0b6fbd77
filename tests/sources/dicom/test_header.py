import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.dicom.header import open_dataset, read_header
from tests.sources.dicom.written_elements import EXPLICIT, explicit, part10
from tests.sources.written import dataset, oblique_slice, write

STORAGE = "1.2.840.10008.5.1.4.1.1."
PIXELS = np.zeros((2, 3), np.int16)


def _written(tmp_path, sop_class, **elements):
    return write(dataset(PIXELS, sop_class, **elements), tmp_path / "file.dcm")


@pytest.mark.parametrize(
    ("leaf", "kind"),
    [
        ("2", "slice"),
        ("4", "slice"),
        ("128", "slice"),
        ("2.1", "enhanced"),
        ("2.2", "enhanced"),
        ("4.1", "enhanced"),
        ("4.3", "enhanced"),
        ("4.4", "enhanced"),
        ("128.1", "enhanced"),
        ("130", "enhanced"),
        ("77.1.6", "slide"),
        ("66.4", "annotation"),
        ("481.3", "annotation"),
        ("88.22", "annotation"),
        ("88.33", "annotation"),
        ("88.34", "annotation"),
        ("91.1", "annotation"),
        ("1", "plane"),
        ("1.2.1", "plane"),
        ("7", "plane"),
        ("6.1", "plane"),
        ("77.1.4", "plane"),
        ("481.2", "ignored"),
        ("88.67", "ignored"),
        ("66.5", "ignored"),
    ],
)
def test_kind_follows_the_sop_class(tmp_path, leaf, kind):
    header = read_header(_written(tmp_path, STORAGE + leaf))
    assert (header.kind, header.sop_class) == (kind, STORAGE + leaf)
    assert bool(header.reason) == (kind == "ignored")


def test_identifiers_are_told_but_not_shown(tmp_path):
    path = write(oblique_slice(0, PIXELS, SOPInstanceUID="1.2.9", ConcatenationUID="1.2.8"), tmp_path / "file.dcm")
    header = read_header(path)
    assert header.to_json() == {
        "kind": "slice",
        "series_uid": "1.2.3.4",
        "instance_uid": "1.2.9",
        "study_uid": "1.2.3",
        "sop_class": STORAGE + "2",
        "reason": "",
        "concatenation_uid": "1.2.8",
    }
    assert "1.2.3.4" not in repr(header)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_header_is_the_same_in_every_encoding(tmp_path, syntax):
    made = oblique_slice(0, PIXELS, SOPInstanceUID="1.2.9")
    usual = read_header(write(made, tmp_path / "usual.dcm"))
    made.file_meta.TransferSyntaxUID = syntax
    del made.PixelData
    if syntax == "1.2.840.10008.1.2.2":
        made = _swapped(made)
    assert read_header(write(made, tmp_path / "file.dcm")) == usual


def _swapped(made):
    made.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    return made


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "SOPInstanceUID"])
def test_image_without_identifier_is_refused(tmp_path, keyword):
    made = dataset(PIXELS)
    delattr(made, keyword)
    with pytest.raises(SourceError, match=f"no {keyword}"):
        read_header(write(made, tmp_path / "file.dcm"))


def test_damaged_sop_class_is_refused_without_quoting_it(tmp_path):
    path = tmp_path / "file.dcm"
    path.write_bytes(part10(EXPLICIT, explicit(0x00080016, "UI", b"Doe^Jane")))
    with pytest.raises(SourceError, match="SOPClassUID is no valid identifier") as caught:
        read_header(path)
    assert "Doe" not in str(caught.value)


def test_dicomdir_is_a_directory_by_its_meta_group(tmp_path):
    meta = explicit(0x00020002, "UI", b"1.2.840.10008.1.3.10") + explicit(0x00020010, "UI", EXPLICIT.encode() + b"\0")
    path = tmp_path / "DICOMDIR"
    group = explicit(0x00020000, "UL", struct.pack("<L", len(meta)))
    path.write_bytes(b"\0" * 128 + b"DICM" + group + meta + explicit(0x00041130, "CS", b"DISC"))
    assert read_header(path).kind == "directory"


@pytest.mark.parametrize("content", [b"", b"no DICOM at all", b"\0" * 132, b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_what_is_no_dicom_is_refused(tmp_path, content):
    path = tmp_path / "file.dcm"
    path.write_bytes(content)
    with pytest.raises(SourceError):
        read_header(path)


def test_declared_length_allocates_nothing(tmp_path):
    path = tmp_path / "file.dcm"
    path.write_bytes(
        part10(EXPLICIT, explicit(0x00080016, "UI", b"1.2."), explicit(0x00091010, "OB", b"x", 0xFFFFFFF0))
    )
    tracemalloc.start()
    try:
        open_dataset(path)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_deflate_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.dicom.header.HEADER_BYTES", 1 << 20)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflate.compress(explicit(0x00091010, "OB", b"\0" * (4 << 20))) + deflate.flush()
    path = tmp_path / "file.dcm"
    path.write_bytes(part10("1.2.840.10008.1.2.1.99", bomb))
    assert len(bomb) < 1 << 14
    with pytest.raises(SourceError, match="deflated data grow beyond 1 MiB"):
        read_header(path)


def test_index_of_usual_files_does_without_pydicom(tmp_path):
    path = write(oblique_slice(0, PIXELS), tmp_path / "file.dcm")
    code = (
        "import sys; from pathlib import Path; from pipeline.sources.dicom.header import read_header; "
        "assert read_header(Path(sys.argv[1])).kind == 'slice'; assert 'pydicom' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_meta_group_that_cannot_be_read_is_refused_as_the_files_fault(tmp_path):
    path = tmp_path / "file.dcm"
    path.write_bytes(part10(EXPLICIT, explicit(0x00100020, "LO", b"Doe ")).replace(b"\2\0\2\0UI", b"\2\0\2\0U\r"))
    with pytest.raises(SourceError, match="no SOPClassUID is found"):
        read_header(path)
