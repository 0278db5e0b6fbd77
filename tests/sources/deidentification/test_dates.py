"""Dates move by days, as precise as they were; what is no date is told from one."""

import pytest

from pipeline.sources.deidentification.dates import is_offset, moved


@pytest.mark.parametrize(
    ("vr", "text", "days", "expected"),
    [
        ("DA", "20200301", 1, "20200229"),  # a leap year
        ("DA", "2019.03.01 ", 1, "20190228"),  # ACR-NEMA
        ("DA", "20200101", 1, "20191231"),
        ("TM", "235959.123456", 400, "235959.123456"),
        ("TM", "23:59", 400, "23:59"),
        ("DT", "20200301101112.5+0100", 1, "20200229101112.5+0100"),
        ("DT", "20200301", 1, "20200229"),
        ("DT", "202003", 30, "202002"),  # the 15th moves to 14 February
        ("DT", "2020", 183, "2019"),  # 1 July moves to 31 December
        ("DT", "2020+0100", 182, "2020+0100"),
    ],
)
def test_a_date_moves_and_a_time_of_day_stays(vr, text, days, expected):
    assert moved(vr, text, days) == expected


@pytest.mark.parametrize(
    ("vr", "text"),
    [("DA", "20200230"), ("DA", "2020030"), ("DA", "DOE19500"), ("DA", "2020-0301"), ("TM", "JANE"), ("TM", "12345"),
     ("DT", "20200301DOE"), ("DT", "20201301"), ("DT", "20203010111"), ("DA", "00010101")],
)  # fmt: skip
def test_what_is_no_date_is_not_moved(vr, text):
    assert moved(vr, text, 1) is None


def test_an_offset_is_four_digits_with_a_sign():
    assert is_offset("+0100 ")
    assert not is_offset("CET")
    assert not is_offset("0100")
