"""One file: what is replaced, what stays, and what is refused."""

import filecmp
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, generate_uid

from pipeline.errors import SourceError
from pipeline.sources.deidentification.dicom_file import Refused, deidentify_dicom
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.pseudonyms import Pseudonyms
from pipeline.sources.deidentification.rules import Rules
from tests.sources.written import SECONDARY_CAPTURE, dataset, oblique_slice

VALUES = np.arange(64, dtype=np.int16).reshape(8, 8)
CT_UID = "1.2.840.10008.5.1.4.1.1.2"


def item(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def slice_(**elements):
    return oblique_slice(0, VALUES, **elements)


def test_pixels_and_geometry_stay_byte_for_byte(clean):
    made = slice_()
    cleaned = clean(made)
    assert cleaned.PixelData == made.PixelData
    assert cleaned.ImagePositionPatient == made.ImagePositionPatient
    assert cleaned.ImageOrientationPatient == made.ImageOrientationPatient


def test_compressed_frames_stay_byte_for_byte(clean):
    made = slice_()
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    made.PixelData = encapsulate([b"\xff\x4fwhatever the stream is", b"second fragment."])
    made["PixelData"].is_undefined_length = True
    cleaned = clean(made)
    assert cleaned.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert cleaned.PixelData == made.PixelData


def test_big_endian_stays_big_endian(clean):
    path = Path(get_testdata_file("MR_small_bigendian.dcm"))
    made, cleaned = pydicom.dcmread(path), clean(path)
    assert cleaned.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    assert (cleaned.Rows, cleaned.PixelData) == (made.Rows, made.PixelData)
    assert cleaned.PatientName != made.PatientName


def test_a_uid_is_the_same_wherever_it_stands_and_classes_stay(clean):
    reference = item(ReferencedSOPClassUID=CT_UID, ReferencedSOPInstanceUID="1.2.3.4.7")
    first = slice_(SOPInstanceUID="1.2.3.4.7", FrameOfReferenceUID="1.2.3.9")
    second = slice_(FrameOfReferenceUID="1.2.3.9", ReferencedImageSequence=Sequence([reference]))
    one, other = clean(first), clean(second)
    assert one.SOPInstanceUID.startswith("2.25.")
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    (pointer,) = other.ReferencedImageSequence
    assert pointer.ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert (pointer.ReferencedSOPClassUID, one.SOPClassUID) == (CT_UID, CT_UID)
    assert one.FrameOfReferenceUID == other.FrameOfReferenceUID != "1.2.3.9"
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert all(len(uid) <= 64 for uid in (one.SOPInstanceUID, one.StudyInstanceUID))


def test_a_well_known_frame_of_reference_stays(clean):
    talairach = "1.2.840.10008.1.4.1.1"
    assert clean(slice_(FrameOfReferenceUID=talairach)).FrameOfReferenceUID == talairach


def test_another_key_gives_other_replacements(clean):
    made = slice_()
    one, again, other = clean(made), clean(made), clean(made, key=b"another".ljust(32))
    assert (one.PatientID, one.StudyInstanceUID) == (again.PatientID, again.StudyInstanceUID)
    assert one.PatientID != other.PatientID
    assert one.StudyInstanceUID != other.StudyInstanceUID


def test_same_source_gives_the_same_bytes(clean, tmp_path):
    made = slice_()
    clean(made).filename.rename(tmp_path / "first.dcm")
    assert filecmp.cmp(tmp_path / "first.dcm", clean(made).filename, shallow=False)


def test_patients_without_an_id_are_not_one(clean):
    one = clean(slice_(PatientID="", StudyInstanceUID="1.2.1")).written
    other = clean(slice_(PatientID="", StudyInstanceUID="1.2.2")).written
    assert one.patient != other.patient
    assert clean(slice_(PatientID="P1 ")).written.patient == clean(slice_(PatientID="P1")).written.patient


def test_dates_are_dummies_by_default_and_empty_ones_stay_empty(clean):
    cleaned = clean(slice_(StudyDate="20200115", ContentDate="20200115", SeriesDate="", PatientBirthDate="19500101"))
    assert (cleaned.StudyDate, cleaned.ContentDate, cleaned.SeriesDate) == ("", "20000101", "")
    assert cleaned.PatientBirthDate == ""
    assert cleaned.LongitudinalTemporalInformationModified == "REMOVED"


def test_shifted_dates_keep_their_distance_in_all_studies_of_a_patient(clean):
    first = clean(slice_(StudyDate="20200115", StudyTime="101112", StudyInstanceUID="1.2.1"), dates="shift")
    second = clean(slice_(AcquisitionDateTime="20200301101112.5+0100", StudyInstanceUID="1.2.2"), dates="shift")
    stranger = clean(slice_(StudyDate="20200115", PatientID="P2"), dates="shift")
    assert first.StudyTime == "101112"
    assert first.StudyDate < "20200115"
    assert first.StudyDate != stranger.StudyDate
    assert second.AcquisitionDateTime.endswith("101112.5+0100")
    # 15 January to 1 March 2020, a leap year: 46 days.
    days = np.datetime64(_dashed(second.AcquisitionDateTime)) - np.datetime64(_dashed(first.StudyDate))
    assert days == np.timedelta64(46, "D")
    assert first.LongitudinalTemporalInformationModified == "MODIFIED"


def _dashed(text):
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}"


def test_kept_dates_are_dates_and_birth_is_never_kept(clean):
    made = slice_(StudyDate="20200115", SeriesDate="JANE DOE", PatientBirthDate="19500101")
    cleaned = clean(made, dates="keep")
    assert (cleaned.StudyDate, cleaned.SeriesDate, cleaned.PatientBirthDate) == ("20200115", "20000101", "")


def test_options_keep_what_they_name(clean):
    made = slice_(
        PatientAge="061Y", PatientSex="F", InstitutionName="St. Elsewhere", StationName="CT5", DeviceSerialNumber="4711"
    )
    bare = clean(made)
    assert ("PatientAge" in bare, bare.PatientSex) == (False, "")
    assert {bare.InstitutionName, bare.StationName, bare.DeviceSerialNumber}.isdisjoint(
        {"St. Elsewhere", "CT5", "4711"}
    )
    kept = clean(made, retain_patient_characteristics=True, retain_institution=True, retain_device=True)
    assert (kept.PatientAge, kept.PatientSex, kept.InstitutionName) == ("061Y", "F", "St. Elsewhere")
    assert (kept.StationName, kept.DeviceSerialNumber) == ("CT5", "4711")
    assert clean(made, retain_uids=True).StudyInstanceUID == made.StudyInstanceUID


def test_the_method_is_recorded_with_the_codes_of_its_options(clean):
    cleaned = clean(slice_(), dates="shift", retain_device=True, clean_descriptors=True)
    assert cleaned.PatientIdentityRemoved == "YES"
    assert "PS3.15" in cleaned.DeidentificationMethod
    codes = [(one.CodeValue, one.CodingSchemeDesignator) for one in cleaned.DeidentificationMethodCodeSequence]
    assert codes == [("113100", "DCM"), ("113105", "DCM"), ("113107", "DCM"), ("113109", "DCM")]
    assert "BurnedInAnnotation" not in cleaned


def test_a_second_pass_keeps_what_the_first_one_said_of_the_pixels(clean):
    before = Sequence([item(CodeValue="113101", CodingSchemeDesignator="DCM", CodeMeaning="Clean Pixel Data Option")])
    cleaned = clean(slice_(DeidentificationMethodCodeSequence=before, DeidentificationMethod="by Jane Doe"))
    assert [one.CodeValue for one in cleaned.DeidentificationMethodCodeSequence] == ["113100", "113101"]
    assert "Jane" not in cleaned.DeidentificationMethod


def test_names_and_numbers_of_the_patient_are_cut_from_what_the_table_keeps(clean):
    made = slice_(
        PatientName="Mustermann^Eva",
        PatientID="HH-4711-99",
        Manufacturer="Made for eva MUSTERMANN",
        ManufacturerModelName="Evaluator 3000",
        SoftwareVersions=["1.2", "hh-4711-99"],
        ICCProfile=b"profile of " + "Mustermann".encode("utf-16-le") + b"!",
        BodyPartExamined="CHEST",
    )
    cleaned = clean(made)
    assert cleaned.Manufacturer == "REMOVED"
    assert cleaned.ManufacturerModelName == "Evaluator 3000"  # "Eva" is a part of a word here
    assert list(cleaned.SoftwareVersions) == ["1.2", "REMOVED"]
    assert set(cleaned.ICCProfile) == {0}
    assert cleaned.BodyPartExamined == "CHEST"


def test_names_in_another_character_set_are_found_in_it(clean):
    made = slice_(SpecificCharacterSet="ISO_IR 144", PatientName="Люкceмбypг", ManufacturerModelName="для Люкceмбypг")
    assert clean(made).ManufacturerModelName == "REMOVED"


def test_safe_private_attributes_stay_by_option_with_their_creator_only(clean):
    made = slice_()
    safe = made.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    safe.add_new(0x0C, "IS", "1000")
    safe.add_new(0x08, "CS", "IMAGE NUM 4")
    made.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"P1 was here.")
    assert not [one for one in clean(made) if one.tag.is_private]
    cleaned = clean(made, retain_safe_private=True)
    assert [one.value for one in cleaned if one.tag.is_private] == ["SIEMENS MR HEADER", 1000]


def test_descriptors_keep_medical_words_by_option(clean):
    made = slice_(SeriesDescription="CHEST 1.5mm for Dr. Smith 12/03/2020", ProtocolName="Smith^2")
    assert "SeriesDescription" not in clean(made)
    cleaned = clean(made, clean_descriptors=True)
    assert cleaned.SeriesDescription == "CHEST 1.5mm"
    assert "Smith" not in cleaned.ProtocolName
    assert cleaned.ProtocolName


def test_reports_keep_published_codes_and_numbers_by_option_and_dummies_else(clean):
    def code(value, scheme, meaning):
        return Sequence([item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)])

    measured = item(NumericValue="12.5", MeasurementUnitsCodeSequence=code("mm", "UCUM", "millimeter of Jane"))
    length = item(ValueType="NUM", RelationshipType="CONTAINS", MeasuredValueSequence=Sequence([measured]))
    length.ConceptNameCodeSequence = code("410668003", "SCT", "Length")
    own = item(ValueType="CODE", ConceptCodeSequence=code("DOE1", "99LOCAL", "like Jane's"))
    text = item(ValueType="TEXT", TextValue="nodule of Jane in the left lung")
    made = slice_(ContentSequence=Sequence([length, own, text]))
    bare = clean(made).ContentSequence
    assert (bare[0].ValueType, bare[0].RelationshipType) == ("NUM", "CONTAINS")
    assert (bare[0].MeasuredValueSequence[0].NumericValue, bare[2].TextValue) == (1, "REMOVED")
    kept = clean(made, clean_structured_content=True).ContentSequence
    assert kept[0].MeasuredValueSequence[0].NumericValue == 12.5
    assert kept[0].ConceptNameCodeSequence[0].CodeMeaning == "Length"
    assert kept[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeMeaning == "mm"
    assert kept[1].ConceptCodeSequence[0].CodingSchemeDesignator == "99ANON"
    assert kept[2].TextValue == "nodule of in left lung"


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation is YES"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "ImageType says SCREEN SAVE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "BurnedInAnnotation": "NO"}, "ImageType says LABEL"),
        ({"sop_class": SECONDARY_CAPTURE}, "secondary capture images are prone"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.6.1"}, "ultrasound images are prone"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.77.1.4"}, "photographic images are prone"),
        ({"ConversionType": "WSD"}, "copy of a screen"),
    ],
)
def test_images_that_may_show_text_are_refused_unless_they_are_accepted(clean, elements, reason):
    made = dataset(VALUES, **elements)
    with pytest.raises(Refused, match=reason):
        clean(made)
    assert clean(made, accept_burned_in=True).PixelData == made.PixelData


def test_a_statement_that_nothing_is_burned_in_is_believed_and_a_missing_one_is_told(clean):
    said = clean(dataset(VALUES, sop_class=SECONDARY_CAPTURE, BurnedInAnnotation="NO"))
    assert (said.BurnedInAnnotation, said.written.flags) == ("NO", ())
    assert clean(slice_()).written.flags == ("BurnedInAnnotation is missing",)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.104.1"}, "encapsulated document"),
        ({"sop_class": "1.3.12.2.1107.5.9.1"}, "private kind of object"),
    ],
)
def test_objects_that_no_rule_of_attributes_can_clean_are_refused_in_any_case(clean, elements, reason):
    with pytest.raises(Refused, match=reason):
        clean(dataset(VALUES, **elements), accept_burned_in=True)


def test_an_overlay_inside_the_pixel_data_is_refused(clean):
    made = slice_()
    made.add_new(0x60000102, "US", 12)
    with pytest.raises(Refused, match="unused bits of the pixel data"):
        clean(made, accept_burned_in=True)


def test_a_refusal_names_the_new_study_and_not_the_old(clean):
    accepted = clean(slice_()).written.study
    with pytest.raises(Refused) as caught:
        clean(slice_(BurnedInAnnotation="YES"))
    assert caught.value.study == accepted


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-10], "pixel data declare 128 bytes, 118 are there"),
        (lambda data: data[:400], "cut"),
        (lambda data: data[:140], "no SOPClassUID|cut"),
        (lambda data: b"\0" * 200, "no SOPClassUID|cut|readable"),
    ],
)
def test_cut_files_are_refused_and_nothing_is_written(clean, tmp_path, change, reason):
    slice_().save_as(tmp_path / "in.dcm", enforce_file_format=True)
    data = (tmp_path / "in.dcm").read_bytes()
    (tmp_path / "in.dcm").write_bytes(change(data))
    with pytest.raises(SourceError, match=reason):
        clean(tmp_path / "in.dcm")
    assert not list((tmp_path / "out").rglob("*.dcm"))


@pytest.mark.parametrize(
    ("syntax", "reason"),
    [
        (b"1.2.840.10008.1.2.9", "unknown transfer syntax"),
        (b"1.2.840.10008.1.2.5", "not as the transfer syntax says"),  # RLE
    ],
)
def test_pixel_data_that_are_not_what_the_syntax_says_are_refused(clean, tmp_path, syntax, reason):
    slice_().save_as(tmp_path / "in.dcm", enforce_file_format=True)
    data = (tmp_path / "in.dcm").read_bytes()
    (tmp_path / "in.dcm").write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", syntax + b"\0"))
    with pytest.raises(SourceError, match=reason):
        clean(tmp_path / "in.dcm")


def test_pixel_data_with_more_than_the_image_are_refused_unless_it_is_zeros(clean):
    made = slice_()
    padded = slice_(PixelData=made.PixelData + bytes(16))
    assert clean(padded).PixelData == padded.PixelData
    with pytest.raises(SourceError, match="pixel data hold 144 bytes, the image needs 128"):
        clean(slice_(PixelData=made.PixelData + b"behind the image"))


def test_the_output_is_not_written_over_by_another_file_of_the_same_instance(tmp_path):
    options = DeidentifyOptions()
    uid = generate_uid()
    places = []
    for number, values in enumerate((VALUES, VALUES, VALUES + 1)):
        path = tmp_path / f"{number}.dcm"
        oblique_slice(0, values, SOPInstanceUID=uid).save_as(path, enforce_file_format=True)
        places.append(path)

    def run(path):
        return deidentify_dicom(path, tmp_path / "out", Rules(options), options, Pseudonyms(b"k")).path

    first = run(places[0])
    assert run(places[1]) == first
    with pytest.raises(SourceError, match="the same instance, with other content"):
        run(places[2])
    assert pydicom.dcmread(tmp_path / "out" / first).PixelData == VALUES.tobytes()
    assert len([one for one in (tmp_path / "out").rglob("*") if one.is_file()]) == 1


def test_nothing_of_the_names_of_source_patient_or_uids_is_in_the_path(clean):
    path = Path(clean(slice_(PatientID="../../etc", StudyInstanceUID="../1.2")).written.path)
    assert len(path.parts) == 4
    assert all(set(part.removesuffix(".dcm")) <= set("0123456789abcdef") for part in path.parts)
