import dataclasses
import hashlib
import random
from pathlib import Path

import pytest
import sqlalchemy as sql

from pipeline.sources.catalog import FileOutcome
from pipeline.sources.catalog.stories import overview
from tests.sources.catalog.rows import a_file, a_volume, an_annotation


def test_records_come_back_as_they_were_saved_in_order_of_path(catalog):
    saved = [
        a_file("/data/b.dcm", "v2", "v1", digest="ab" * 32, series="5e51", instance="1257"),
        a_file("/data/a/z.dcm", "v1", reason="gantry tilt of 3.5° sheared back", size=5 << 40),
        a_file("/data/a.txt", kind="other", outcome="ignored", reason="not a scan"),
    ]
    catalog.save(saved, [a_volume("v1"), a_volume("v2")])
    found = catalog.records()
    assert list(found) == ["/data/a.txt", "/data/a/z.dcm", "/data/b.dcm"]
    assert set(found.values()) == set(saved)


def test_a_folder_holds_what_lies_below_it_and_not_its_namesakes(catalog):
    catalog.save([a_file(path) for path in ("/d/a/1", "/d/a/b/2", "/d/a-old/3", "/d/a.zip", "/d/a.zip/4", "/d/a0")])
    assert list(catalog.records(Path("/d/a"))) == ["/d/a/1", "/d/a/b/2"]
    assert list(catalog.records(Path("/d/a.zip"))) == ["/d/a.zip", "/d/a.zip/4"]
    assert list(catalog.records(Path("/d/a/1"))) == ["/d/a/1"]
    assert len(catalog.records(Path("/"))) == 6


def test_outcomes_are_told_relative_to_the_folder_that_was_asked_about(catalog):
    catalog.save([a_file("/d/a/1.dcm", "v")], [a_volume("v")])
    expected = ("ingested", "", ("v",), "image")
    assert catalog.files(Path("/d")) == [FileOutcome("a/1.dcm", *expected)]
    assert catalog.files(Path("/d/a/1.dcm")) == [FileOutcome("1.dcm", *expected)]
    assert catalog.files() == [FileOutcome("/d/a/1.dcm", *expected)]


def test_saving_again_replaces_the_row_and_changes_nothing_when_it_is_the_same(catalog):
    volumes = [a_volume("v"), a_volume("w")]
    catalog.save([a_file("/d/1", "v")], volumes)
    catalog.save([a_file("/d/1", "v")], volumes)
    assert catalog.records() == {"/d/1": a_file("/d/1", "v")}
    catalog.save([a_file("/d/1", "w", size=11)])
    assert catalog.records() == {"/d/1": a_file("/d/1", "w", size=11)}
    assert catalog.volume_ids() == ["w"]


def test_a_file_that_names_an_unknown_volume_saves_nothing(catalog):
    with pytest.raises(ValueError, match=r"volumes must be saved before.*\['w'\]"):
        catalog.save([a_file("/d/1"), a_file("/d/2", "w")], [a_volume("v")])
    assert catalog.records() == {}
    with pytest.raises(ValueError, match=r"\['v'\]"):
        catalog.save(annotations=[an_annotation("v")])


def test_forgotten_files_take_their_volume_off_the_list_until_they_come_again(catalog):
    catalog.save([a_file("/d/1", "v"), a_file("/d/2", "v")], [a_volume("v")], [an_annotation("v", lesion=2)])
    catalog.forget(["/d/1"])
    assert catalog.volume_ids() == ["v"]
    catalog.forget(["/d/2", "/never/seen"])
    assert catalog.volume_ids() == []
    assert catalog.summary() == {"volumes": 0, "files": 0, "ingested": 0, "ignored": 0, "quarantined": 0}
    assert catalog.annotations(Path("/")) == {}
    catalog.save([a_file("/e/1", "v")])
    assert catalog.volume_ids() == ["v"]
    assert catalog.annotations(Path("/e")) == {"v": an_annotation("v", lesion=2)}


def test_volumes_are_ordered_by_the_first_of_their_files_below_the_folder(catalog):
    files = [a_file("/d/a/9", "late"), a_file("/d/b/1", "late"), a_file("/d/b/0", "early"), a_file("/x/1", "early")]
    catalog.save(files, [a_volume("early"), a_volume("late")])
    assert catalog.volume_ids(Path("/d")) == ["late", "early"]
    assert catalog.volume_ids(Path("/d/b")) == ["early", "late"]
    assert catalog.volume_ids(Path("/x")) == ["early"]


def test_volumes_of_one_file_keep_the_order_in_which_they_were_saved(catalog):
    catalog.save([a_file("/d/4d.nii", "c", "a", "b")], [a_volume("c"), a_volume("a"), a_volume("b")])
    assert catalog.volume_ids() == ["c", "a", "b"]


def test_a_single_file_of_a_series_leads_to_its_volume(catalog):
    catalog.save([a_file(f"/d/{n}", "v") for n in range(3)], [a_volume("v")])
    assert catalog.volume_ids(Path("/d/2")) == ["v"]


def test_an_annotation_file_is_no_place_of_the_volume_that_it_annotates(catalog):
    catalog.save([a_file("/d/1", "v"), a_file("/marks/1.csv", "v", kind="annotation")], [a_volume("v")])
    assert catalog.volume_ids(Path("/marks")) == []
    catalog.forget(["/d/1"])
    assert catalog.volume_ids() == []


def test_annotations_are_found_by_the_folder_of_the_image(catalog):
    marked = an_annotation("v", "/marks/1.csv", lesion=2, vessel=1)
    catalog.save([a_file("/d/1", "v"), a_file("/d/2", "w")], [a_volume("v"), a_volume("w")], [marked])
    assert catalog.annotations(Path("/d")) == {"v": marked}
    assert catalog.annotations(Path("/marks")) == {}


def test_a_new_annotation_replaces_the_old_one_and_withdrawing_removes_it(catalog):
    catalog.save([a_file("/d/1", "v")], [a_volume("v")], [an_annotation("v", lesion=2)])
    catalog.save(annotations=[an_annotation("v", "/other.csv", vessel=1)])
    assert catalog.annotations(Path("/d")) == {"v": an_annotation("v", "/other.csv", vessel=1)}
    catalog.save(withdrawn=["v", "unknown"])
    assert catalog.annotations(Path("/d")) == {}


def test_an_annotation_without_objects_is_one(catalog):
    catalog.save([a_file("/d/1", "v")], [a_volume("v")], [an_annotation("v")])
    assert catalog.annotations(Path("/d")) == {"v": an_annotation("v")}


def test_summary_counts_listed_volumes_and_outcomes(catalog):
    files = [a_file("/d/1", "v"), a_file("/d/2", "v"), a_file("/d/3", outcome="quarantined", reason="cut")]
    catalog.save(files, [a_volume("v"), a_volume("without files")])
    assert catalog.summary() == {"volumes": 1, "files": 3, "ingested": 2, "ignored": 0, "quarantined": 1}


def test_names_that_are_not_text_are_kept_byte_by_byte(catalog):
    odd = "/d/scan\udcff\udc80é.dcm"
    catalog.save([a_file(odd, "v")], [a_volume("v")])
    assert list(catalog.records(Path("/d"))) == [odd]
    assert list(catalog.records(Path(odd))) == [odd]
    catalog.forget([odd])
    assert catalog.records() == {}


def test_one_save_may_hold_more_rows_than_a_statement(catalog):
    paths = [f"/d/{n:06}" for n in range(3000)]
    catalog.save([a_file(path, "v") for path in paths], [a_volume("v")])
    assert list(catalog.records(Path("/d"))) == paths
    catalog.forget(paths[:-1])
    assert list(catalog.records(Path("/d"))) == paths[-1:]


def test_provenance_is_noted_once_for_each_way_in_which_a_volume_was_made(catalog):
    files = [a_file("/d/1", "v", digest="aa"), a_file("/d/2", "v", digest="bb")]
    catalog.save(files, [a_volume("v")])
    catalog.save(files, [a_volume("v")])
    again = [dataclasses.replace(one, reader="3-0123abcd") for one in files]
    catalog.save(again, [a_volume("v")])
    catalog.save(annotations=[an_annotation("v")])
    with catalog.engine.connect() as connection:
        rows = connection.execute(sql.text("SELECT reader, source FROM provenance ORDER BY id")).all()
    source = hashlib.sha256(b"aa\nbb").hexdigest()
    assert rows == [("2-0123abcd", source), ("3-0123abcd", source)]


def test_counts_hold_after_any_saving_and_forgetting(catalog):
    chance = random.Random(0)
    outcomes = ("ingested", "ignored", "quarantined")
    for _ in range(20):
        names = [f"/d/{chance.randrange(12)}" for _ in range(6)]
        catalog.save([a_file(name, outcome=chance.choice(outcomes), size=chance.randrange(9)) for name in names])
        catalog.forget([f"/d/{chance.randrange(12)}" for _ in range(2)])
    records = catalog.records().values()
    told = overview(catalog)
    assert told["files"] == {one: sum(record.outcome == one for record in records) for one in outcomes}
    assert told["bytes"] == sum(record.size for record in records) > 0
