"""What still arrives is not read, and what was known of it stands."""

import os

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.ingest import ingest
from pipeline.sources.settling import Settling
from pipeline.sources.walk import fingerprint
from tests.sources.written import oblique_voxels, write_oblique_series, write_png


def test_thing_has_settled_when_it_stayed_in_one_state_for_long_enough():
    now = [0.0]
    settling = Settling(30, lambda: now[0])
    told = []
    for now[0], state in ((0, 5), (29, 5), (30, 5), (31, 6), (60, 6), (61, 6), (62, 5)):
        told.append(settling.has_settled("a", state))
    assert told == [False, False, True, False, False, True, False]


def test_what_is_not_kept_begins_anew():
    now = [0.0]
    settling = Settling(30, lambda: now[0])
    assert not any(settling.has_settled(name, 1) for name in "ab")
    settling.keep({"a"})
    now[0] = 30
    assert [settling.has_settled(name, 1) for name in "ab"] == [True, False]


def test_without_a_time_to_wait_everything_has_settled():
    assert Settling(0, lambda: 7.0).has_settled("a", 1)


def outcomes(summary):
    return {file.path: (file.outcome, file.volume_ids) for file in summary.files}


def but(*names):
    """All files have settled but these."""
    return lambda path, size, mtime_ns: os.path.basename(path) not in names  # noqa: PTH119 - as fast as it is called


def test_file_that_is_written_anew_stays_as_it_was_known(archive, settings):
    first, second = (np.full((8, 9), value, np.uint8) for value in (1, 2))
    write_png(archive / "a.png", first)
    before = outcomes(ingest(archive, settings))
    write_png(archive / "a.png", second)
    os.utime(archive / "a.png", (1, 1))
    write_png(archive / "b.png", np.zeros((8, 9), np.uint8))
    during = outcomes(ingest(archive, settings, settled=but("a.png")))
    assert (set(during), during["a.png"]) == ({"a.png", "b.png"}, before["a.png"])
    after = outcomes(ingest(archive, settings))
    assert after["a.png"] != before["a.png"]
    assert after == outcomes(ingest(archive, settings))


def test_whole_of_a_series_waits_and_a_series_that_is_known_stands(archive, settings):
    voxels = oblique_voxels()
    write_oblique_series(archive / "known", voxels, leave_out=(4, 5), SeriesInstanceUID="1.2.1")
    known = outcomes(ingest(archive, settings))
    write_oblique_series(archive / "more", voxels, leave_out=(0, 1, 2, 3), SeriesInstanceUID="1.2.1")
    write_oblique_series(archive / "new", voxels, SeriesInstanceUID="1.2.2")
    write_oblique_series(archive / "other", oblique_voxels(seed=1), SeriesInstanceUID="1.2.3")
    for folder, name in (("more", "late1.dcm"), ("new", "late2.dcm")):
        next((archive / folder).iterdir()).rename(archive / folder / name)
    summary = outcomes(ingest(archive, settings, settled=but("late1.dcm", "late2.dcm")))
    assert {path: summary[path] for path in known} == known
    assert {path.partition("/")[0] for path in set(summary) - set(known)} == {"other"}
    whole = ingest(archive, settings)
    assert len(whole.volume_ids) == 2  # `new` holds the voxels of the series that is whole now
    assert len(whole.files) == 4 + 2 + 6 + 6


def test_archive_file_that_still_grows_is_not_opened(archive, settings):
    (archive / "scans.zip").write_bytes(b"PK\3\4 half of it")
    write_png(archive / "b.png", np.zeros((8, 9), np.uint8))
    assert set(outcomes(ingest(archive, settings, settled=but("scans.zip")))) == {"b.png"}


def test_fingerprint_sees_names_sizes_and_times(archive):
    path = write_png(archive / "in" / "a.png", np.zeros((4, 5), np.uint8))
    seen = [fingerprint(archive)]
    os.utime(path, (1, 1))
    seen.append(fingerprint(archive))
    path.rename(archive / "in" / "b.png")
    seen.append(fingerprint(archive))
    (archive / "in" / "b.png").write_bytes(b"")
    seen.append(fingerprint(archive))
    assert len(set(seen)) == 4
    assert fingerprint(archive) == seen[-1]
    assert fingerprint(archive, archive / "in") != seen[-1]
    assert fingerprint(archive / "in" / "b.png") == fingerprint(archive / "in" / "b.png")
    with pytest.raises(SourceError, match="found nothing at"):
        fingerprint(archive / "none")
