import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pyarrow.parquet as parquet
import pytest
import typer.main
from PIL import Image

from pipeline.cli.catalog import catalog
from pipeline.settings import Settings
from pipeline.sources.ingest import ingest
from tests.sources.written import oblique_voxels, write_nifti, write_oblique_series, write_png


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """A CT series, a volume, a field and a broken file; and a home folder into which they were ingested."""
    folder, home = tmp_path_factory.mktemp("archive"), tmp_path_factory.mktemp("ingested")
    write_oblique_series(folder / "ct", oblique_voxels())
    write_nifti(folder / "mr.nii", oblique_voxels(seed=2), np.diag([1.0, 1.0, 2.0, 1.0]))
    write_png(folder / "field.png", np.zeros((5, 7), dtype=np.uint8))
    (folder / "broken.dcm").write_bytes(b"x" * 300)
    ingest(folder, replace(Settings.from_environment(), home=home, catalog_url=f"sqlite:///{home / 'catalog.db'}"))
    return folder, home


@pytest.fixture
def archive(ingested, tmp_path):
    """The archive, in the catalog of this test's own home folder."""
    folder, home = ingested
    shutil.copytree(home, tmp_path / "home")
    return folder


@pytest.fixture
def ids(cellscan, archive):
    listed = cellscan("catalog", "list", "--json").json["volumes"]
    return {tuple(one["shape"]): one["volume_id"] for one in listed}


def test_an_empty_catalog_says_how_to_fill_it(cellscan):
    outcome = cellscan("catalog", "list")
    assert (outcome.code, outcome.stdout) == (0, "the catalog is empty: `cellscan ingest FOLDER` fills it\n")
    assert cellscan("catalog", "list", "--json").json == {"volumes": [], "after": None}


def test_volumes_are_listed_in_a_table_that_fits_the_terminal(cellscan, archive, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = cellscan("catalog", "list").stdout.splitlines()
    assert lines[0].split() == ["volume", "modality", "shape", "spacing", "part", "objects", "patient", "files"]
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    (ct,) = [line.split() for line in lines if " CT " in line]
    assert ct[1:6] == ["CT", "12x8x6", "0.5x2x4", "mm", "-"]
    assert ct[-1] == "6"
    (field,) = [line.split() for line in lines if " 7x5 " in line]
    assert field[3] == "-"


def test_without_a_terminal_nothing_is_folded(cellscan, archive, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = cellscan("catalog", "files", "--outcome", "quarantined").stdout.splitlines()
    assert len(lines) == 2
    assert str(archive / "broken.dcm") in lines[1]
    (broken,) = cellscan("catalog", "files", "--outcome", "quarantined", "--json").json["files"]
    assert len(broken["reason"]) > 20
    assert lines[1].rstrip().endswith(broken["reason"])


def test_pages_lead_on_until_the_last(cellscan, archive):
    first = cellscan("catalog", "list", "--limit", 2)
    told = first.stdout.splitlines()[-1]
    assert told.startswith("there are more: add --after ")
    second = cellscan("catalog", "list", "--limit", 2, "--after", told.split()[-1])
    assert len(second.stdout.splitlines()) == 2
    assert "more" not in second.stdout


def test_filters_narrow_the_list(cellscan, archive):
    assert (
        len(cellscan("catalog", "list", "--archive", archive / "ct", "--modality", "CT", "--json").json["volumes"]) == 1
    )
    assert cellscan("catalog", "list", "--annotated").stdout == "no volume fits\n"
    assert len(cellscan("catalog", "list", "--not-annotated", "--json").json["volumes"]) == 3
    assert cellscan("catalog", "files", "--contains", "nowhere").stdout == "no file fits\n"
    assert cellscan("catalog", "list", "--outcome", "lost").code == 2
    assert cellscan("catalog", "list", "--limit", 0).code == 2


def test_a_file_tells_what_happened_to_it(cellscan, archive, ids):
    lines = cellscan("catalog", "file", archive / "broken.dcm").stdout.splitlines()
    assert lines[0] == str(archive / "broken.dcm")
    (broken,) = cellscan("catalog", "files", "--outcome", "quarantined", "--json").json["files"]
    assert lines[1] == f"  quarantined: {broken['reason']}"
    assert lines[2].endswith("300 B; the file has not changed since")
    image = cellscan("catalog", "file", archive / "ct" / "IM0001.dcm").stdout
    assert f"  became {ids[12, 8, 6]} (CT 12x8x6)\n" in image


def test_a_file_that_is_gone_since_says_so(cellscan, archive):
    path = archive / "ct" / "IM0001.dcm"
    aside = path.rename(archive / "aside")
    try:
        assert "the file is not there any more" in cellscan("catalog", "file", path).stdout
    finally:
        aside.rename(path)


def test_a_file_that_was_never_met_says_so_and_what_to_do(cellscan, archive, tmp_path):
    (tmp_path / "new.dcm").write_bytes(b"")
    outcome = cellscan("catalog", "file", tmp_path / "new.dcm")
    assert (outcome.code, outcome.stderr) == (1, "")
    assert (
        outcome.stdout
        == f"{tmp_path / 'new.dcm'} was never ingested, `cellscan ingest {tmp_path / 'new.dcm'}` reads it\n"
    )
    nowhere = cellscan("catalog", "file", tmp_path / "none", "--json")
    assert (nowhere.code, nowhere.json) == (1, {"path": str(tmp_path / "none"), "known": False, "exists": False})


def test_a_volume_is_shown_with_its_files_and_its_picture(cellscan, archive, ids, tmp_path):
    whole = ids[12, 8, 6]
    outcome = cellscan("catalog", "show", whole[:8], "--thumbnail", tmp_path / "made" / "out.png")
    assert outcome.code == 0
    assert f"volume: {whole}" in outcome.stdout
    assert "read from 6 files:" in outcome.stdout
    with Image.open(tmp_path / "made" / "out.png") as picture:
        assert picture.format == "PNG"
    shown = cellscan("catalog", "show", whole, "--json").json
    assert len(shown["files"]) == 6
    assert shown["volume"]["volume_id"] == whole


def test_a_volume_that_is_not_there_is_an_error(cellscan, archive):
    outcome = cellscan("catalog", "show", "0000000000000000ff")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "no volume has an id that begins with" in outcome.stderr


def test_the_catalog_is_exported_as_a_folder_or_as_one_file(cellscan, archive, tmp_path):
    outcome = cellscan("catalog", "export", tmp_path / "out", "--json").json
    assert outcome["rows"] == {"files": 9, "volumes": 3, "annotations": 0}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "annotations.parquet",
        "files.parquet",
        "volumes.parquet",
    ]
    assert cellscan("catalog", "export", tmp_path / "one.parquet", "--table", "files").code == 0
    assert parquet.read_table(tmp_path / "one.parquet").num_rows == 9


def test_damaged_volumes_are_found_and_built_anew(cellscan, archive, ids, tmp_path):
    assert cellscan("catalog", "verify").stdout == "3 volumes whole, 0 damaged, 0 not in the store\n"
    stored = tmp_path / "home" / "volumes" / ids[12, 8, 6] / "image.b2nd"
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 0xFF
    stored.write_bytes(content)
    outcome = cellscan("catalog", "verify")
    assert outcome.code == 3
    assert outcome.stdout.splitlines()[1] == f"  damaged: {ids[12, 8, 6]}"
    assert cellscan("ingest", archive).code == 0
    assert cellscan("catalog", "verify", "--json").json == {"whole": 3, "damaged": [], "missing": []}


def test_the_summary_counts_and_names_the_archives(cellscan, archive):
    lines = cellscan("catalog", "summary").stdout.splitlines()
    assert lines[0].startswith("files     9: 8 ingested, 0 ignored, 1 quarantined; ")
    assert lines[1].startswith("volumes   3: 1 CT, ")
    assert lines[-1].startswith(f"archive   {archive}, last ingested ")
    assert cellscan("catalog", "summary", "--json").json["files"]["quarantined"] == 1


def test_a_catalog_of_a_newer_release_is_an_error_that_says_what_to_do(cellscan, archive, tmp_path):
    with closing(sqlite3.connect(tmp_path / "home" / "catalog.db")) as connection, connection:
        connection.execute("UPDATE catalog_schema SET version = 99")
    outcome = cellscan("catalog", "list")
    assert outcome.code == 1
    assert "upgrade cellscan" in outcome.stderr


def test_commands_and_their_parameters():
    group = typer.main.get_command(catalog)
    common = ["as_json", "home", "verbose"]
    filters = ["modality", "outcome", "annotated", "archive", "study", "series", "patient", "label", "part"]
    assert {name: [p.name for p in command.params] for name, command in group.commands.items()} == {
        "list": [*filters, "limit", "after", *common],
        "files": ["outcome", "reason", "under", "contains", "limit", "after", *common],
        "file": ["path", *common],
        "show": ["volume", "picture", *common],
        "export": ["out", "table", *common],
        "verify": ["archive", *common],
        "summary": common,
    }
    assert not [p.name for command in group.commands.values() for p in command.params if not p.help]
