import numpy as np
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from pipeline.sources.dicom.series import load_series
from tests.sources.written import oblique_slice, write

VALUES = np.arange(16, dtype=np.int16).reshape(4, 4)


def _notes(archive, change=None, **elements):
    path = write(oblique_slice(0, VALUES, **elements), archive / "0.dcm")
    if change is not None:
        path.write_bytes(change(path.read_bytes()))
    (scan,) = load_series([path])
    np.testing.assert_array_equal(scan.image[0, :, :, 0].T, VALUES)
    return scan.notes


def test_usual_slice_needs_no_remark(archive):
    assert _notes(archive, StudyDate="20240229") == ()


@pytest.mark.parametrize("program", [b"\x7fELF", b"MZ\x90\0", b"#!/bin/sh"])
def test_preamble_of_a_program_is_told(archive, program):
    (note,) = _notes(archive, lambda data: program + data[len(program) :])
    assert "looks like a program" in note


def test_preamble_of_a_tiff_is_allowed(archive):
    assert _notes(archive, lambda data: b"II*\0" + data[4:]) == ()


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize(("stated", "fine"), [("2004.01.19", True), ("99999999", False), ("20230229", False)])
def test_date_that_is_none_is_told(archive, stated, fine):
    assert _notes(archive, StudyDate=stated) == (() if fine else ("StudyDate is no date",))


@pytest.mark.filterwarnings("ignore:Expected implicit VR")
def test_elements_with_representations_in_an_implicit_file_are_told(archive):
    explicit, implicit = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"
    (note,) = _notes(archive, lambda data: data.replace(explicit, implicit, 1))
    assert "no value representations" in note


def test_truly_implicit_file_needs_no_remark(archive):
    made = oblique_slice(0, VALUES)
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    (scan,) = load_series([write(made, archive / "0.dcm")])
    assert scan.notes == ()


def test_monochrome1_slice_keeps_its_values_and_says_so(archive):
    (note,) = _notes(archive, PhotometricInterpretation="MONOCHROME1")
    assert note.startswith("MONOCHROME1")


def test_technical_attributes_are_kept_and_none_that_identify(archive):
    elements = {"Manufacturer": "Maker", "ConvolutionKernel": "B30f", "BodyPartExamined": "CHEST"}
    path = write(oblique_slice(0, VALUES, InstitutionName="St Elsewhere", **elements), archive / "0.dcm")
    (scan,) = load_series([path])
    assert scan.attributes == {
        "format": "dicom",
        "manufacturer": "Maker",
        "convolution_kernel": "B30f",
        "body_part_examined": "CHEST",
        "slice_thickness_mm": "4.0",
    }
