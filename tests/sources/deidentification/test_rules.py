"""The table and its option columns fit together."""

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from pipeline.sources.deidentification import columns
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.rules import Rules, table

COLUMNS = [
    columns.DEVICE_KEEPS,
    columns.INSTITUTION_KEEPS,
    columns.PATIENT_KEEPS,
    columns.PATIENT_CLEANS,
    columns.UIDS_KEEP,
    columns.STRUCTURED_CLEANS,
    columns.GRAPHICS_CLEANS,
    columns.DESCRIPTORS_CLEAN,
    columns.NEVER_DATED,
]
BASIC = Rules(DeidentifyOptions())


def verb(keyword, rules=BASIC, manner="items"):
    return rules.verb(tag_for_keyword(keyword), dictionary_VR(keyword), manner)


@pytest.mark.parametrize("column", COLUMNS, ids=len)
def test_every_attribute_of_a_column_is_in_the_table(column):
    assert [keyword for keyword in column if tag_for_keyword(keyword) not in table()] == []


@pytest.mark.parametrize(
    ("keyword", "code", "done"),
    [
        ("PatientName", "Z", "empty"),
        ("PatientID", "Z/D", "replace"),
        ("PatientComments", "X", "remove"),
        ("StudyInstanceUID", "U", "remap"),
        ("AcquisitionDate", "X/Z", "empty"),
        ("SeriesDate", "X/D", "replace"),
        ("InstitutionName", "X/Z/D", "replace"),
        ("SourceImageSequence", "X/Z/U*", "references"),
        ("ContentSequence", "D", "dummies"),
        ("DataSetTrailingPadding", "X", "remove"),
        ("DigitalSignaturesSequence", "X", "remove"),
        ("IconImageSequence", "X", "remove"),
    ],
)
def test_action_codes_of_the_table_are_carried_out(keyword, code, done):
    assert table()[tag_for_keyword(keyword)] == code
    assert verb(keyword) == done


@pytest.mark.parametrize(
    ("keyword", "done"),
    [
        ("SOPClassUID", "keep"),
        ("ReferencedSOPClassUID", "keep"),
        ("SOPInstanceUIDOfConcatenationSource", "remap"),
        ("SecondaryReviewerName", "replace"),
        ("ProcedureCreationDate", "replace"),
        ("EncryptedAttributesSequence", "remove"),
        ("PatientBirthDateInAlternativeCalendar", "remove"),
        ("SharedFunctionalGroupsSequence", "items"),
        ("Manufacturer", "scrub"),
    ],
)
def test_names_dates_and_uids_that_the_table_does_not_list_do_not_stay(keyword, done):
    assert tag_for_keyword(keyword) not in table()
    assert verb(keyword) == done


def test_curves_overlays_and_unknown_attributes_are_removed():
    for tag, vr in ((0x60003000, "OB"), (0x60FE0010, "US"), (0x50020005, "US"), (0x00186FF0, "LO"), (0x00280000, "UL")):
        assert BASIC.verb(tag, vr, "items") == "remove"


def test_date_options_go_by_value_representation_but_never_keep_birth():
    for dates, done in (("shift", "shift"), ("keep", "keep date")):
        rules = Rules(DeidentifyOptions(dates=dates))
        assert {verb(one, rules) for one in ("StudyDate", "StudyTime", "AcquisitionDateTime", "ExpiryDate")} == {done}
        assert verb("PatientBirthDate", rules) == "empty"


def test_options_have_the_codes_of_cid_7050():
    everything = DeidentifyOptions("shift", *[True] * 9)
    assert everything.codes == tuple(f"1131{number:02d}" for number in (0, 3, 4, 5, 7, 8, 9, 10, 11, 12))
    assert DeidentifyOptions().codes == ("113100",)
    assert "113106" in DeidentifyOptions(dates="keep").codes
    assert DeidentifyOptions().digest != everything.digest
