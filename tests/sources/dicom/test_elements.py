import os
import struct
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.multival import MultiValue

from pipeline.errors import SourceError
from pipeline.sources.dicom import elements
from pipeline.sources.dicom.dictionary import TAGS
from pipeline.sources.dicom.element_values import HandOver
from pipeline.sources.dicom.elements import scan_header, scan_image
from pipeline.sources.dicom.header import numbers, open_dataset, text
from tests.sources.dicom.written_elements import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    explicit,
    implicit,
    item,
    part10,
)

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SHARED_FILES = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom"
ROWS, COLUMNS, SPACING = 0x00280010, 0x00280011, 0x00280030
KEYWORDS = ("PatientID", "ImageType", "PixelSpacing", "Rows", "Columns", "DiffusionBValue")


def _write(tmp_path, *content):
    path = tmp_path / "file.dcm"
    path.write_bytes(b"".join(content))
    return path


def _rows(value):
    return explicit(ROWS, "US", struct.pack("<H", value))


def test_values_come_as_the_header_writes_them(tmp_path):
    path = _write(
        tmp_path,
        part10(
            EXPLICIT,
            explicit(0x00080008, "CS", b"ORIGINAL\\PRIMARY"),
            explicit(0x00100020, "LO", b"A 1 "),
            explicit(0x00189087, "FD", struct.pack("<d", 1000.5)),
            _rows(7),
            explicit(SPACING, "DS", b"0.50\\ 2 "),
        ),
    )
    found = scan_image(path, KEYWORDS)
    assert text(found, "ImageType") == "['ORIGINAL', 'PRIMARY']"
    assert text(found, "PatientID") == "A 1"
    assert text(found, "PixelSpacing") == "[0.50, 2]"
    assert numbers(found, "PixelSpacing", 2) == (0.5, 2.0)
    assert numbers(found, "Rows", 1) == (7.0,)
    assert numbers(found, "DiffusionBValue", 1) == (1000.5,)
    assert text(found, "Columns") == ""
    assert numbers(found, "Columns", 1) is None


def test_identifiers_lose_every_kind_of_padding(tmp_path):
    path = _write(
        tmp_path, part10(EXPLICIT, explicit(0x00080016, "UI", b"1.2.3\x0c"), explicit(0x0020000D, "UI", b"1\0"))
    )
    found = scan_image(path, ("SOPClassUID", "StudyInstanceUID"))
    assert (text(found, "SOPClassUID"), text(found, "StudyInstanceUID")) == ("1.2.3", "1")


def test_implicit_elements_take_their_representation_from_the_dictionary(tmp_path):
    pixels = implicit(0x7FE00010, b"\1\2\3\4")
    head = part10(IMPLICIT, implicit(ROWS, struct.pack("<H", 2)), implicit(SPACING, b"1\\2 "))
    found = scan_image(_write(tmp_path, head, pixels), KEYWORDS)
    assert (found.get("Rows"), numbers(found, "PixelSpacing", 2)) == (2, (1.0, 2.0))
    assert found.pixels == (len(head) + 8, 4)
    assert found.size == len(head) + 12


@pytest.mark.parametrize(
    "sequence",
    [
        explicit(0x00081140, "SQ", item(_rows(9)) + item(b"")),
        explicit(0x00081140, "SQ", item(_rows(9)) + SEQUENCE_END, UNDEFINED),
        explicit(0x00081140, "SQ", item(_rows(9) + ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED),
        explicit(0x00081140, "SQ", SEQUENCE_END, UNDEFINED),
        explicit(
            0x00081140,
            "SQ",
            item(explicit(0x00081140, "SQ", item(_rows(9) + ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED))
            + item(explicit(0x00281201, "OW", b"xxxx") + ITEM_END, UNDEFINED)
            + SEQUENCE_END,
            UNDEFINED,
        ),
        # An unknown sequence keeps its implicit elements in an explicit data set (PS3.5 6.2.2).
        explicit(0x00091010, "UN", item(implicit(ROWS, b"\7\0") + ITEM_END, UNDEFINED) + SEQUENCE_END, UNDEFINED),
        explicit(0x00091010, "UN", b"\xfe\xff\x00\xe0 private bytes that only look like an item"),
        explicit(0x00091010, "OB", b"x" * 100_000),
    ],
    ids=["defined", "undefined", "both undefined", "empty", "nested", "unknown", "private", "longer than a piece"],
)
def test_what_is_inside_a_sequence_or_private_element_is_stepped_over(tmp_path, sequence):
    head = part10(EXPLICIT, sequence, _rows(3))
    found = scan_image(_write(tmp_path, head, explicit(0x7FE00010, "OW", b"abcd")), KEYWORDS)
    assert found.get("Rows") == 3
    assert found.pixels == (len(head) + 12, 4)


@pytest.mark.parametrize("shift", range(26))
def test_elements_across_the_border_of_a_piece_are_read(tmp_path, shift):
    filling = elements._PIECE - len(part10(EXPLICIT)) - 12 - shift
    head = part10(EXPLICIT, explicit(0x00091010, "OB", b"x" * filling), _rows(3))
    path = _write(tmp_path, head, explicit(0x7FE00010, "OW", b"abcd"))
    found = scan_image(path, KEYWORDS)
    assert (found.get("Rows"), found.pixels) == (3, (len(head) + 12, 4))
    assert scan_header(path, KEYWORDS).get("Rows") == 3


def test_header_is_read_no_further_than_needed(tmp_path):
    cut = explicit(0x00290010, "OB", b"cut", 1000)
    path = _write(tmp_path, part10(EXPLICIT, _rows(3), cut))
    assert scan_header(path, ("Rows",), optional=("PatientID",)).get("Rows") == 3
    with pytest.raises(HandOver):
        scan_header(path, ("Rows", "PatientID"))
    with pytest.raises(HandOver):
        scan_image(path, ("Rows",))


def _nested(depth):
    return b"".join(explicit(0x00081140, "SQ", item(b"", UNDEFINED), UNDEFINED) for _ in range(depth))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 128 + b"DICM",
        part10(BIG_ENDIAN, _rows(3)),
        part10("1.2.840.10008.1.2.1.99", b"\x03\x00"),
        part10("1.2.3.4.5", _rows(3)),
        part10(EXPLICIT, _rows(3))[132:],
        part10(EXPLICIT, _rows(3), b"\x28"),
        part10(EXPLICIT, _rows(3), _rows(4)),
        part10(EXPLICIT, explicit(COLUMNS, "US", b"\1\0"), _rows(3)),
        part10(EXPLICIT, explicit(ROWS, "US", b"\3\0\0")),
        part10(EXPLICIT, explicit(ROWS, "SS", b"\3\0")),
        part10(EXPLICIT, explicit(SPACING, "DS", b"1,5\\1,5 ")),
        part10(EXPLICIT, explicit(SPACING, "DS", b"1\\nan ")),
        part10(EXPLICIT, explicit(0x00100020, "LO", b"\x1b$B;3ED ")),
        part10(EXPLICIT, explicit(0x00100020, "LO", b"M\xfcller")),
        part10(EXPLICIT, explicit(0x00100020, "UT", b"x" * 70_000)),
        part10(EXPLICIT, b"\x08\0\x16\0\x1a\0\0\0" + b"1" * 26),
        part10(IMPLICIT, explicit(0x00080008, "CS", b"ORIGINAL")),
        part10(EXPLICIT, explicit(0x7FE00008, "OF", b"abcd")),
        part10(EXPLICIT, explicit(0x00091010, "OB", b"abc", 0xFFFFFFFE)),
        part10(EXPLICIT, explicit(0x7FE00010, "OW", b"abc", 0xFFFFFFF0)),
        part10(IMPLICIT, implicit(0x00091010, b"abcd", UNDEFINED)),
        part10(EXPLICIT, explicit(0x00081140, "SQ", item(b"", 0xFFFFFFF0), UNDEFINED)),
        part10(EXPLICIT, explicit(0x00081140, "SQ", item(_rows(3), UNDEFINED), UNDEFINED)),
        part10(EXPLICIT, explicit(0x00081140, "SQ", _rows(3), UNDEFINED)),
        part10(EXPLICIT, _nested(20_000)),
        part10(EXPLICIT, explicit(0x00081140, "SQ", item(b"") * 100_000, UNDEFINED)),
        part10(EXPLICIT, ITEM_END),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
@pytest.mark.timeout(20)
def test_unusual_or_hostile_files_are_handed_over(tmp_path, content):
    path = _write(tmp_path, content)
    with pytest.raises(HandOver) as caught:
        scan_image(path, KEYWORDS)
    assert not any(word in str(caught.value) for word in ("ORIGINAL", "ller", "1,5"))


def test_endless_elements_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(elements, "_MOST_ELEMENTS", 1000)
    path = _write(tmp_path, part10(EXPLICIT, explicit(0x00081140, "SQ", item(b"") * 2000 + SEQUENCE_END, UNDEFINED)))
    with pytest.raises(SourceError, match="more than 500 elements"):
        scan_image(path, KEYWORDS)


def test_keywords_outside_the_dictionary_are_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="PatientName"):
        scan_image(_write(tmp_path, part10(EXPLICIT)), ("PatientName",))


def test_dictionary_is_the_standards():
    for keyword, (tag, vr) in TAGS.items():
        assert pydicom.datadict.tag_for_keyword(keyword) == tag
        assert pydicom.datadict.dictionary_VR(tag) == vr


def _compare(path):
    """Whether the file was read here; every value must be pydicom's."""
    scans = []
    for scan in (scan_image, scan_header):
        try:
            scans.append(scan(path, tuple(TAGS)))
        except HandOver:
            continue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = open_dataset(path) if scans else None
        for found in scans:
            for keyword in TAGS:
                assert text(found, keyword) == text(dataset, keyword), keyword
                assert _numbers(found, keyword) == _numbers(dataset, keyword), keyword
    return bool(scans)


def _numbers(values, keyword):
    try:
        value = values.get(keyword)
        return numbers(values, keyword, len(value) if isinstance(value, list | MultiValue) else 1)
    except (SourceError, ValueError):
        return "no numbers"


def test_values_equal_pydicoms_on_its_own_test_files():
    files = [path for path in PYDICOM_FILES.rglob("*") if path.is_file() and path.suffix in (".dcm", "")]
    read = [path for path in files if _compare(path)]
    assert len(read) > 0.6 * len(files) > 50


@pytest.mark.skipif(not SHARED_FILES.is_dir(), reason="the data folder has no dicom")
def test_values_equal_pydicoms_on_public_files():
    files = [path for path in SHARED_FILES.rglob("*") if path.is_file() and path.suffix in (".dcm", "")]
    read = [path for path in files if _compare(path)]
    assert len(read) > 0.6 * len(files) > 100
