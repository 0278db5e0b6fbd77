import numpy as np
import pytest

from pipeline.reporting.judging import judge
from pipeline.reporting.versus import Other, disagreements, gained
from pipeline.reporting.viewed import case_views
from pipeline.reporting.viewer_page import viewer
from tests.reporting.test_gallery import RULE, case

SMALL = np.zeros((1, 100, 100), np.uint8)


def pair():
    """Objects at 10, 50 and 80: the new version finds the first two, the old one (threshold 0.3) the last two."""
    objects = {10: 6, 50: 6, 80: 6}
    new = case("a", objects, {10: 0.9, 50: 0.8, 80: 0.2, 30: 0.7})
    old = case("a", objects, {10: 0.2, 50: 0.8, 80: 0.6})
    return new, old


def test_each_version_is_read_at_its_own_threshold():
    new, old = pair()
    one, other = judge(new, RULE, 0.5), judge(old, RULE, 0.3)
    assert gained(one, other).tolist() == [True, False, False]
    assert gained(other, one).tolist() == [False, False, True]
    assert not gained(one, one).any()


def test_other_annotations_are_refused():
    one, other = judge(case("a", {10: 6}, {}), RULE, 0.5), judge(case("a", {}, {}), RULE, 0.5)
    with pytest.raises(ValueError, match="expected the same annotations for both versions, got 1 and 0"):
        gained(one, other)


def test_objects_are_counted_by_who_found_them_and_the_most_different_case_comes_first():
    new, old = pair()
    same = case("b", {10: 6}, {10: 0.9})
    alone = case("c", {10: 6}, {10: 0.9})
    judged = [judge(one, RULE, 0.5) for one in (same, new, alone)]
    rows = disagreements(judged, {one.case_id: judge(one, RULE, 0.3) for one in (old, same)})
    assert [(row.case_id, row.gained, row.lost, row.both, row.neither, row.false) for row in rows] == [
        ("a", 1, 1, 1, 0, 1),
        ("b", 0, 0, 1, 0, 0),
    ]


def test_the_viewer_lists_what_one_version_found_and_the_other_missed():
    new, old = pair()
    views = case_views([new], lambda _: SMALL, RULE, 0.5, other=Other("t/1", (old,), 0.3))
    shown = viewer(views, list(views.cases), ("version 2", "version 1"))
    assert [(row.name, row.differs, row.other) for row in shown.rows] == [
        ("Missed", "lost", "found, 0.60"),
        ("False positive", "", "–"),
        ("Hit", "gained", "missed, 0.20"),
        ("Hit", "", "found, 0.80"),
    ]
    assert shown.agreement == (
        "Version 2 found 1 object that version 1 missed, and missed 1 that version 1 found. Found by both: 1; by "
        "neither: 0. In 0 of 1 case both found the same."
    )
    assert [(row.case_id, row.case, row.counts) for row in shown.differences] == [("a", 0, [1, 1, 1, 0, 1, 0])]


def test_a_case_that_differs_but_is_not_in_the_file_is_listed_without_a_way_there():
    new, old = pair()
    less, nothing = case("b", {10: 6}, {10: 0.9}), case("b", {10: 6}, {})
    views = case_views([less, new], lambda _: SMALL, RULE, 0.5, other=Other("t/1", (old, nothing), 0.3), most=1)
    shown = viewer(views, list(views.cases), ("version 2", "version 1"))
    assert [(row.case_id, row.case) for row in shown.differences] == [("a", 0), ("b", -1)]


def test_cases_that_differ_come_before_those_with_larger_misses():
    new, old = pair()
    large = case("large", {50: 60}, {})
    other = Other("t/1", (old, large), 0.3)
    views = case_views([large, new], lambda _: SMALL, RULE, 0.5, other=other, most=1)
    assert [one.case_id for one in views.cases] == ["a"]
