from pathlib import Path

import pytest
import sqlalchemy as sql

from pipeline.errors import ConfigError
from pipeline.sources.catalog import Catalog
from pipeline.sources.catalog.queries import FileFilter, VolumeFilter, list_files, list_volumes
from tests.sources.catalog.databases import BACK_ENDS, empty_database
from tests.sources.catalog.rows import a_file, a_volume, an_annotation


@pytest.fixture(scope="module", params=BACK_ENDS)
def filled(request, tmp_path_factory):
    """Not to be written to: all tests of this file ask the same catalog."""
    with empty_database(request, tmp_path_factory.mktemp("catalog")) as url:
        catalog = Catalog(url)
        _fill(catalog)
        yield catalog
        catalog.close()


def _fill(catalog):
    volumes = [
        a_volume("c1", modality="CT", patient_key="p1", part="phase 1 of 2"),
        a_volume("c2", modality="CT", patient_key="p1", part="phase 2 of 2"),
        a_volume("m1", modality="MR", study="57d2", series="5e52", part="b-value 1000 s/mm2"),
        a_volume("x1", modality="XA", study=None, series=None, unit="px", shape=(7, 5), spacing=(1.0, 1.0)),
    ]
    files = [
        a_file("/a/c/1.dcm", "c1"),
        a_file("/a/c/2.dcm", "c1"),
        a_file("/a/c/3.dcm", "c2"),
        a_file("/a/m.nii", "m1"),
        a_file("/b/copy of m.nii", "m1"),
        a_file("/b/x%y.png", "x1"),
        a_file("/b/xyy.png", outcome="quarantined", reason="1 slice(s) missing"),
        a_file("/a/z.dcm", outcome="quarantined", reason="1 slice(s) missing"),
        a_file("/a/cut.dcm", outcome="quarantined", reason="the file is cut"),
        a_file("/a/notes.txt", kind="other", outcome="ignored", reason="not a kind that is read"),
        a_file("/a/tilted.dcm", "c1", reason="10 degrees of tilt sheared back"),
        a_file("/a/c.csv", "c2", kind="annotation", outcome="quarantined", reason="1 of 2 entries not used"),
    ]
    marks = [an_annotation("c1", lesion=2), an_annotation("c2", vessel=1), an_annotation("x1")]
    catalog.save(files, volumes, marks)
    catalog.save(volumes=[a_volume("never read")])


def _volumes(catalog, **wanted):
    return [row.volume_id for row in list_volumes(catalog, VolumeFilter(**wanted)).rows]


def _files(catalog, **wanted):
    return [row.path for row in list_files(catalog, FileFilter(**wanted)).rows]


def test_volumes_come_latest_first_with_what_is_known_of_them(filled):
    rows = list_volumes(filled).rows
    assert [row.volume_id for row in rows] == ["x1", "m1", "c2", "c1"]
    assert (rows[0].shape, rows[0].spacing, rows[0].unit, rows[0].objects) == ((7, 5), (1.0, 1.0), "px", 0)
    assert (rows[1].objects, rows[1].files) == (None, 2)
    assert (rows[2].objects, rows[2].files, rows[2].outcome) == (1, 1, "quarantined")
    assert (rows[3].objects, rows[3].files, rows[3].outcome) == (2, 3, "ingested")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"modality": "CT"}, ["c2", "c1"]),
        ({"modality": "PT"}, []),
        ({"outcome": "quarantined"}, ["c2"]),
        ({"annotated": True}, ["x1", "c2", "c1"]),
        ({"annotated": False}, ["m1"]),
        ({"root": Path("/a")}, ["m1", "c2", "c1"]),
        ({"root": Path("/b")}, ["x1", "m1"]),
        ({"root": Path("/a/c/2.dcm")}, ["c1"]),
        ({"root": Path("/a/c.csv")}, []),
        ({"study": "57d2"}, ["m1"]),
        ({"series": "5e51"}, ["c2", "c1"]),
        ({"patient_key": "p1"}, ["c2", "c1"]),
        ({"label": "lesion"}, ["c1"]),
        ({"part": "PHASE 2"}, ["c2"]),
        ({"part": "%"}, []),
        ({"part": "_"}, []),
        ({"modality": "CT", "annotated": True, "root": Path("/a"), "part": "phase", "label": "vessel"}, ["c2"]),
    ],
)
def test_volumes_are_found_by(filled, wanted, expected):
    assert _volumes(filled, **wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"outcome": "quarantined"}, ["/a/c.csv", "/a/cut.dcm", "/a/z.dcm", "/b/xyy.png"]),
        ({"outcome": "ignored"}, ["/a/notes.txt"]),
        ({"outcome": "ingested", "root": Path("/b")}, ["/b/copy of m.nii", "/b/x%y.png"]),
        ({"root": Path("/a/c")}, ["/a/c/1.dcm", "/a/c/2.dcm", "/a/c/3.dcm"]),
        ({"root": Path("/a/c/2.dcm")}, ["/a/c/2.dcm"]),
        ({"contains": "X%Y"}, ["/b/x%y.png"]),
        ({"contains": "x_y"}, []),
        ({"contains": "a/c"}, ["/a/c.csv", "/a/c/1.dcm", "/a/c/2.dcm", "/a/c/3.dcm", "/a/cut.dcm"]),
        ({"reason": "1"}, ["/a/c.csv", "/a/z.dcm", "/b/xyy.png", "/a/tilted.dcm"]),
        ({"reason": "1 slice", "root": Path("/b")}, ["/b/xyy.png"]),
        ({"reason": "", "outcome": "ingested"}, ["/a/tilted.dcm"]),
        ({"reason": "T"}, []),
    ],
)
def test_files_are_found_by(filled, wanted, expected):
    found = _files(filled, **wanted)
    assert found == expected if "reason" not in wanted else sorted(found) == sorted(expected)


def test_files_are_listed_by_reason_where_one_is_asked_for(filled):
    rows = list_files(filled, FileFilter(reason="1")).rows
    assert [row.reason for row in rows] == sorted(row.reason for row in rows)


@pytest.mark.parametrize("wanted", [{}, {"outcome": "quarantined"}, {"reason": "1"}, {"contains": "."}])
def test_pages_of_files_join_to_the_whole(filled, wanted):
    whole = list_files(filled, FileFilter(**wanted)).rows
    rows, after = [], None
    for _ in range(len(whole)):
        page = list_files(filled, FileFilter(**wanted), limit=1, after=after)
        rows.extend(page.rows)
        after = page.after
    assert after is None
    assert tuple(rows) == whole


def test_pages_of_volumes_join_to_the_whole_although_new_ones_come(tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    _fill(catalog)
    first = list_volumes(catalog, limit=2)
    catalog.save([a_file("/c/late", "late")], [a_volume("late")])
    second = list_volumes(catalog, limit=2, after=first.after)
    catalog.close()
    assert [row.volume_id for row in (*first.rows, *second.rows)] == ["x1", "m1", "c2", "c1"]
    assert second.after is None


@pytest.mark.parametrize("cursor", ["", "x", "WyJhIl0", "e30", "W10", "é"])
def test_what_is_no_cursor_is_refused(filled, cursor):
    with pytest.raises(ConfigError, match="--after takes the cursor"):
        list_volumes(filled, after=cursor)


_FILE_LISTINGS = [
    FileFilter(),
    FileFilter(outcome="quarantined"),
    FileFilter(reason="cut"),
    FileFilter(reason="cut", outcome="quarantined"),
    FileFilter(root=Path("/a"), outcome="ignored"),
    FileFilter(contains="x"),
]
_VOLUME_LISTINGS = [VolumeFilter(), VolumeFilter(modality="CT"), VolumeFilter(annotated=False), VolumeFilter(study="s")]


def test_no_listing_reads_or_sorts_a_whole_table(tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    plans: list[str] = []

    @sql.event.listens_for(catalog.engine, "before_cursor_execute")
    def explain(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            steps = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            # Rows that a subquery chose by an index, a page of them, may be sorted; nothing else.
            chosen = "IN (SELECT" in statement
            plans.extend(what for _, parent, _, what in steps if not (chosen and parent == 0 and "ORDER BY" in what))

    for wanted in _FILE_LISTINGS:
        list_files(catalog, wanted)
    for wanted in _VOLUME_LISTINGS:
        list_volumes(catalog, wanted)
    catalog.close()
    assert len(plans) > 10
    # A scan in the order of an index stops with the page; one without an index, or a sort, reads everything.
    assert not [plan for plan in plans if plan == "SCAN file" or plan.startswith("USE TEMP B-TREE")]
