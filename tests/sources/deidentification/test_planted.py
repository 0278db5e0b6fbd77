"""Nothing that is planted survives: found by a search of bytes that knows nothing of the rules."""

import zlib
from pathlib import Path

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.sources.deidentification.columns import DEVICE_KEEPS
from pipeline.sources.deidentification.rules import table
from tests.sources.deidentification.planted import planted_slice, survivors

EVERYTHING_CLEANED = {
    "clean_descriptors": True,
    "clean_structured_content": True,
    "clean_graphics": True,
    "retain_safe_private": True,
}


def _bytes(made):
    return Path(made.filename).read_bytes()


def test_search_finds_what_is_planted(tmp_path):
    made, texts = planted_slice()
    made.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    data = (tmp_path / "in.dcm").read_bytes()
    assert len(survivors(data, texts)) == len(texts) > 8000
    assert len(table()) == 652


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=lambda one: one.name
)
def test_nothing_planted_survives_in_any_encoding(clean, syntax):
    made, texts = planted_slice()
    made.file_meta.TransferSyntaxUID = syntax
    data = _bytes(clean(made))
    if syntax == DeflatedExplicitVRLittleEndian:
        # The file meta information is 132 bytes of preamble and prefix, 12 of its length's element, and that length.
        start = 144 + int.from_bytes(data[140:144], "little")
        data = data[:start] + zlib.decompressobj(-15).decompress(data[start:])
    assert survivors(data, texts) == []


def test_nothing_planted_survives_when_texts_are_cleaned(clean):
    made, texts = planted_slice()
    # A report's measured numbers are what cleaning is to keep.
    kept = survivors(_bytes(clean(made, **EVERYTHING_CLEANED)), texts)
    assert {where.partition(":")[0] for where in kept} == {"(0040,A30A) DS"}


def test_shifting_dates_keeps_times_of_day_and_nothing_else(clean):
    made, texts = planted_slice()
    kept = survivors(_bytes(clean(made, dates="shift")), texts)
    assert {where.partition(":")[0].rpartition(" ")[2] for where in kept} == {"TM"}


def test_retaining_what_tells_of_devices_keeps_no_more_than_those(clean):
    made, texts = planted_slice()
    kept = {where[1:10] for where in survivors(_bytes(clean(made, retain_device=True)), texts)}
    tags = {f"{tag >> 16:04X},{tag & 0xFFFF:04X}" for tag in map(tag_for_keyword, DEVICE_KEEPS)}
    assert "0018,1000" in kept  # DeviceSerialNumber
    # What is in its sequences (UDI, transducer) goes by the rules for everything.
    assert {tag for tag in kept if tag in {f"{one >> 16:04X},{one & 0xFFFF:04X}" for one in table()}} <= tags


def test_what_lies_around_the_data_set_goes(clean, tmp_path):
    made, texts = planted_slice()
    made.preamble = b"PLANTED IN PREAMBLE".ljust(128, b"P")
    made.file_meta.SourceApplicationEntityTitle = "PLANTEDAE"
    made.file_meta.ImplementationVersionName = "PLANTEDVERSION"
    made.file_meta.PrivateInformationCreatorUID = "1.2.3.77777.1"
    made.file_meta.PrivateInformation = b"PLANTED INFORMATION "
    made.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    with (tmp_path / "in.dcm").open("ab") as file:
        file.write(b"\xfc\xff\xfc\xffOB\0\0\x10\0\0\0PLANTED PADDING.PLANTED BEHIND THE END")
    cleaned = clean(tmp_path / "in.dcm")
    data = _bytes(cleaned)
    assert data[:128] == bytes(128)
    assert b"planted" not in data.lower()
    assert b"77777" not in data
    assert survivors(data, texts) == []
    assert cleaned.file_meta.MediaStorageSOPInstanceUID == cleaned.SOPInstanceUID
