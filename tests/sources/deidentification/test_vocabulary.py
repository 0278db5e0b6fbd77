"""Only medical words and short numbers are left of a text."""

import pytest

from pipeline.sources.deidentification.vocabulary import cleaned


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("CT Chest w/o contrast 1.25mm", "CT Chest without contrast 1.25mm"),
        ("Smith, John: left LUNG nodule", "left LUNG nodule"),
        ("T1w_AX_FLAIR b1000", "T1w AX FLAIR b1000"),
        ("seen 12.03.1950, 3/4/50 and 1950-03-12", ""),
        ("MRN 4711123 tel 030-123456", ""),
        ("PTV_60 Dr.Who", "PTV 60"),
    ],
)
def test_names_dates_and_numbers_go(text, left):
    assert cleaned(text) == left
