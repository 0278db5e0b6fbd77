from pathlib import Path

from pipeline.sources.catalog.found_scans import FoundScan, found_scans, mark
from tests.sources.catalog.rows import a_file, a_volume


def test_scans_are_listed_once_by_their_first_file_below_the_folder(catalog):
    volumes = [a_volume("whole scan", series="5e51"), a_volume("plane", series=None, modality="XA", shape=(7, 5))]
    files = [a_file("/b/2.dcm", "whole scan"), a_file("/b/1.dcm", "whole scan"), a_file("/a/x.png", "plane")]
    catalog.save([*files, a_file("/c/copy.png", "plane")], volumes)
    scan = FoundScan("whole scan", "CT", (96, 80, 40), "5e51", "/b/1.dcm")
    assert found_scans(catalog) == [FoundScan("plane", "XA", (7, 5), None, "/a/x.png"), scan]
    assert found_scans(catalog, Path("/b")) == [scan]
    assert [one.path for one in found_scans(catalog, Path("/c"))] == ["/c/copy.png"]
    assert (scan.dims, scan.name) == (3, "CT whole sc 96x80x40")


def test_mark_changes_when_a_file_comes_changes_or_goes_and_not_else(catalog):
    marks = [mark(catalog)]
    catalog.save([a_file("/a", "v")], [a_volume("v")])
    marks.append(mark(catalog))
    catalog.save([a_file("/a", "w", size=11)], [a_volume("w")])
    marks.append(mark(catalog))
    catalog.forget(["/a"])
    marks.append(mark(catalog))
    catalog.save([a_file("/a", "w", size=11)])  # it gets the number of the one that went, which left its past
    marks.append(mark(catalog))
    assert len(set(marks[:4])) == 4
    catalog.save([a_file("/a", "w", size=11)])
    assert mark(catalog) == marks[-1]
