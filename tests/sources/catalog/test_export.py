import pyarrow.parquet as parquet
import pytest

from pipeline.sources.catalog import export
from pipeline.sources.catalog.export import export_table
from tests.sources.catalog.rows import a_file, a_volume, an_annotation


def _rows(path):
    return parquet.read_table(path).to_pylist()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(export, "_BATCH", 2)


def test_files_keep_their_volumes_across_batches(catalog, tmp_path):
    volumes = [a_volume(name) for name in "abc"]
    catalog.save([a_file("/d/1", "c", "a", "b"), a_file("/d/2", digest="ff"), a_file("/d/3", "a")], volumes)
    seen = []
    out = tmp_path / "made" / "files.parquet"
    assert export_table(catalog, "files", out, lambda *told: seen.append(told)) == 3
    rows = _rows(out)
    assert [(row["path"], row["volume_ids"]) for row in rows] == [
        ("/d/1", ["c", "a", "b"]),
        ("/d/2", []),
        ("/d/3", ["a"]),
    ]
    assert rows[1]["digest"] == "ff"
    assert rows[0]["mtime_ns"] == 1_700_000_000_123_456_789
    assert rows[0]["recorded_at"].tzinfo is not None
    assert seen == [(2, 3, "files"), (3, 3, "files")]


def test_volumes_and_annotations(catalog, tmp_path):
    catalog.save(
        [a_file("/d/1", "a", "b")],
        [a_volume("a"), a_volume("b", study=None)],
        [an_annotation("a", lesion=2, vessel=1)],
    )
    export_table(catalog, "volumes", tmp_path / "v.parquet")
    first, second = _rows(tmp_path / "v.parquet")
    assert (first["shape"], first["spacing"], first["objects"]) == ([96, 80, 40], [0.5, 0.5, 2.5], 3)
    assert first["attributes"] == [("format", "dicom")]
    assert (second["study"], second["objects"]) == (None, None)
    export_table(catalog, "annotations", tmp_path / "a.parquet")
    (row,) = _rows(tmp_path / "a.parquet")
    assert (row["volume_id"], row["labels"], row["from_points"]) == ("a", [("lesion", 2), ("vessel", 1)], False)


def test_an_empty_table_is_a_file_with_its_columns(catalog, tmp_path):
    for name in ("files", "volumes", "annotations"):
        assert export_table(catalog, name, tmp_path / name) == 0
        assert parquet.read_schema(tmp_path / name).names[0] in ("path", "volume_id")


def test_a_name_that_is_not_text_is_written_readably(catalog, tmp_path):
    catalog.save([a_file("/d/\udcff.dcm")])
    export_table(catalog, "files", tmp_path / "f.parquet")
    assert _rows(tmp_path / "f.parquet")[0]["path"] == "/d/\\udcff.dcm"


def test_an_export_that_fails_leaves_the_file_before_and_nothing_else(catalog, tmp_path):
    catalog.save([a_file("/d/1")])
    out = tmp_path / "f.parquet"
    export_table(catalog, "files", out)
    before = out.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_table(catalog, "files", out, stop)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".db" and "catalog" not in path.name] == [
        out.name
    ]
