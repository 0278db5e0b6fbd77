import dataclasses
import os
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.sources.catalog.stories import file_story, find_volume, overview, volume_story
from tests.sources.catalog.rows import a_file, a_volume, an_annotation


def test_a_file_that_was_never_met_has_no_story(catalog, tmp_path):
    assert file_story(catalog, tmp_path / "none") is None


def test_the_story_of_an_image_names_its_volumes_and_who_annotates_them(catalog):
    marked = an_annotation("v2", "/d/marks.csv", lesion=3)
    catalog.save(
        [a_file("/d/1", "v1", "v2", digest="ab"), a_file("/d/marks.csv", "v2", kind="annotation")],
        [a_volume("v1"), a_volume("v2", part="b-value 1000")],
        [marked],
    )
    story = file_story(catalog, Path("/d/1"))
    assert story.file == a_file("/d/1", "v1", "v2", digest="ab")
    assert story.volumes == (a_volume("v1"), a_volume("v2", part="b-value 1000"))
    assert story.annotated == (marked,)
    assert story.annotates == ()
    marks = file_story(catalog, Path("/d/marks.csv"))
    assert marks.annotates == (marked,)
    assert marks.annotated == ()


def test_the_story_says_whether_the_file_changed_since(catalog, tmp_path):
    path = tmp_path / "scan.dcm"
    path.write_bytes(b"0123456789")
    status = path.stat()
    catalog.save([a_file(str(path), size=10, mtime_ns=status.st_mtime_ns)])
    assert file_story(catalog, path).on_disk == "unchanged"
    os.utime(path, ns=(0, status.st_mtime_ns + 1))
    assert file_story(catalog, path).on_disk == "changed"
    path.unlink()
    assert file_story(catalog, path).on_disk == "gone"


def test_a_member_stands_and_falls_with_the_outermost_archive_file(catalog, tmp_path):
    outer = tmp_path / "outer.zip"
    outer.write_bytes(b"0123456789")
    inner, member = outer / "inner.tar", outer / "inner.tar" / "1.dcm"
    catalog.save(
        [
            a_file(str(outer), kind="archive", size=10, mtime_ns=outer.stat().st_mtime_ns),
            a_file(str(inner), kind="archive", size=77),
            a_file(str(member), size=55),
            a_file(str(outer / "2.dcm"), outcome="quarantined", reason="cut"),
        ]
    )
    assert file_story(catalog, member).on_disk == "unchanged"
    assert file_story(catalog, outer).below == {"ingested": 2, "ignored": 0, "quarantined": 1}
    outer.write_bytes(b"01234567890")
    assert file_story(catalog, member).on_disk == "changed"


def test_a_folder_has_the_outcomes_below_it(catalog):
    catalog.save([a_file("/d/a/1"), a_file("/d/a/2", outcome="ignored", reason="no scan"), a_file("/d/a-old/3")])
    story = file_story(catalog, Path("/d/a"))
    assert story.file is None
    assert story.below == {"ingested": 1, "ignored": 1, "quarantined": 0}


def test_a_link_is_found_under_its_own_name_and_below_a_linked_folder(catalog, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "2").symlink_to(tmp_path / "real" / "1")
    catalog.save([a_file(str(tmp_path / "real" / "1")), a_file(str(tmp_path / "real" / "2"), kind="other")])
    assert file_story(catalog, tmp_path / "link" / "1").path == str(tmp_path / "real" / "1")
    assert file_story(catalog, tmp_path / "link" / "2").path == str(tmp_path / "real" / "2")


def test_what_became_of_a_file_before_is_told(catalog):
    broken = a_file("/d/1", outcome="quarantined", reason="cut", digest="aa", size=5)
    catalog.save([broken])
    catalog.save([broken])
    catalog.save([dataclasses.replace(broken, reader="another")])
    assert file_story(catalog, Path("/d/1")).past == ()
    catalog.save([a_file("/d/1", digest="bb")])
    catalog.forget(["/d/1"])
    story = file_story(catalog, Path("/d/1"))
    assert story.file is None
    assert [(one.outcome, one.reason, one.digest, one.gone) for one in story.past] == [
        ("quarantined", "cut", "aa", False),
        ("ingested", "", "bb", True),
    ]


def test_a_file_that_was_forgotten_and_comes_again_unchanged_was_never_gone(catalog):
    catalog.save([a_file("/d/1"), a_file("/d/2")])
    catalog.forget(["/d/1", "/d/2"])
    catalog.save([a_file("/d/1"), a_file("/d/2", size=99)])
    assert file_story(catalog, Path("/d/1")).past == ()
    assert [one.gone for one in file_story(catalog, Path("/d/2")).past] == [True]


def test_a_volume_is_found_by_any_start_that_only_it_has(catalog):
    ids = ["00ab12", "00ab34", "00ab3456"]
    catalog.save([a_file("/d/1", *ids)], [*map(a_volume, ids), a_volume("ff")])
    assert find_volume(catalog, "00ab1") == "00ab12"
    assert find_volume(catalog, " 00AB12 ") == "00ab12"
    assert find_volume(catalog, "00ab34") == "00ab34"
    with pytest.raises(SourceError, match=r"several volumes.*00ab12, 00ab34"):
        find_volume(catalog, "00")
    for none in ("ff", "01", "", "00ab%", "zz"):
        with pytest.raises(SourceError, match="no volume has an id that begins with"):
            find_volume(catalog, none)


def test_the_story_of_a_volume(catalog):
    marked = an_annotation("ab", lesion=1)
    files = [a_file("/d/2", "ab", digest="22"), a_file("/d/1", "ab", digest="11")]
    catalog.save([*files, a_file("/d/marks.csv", "ab", kind="annotation")], [a_volume("ab")], [marked])
    story = volume_story(catalog, "ab")
    assert story.volume == a_volume("ab")
    assert story.files == ("/d/1", "/d/2")
    assert story.annotation == marked
    assert [made.reader for made in story.provenance] == ["2-0123abcd"]
    with pytest.raises(SourceError, match="no volume has the id 'a'"):
        volume_story(catalog, "a")


def test_the_overview_counts_what_is_listed(catalog):
    catalog.enter_archive(Path("/d"))
    catalog.enter_archive(Path("/d"))
    files = [a_file("/d/1", "v"), a_file("/d/2", "w", size=7), a_file("/d/3", outcome="ignored", reason="no scan")]
    volumes = [a_volume("v"), a_volume("w", modality="MR", study=None), a_volume("unlisted", patient_key="other")]
    catalog.save(files, volumes, [an_annotation("v", lesion=2, vessel=1), an_annotation("unlisted", lesion=9)])
    found = overview(catalog)
    (archive,) = found.pop("archives")
    assert archive["root"] == "/d"
    assert found == {
        "files": {"ingested": 2, "ignored": 1, "quarantined": 0},
        "bytes": 27,
        "volumes": 2,
        "annotated": 1,
        "patients": 1,
        "studies": 1,
        "series": 1,
        "modalities": {"CT": 1, "MR": 1},
        "objects": {"lesion": 2, "vessel": 1},
    }


def test_the_overview_of_nothing(catalog):
    assert overview(catalog)["bytes"] == 0
