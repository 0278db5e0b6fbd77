"""`cellscan watch` on folders and servers: what still arrives is waited for, and what changed or went is put right."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from pipeline.inference.standing import standings
from pipeline.sources.network.dicomweb import Access
from pipeline.sources.network.mirror import mirror
from pipeline.stages import watch_source
from pipeline.stages.detect import detect_archive
from pipeline.stages.watch import Failure
from tests.sources.written import oblique_slice, oblique_voxels, write_oblique_series, write_png
from tests.stages.watching import finds_two, play, table

VOXELS = oblique_voxels((20, 18, 12))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "scans"
    made.mkdir()
    return made


@pytest.fixture
def played(crowned, folder, tmp_path):
    """``played(version, step, …, option=…)``: a watch of the folder, into ``out``."""
    chosen = {"hand_out": finds_two(crowned)}
    return lambda version, *script, **options: play(
        version, options.pop("source", folder), tmp_path / "out", crowned, *script, **chosen | options
    )


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def field(path, seed=0):
    return write_png(path, np.random.default_rng(seed).integers(0, 255, (60, 70), dtype=np.uint8))


def names(told):
    return [sorted(str(scan["name"]).rpartition(" ")[2] for scan in one.scans) for one in told]


def paths(told):
    return [sorted(str(scan["path"]) for scan in one.scans) for one in told]


def test_round_by_round_the_folder_of_a_version_becomes_what_detect_leaves(crowned, played, folder, out, tmp_path):
    for number in range(2):
        field(folder / f"{number}.png", number)
    later = [lambda: field(folder / "2.png", 2), lambda: field(folder / "3.png", 3), None]
    told, _ = played("cells@champion", *later, hand_out=None)
    assert paths(told) == [["0.png", "1.png"], ["2.png"], ["3.png"]]
    detect_archive("cells/1", folder, tmp_path / "whole", crowned)
    ours, theirs = out / "cells-1", tmp_path / "whole"
    for pattern in ("geojson/*", "overlays/*", "detections.csv"):
        written = {path.name: path.read_bytes() for path in ours.glob(pattern)}
        assert written == {path.name: path.read_bytes() for path in theirs.glob(pattern)}
    rows = pd.read_parquet(ours / "detections.parquet")
    pd.testing.assert_frame_equal(rows, pd.read_parquet(theirs / "detections.parquet"))
    assert rows["volume_id"].nunique() == 4


def test_look_at_which_nothing_is_new_asks_no_catalog(played, folder, monkeypatch):
    field(folder / "a.png")
    asked, after_each = [], []
    for name in ("ingest", "sizes"):
        real = getattr(watch_source, name)
        monkeypatch.setattr(
            watch_source, name, lambda *a, real=real, name=name, **k: (asked.append(name), real(*a, **k))[1]
        )
    played("cells/1", *[lambda: after_each.append(len(asked))] * 3)
    assert set(asked) == {"ingest", "sizes"}
    assert after_each[0] == after_each[1] == after_each[2]


def test_file_that_grows_at_each_look_waits_and_holds_nothing_else_back(played, folder, tmp_path):
    whole, slow = field(tmp_path / "elsewhere.png", 1).read_bytes(), folder / "slow.png"

    def up_to(share):
        return lambda: slow.write_bytes(whole[: int(len(whole) * share)])

    field(folder / "a.png")
    up_to(0.2)()
    told, waited = played("cells/1", up_to(0.4), up_to(0.6), up_to(1), None, None, settle=30)
    assert paths(told) == [["a.png"], ["slow.png"]]
    assert [one.quarantined for one in told] == [{}, {}]
    assert waited == [30, 30, 30, 30, 60]


def test_copy_that_stalled_for_longer_is_told_and_done_when_it_is_whole(played, folder, tmp_path):
    whole, slow = field(tmp_path / "elsewhere.png", 1).read_bytes(), folder / "slow.png"
    slow.write_bytes(whole[: len(whole) // 2])
    told, _ = played("cells/1", None, lambda: slow.write_bytes(whole), None, None, settle=30)
    assert [list(one.quarantined) for one in told] == [["slow.png"], []]
    assert paths(told) == [[], ["slow.png"]]


def test_series_waits_for_a_slice_that_still_arrives_wherever_it_lies(played, folder):
    write_oblique_series(folder, VOXELS)
    slow = folder / "elsewhere" / "last.dcm"
    slow.parent.mkdir()
    whole = (folder / "IM0001.dcm").read_bytes()
    (folder / "IM0001.dcm").unlink()
    grow = [lambda n=n: slow.write_bytes(whole[: len(whole) - n]) for n in (250, 200, 100, 0)]
    grow[0]()
    told, _ = played("volumes/1", *grow[1:], None, settle=30)
    assert names(told) == [["20x18x12"]]
    assert not told[0].quarantined


def test_half_a_series_that_was_taken_for_whole_gives_way_to_the_whole(crowned, played, folder, out):
    write_oblique_series(folder, VOXELS, leave_out=(8, 9, 10, 11))
    seen = []

    def rest():
        seen.extend(path.stem for path in (out / "volumes-1" / "geojson").iterdir())
        write_oblique_series(folder, VOXELS, leave_out=tuple(range(8)))

    told, _ = played("volumes/1", rest, None)
    assert names(told) == [["20x18x8"], ["20x18x12"]]
    assert told[1].withdrawn == 1
    (whole,) = [path.stem for path in (out / "volumes-1" / "geojson").iterdir()]
    assert seen != [whole]
    assert [row["volume_id"] for row in table(out).values()] == [whole]
    assert set(pd.read_csv(out / "volumes-1" / "detections.csv")["volume_id"]) == {whole}
    assert set(standings(crowned, "volumes/1-00000000")) == {whole, *seen}  # what was done stays known


def test_series_with_a_gap_is_refused_and_done_when_the_slice_has_come(played, folder):
    write_oblique_series(folder, VOXELS, leave_out=(5,))
    rest = tuple(k for k in range(12) if k != 5)
    told, _ = played("volumes/1", lambda: write_oblique_series(folder, VOXELS, leave_out=rest), None)
    assert [(len(one.scans), len(one.quarantined)) for one in told] == [(0, 11), (1, 0)]


def test_folder_that_is_suddenly_empty_takes_no_result_with_it(played, folder, out, tmp_path):
    field(folder / "a.png")
    away = tmp_path / "away"

    def unmounted():
        folder.rename(away)
        folder.mkdir()

    def mounted():
        folder.rmdir()
        away.rename(folder)

    told, _ = played("cells/1", unmounted, mounted, None)
    assert isinstance(told[1], Failure)
    assert "is it mounted?" in told[1].error
    assert (told[2].scans, told[2].withdrawn, told[2].recovered) == ((), 0, True)
    assert table(out)["a.png"]["state"] == "done"


def test_file_that_went_takes_its_result_out_of_the_folder(played, folder, out):
    field(folder / "a.png", 1)
    field(folder / "b.png", 2)
    told, _ = played("cells/1", (folder / "a.png").unlink, None)
    assert [one.withdrawn for one in told] == [0, 1]
    assert list(table(out)) == ["b.png"]
    assert len(list((out / "cells-1" / "geojson").iterdir())) == 1


def test_scan_of_another_kind_is_in_the_table_with_the_reason(played, folder, out):
    write_oblique_series(folder, VOXELS)
    told, _ = played("cells/1")
    (row,) = table(out).values()
    assert (row["state"], row["reason"]) == ("unsuited", "the version reads 2D scans, this is 3D")
    assert told == []


def test_once_waits_for_what_arrives_and_ends(played, folder):
    field(folder / "a.png")
    told, waited = played("cells/1", None, None, settle=30, once=True)
    assert (paths(told), waited) == ([["a.png"]], [30])


class _Server(ThreadingHTTPServer):
    """A DICOMweb server that counts its instances; ``studies``: study UID → instances."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.studies: dict[str, list[bytes]] = {}
        self.refuses = False
        self.gone: set[int] = set()
        self.asked: list[str] = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/dicom-web"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        way = parts.path.removeprefix("/dicom-web/").split("/")
        self.server.asked.append("/".join(way[::2]))
        if self.server.refuses:
            return self._answer(401, b"")
        studies = self.server.studies
        if len(way) == 6:
            number = int(way[5])
            if number in self.server.gone:
                return self._answer(404, b"")
            return self._answer(200, studies[way[1]][number], "application/dicom")
        if parse_qs(parts.query)["offset"] != ["0"]:
            return self._answer(204, b"")
        listed = {
            1: lambda: [{"0020000D": [uid], "00201208": [len(held)]} for uid, held in studies.items()],
            3: lambda: [{"0020000E": [f"{way[1]}.1"]}],
            5: lambda: [{"00080018": [str(number)]} for number in range(len(studies[way[1]]))],
        }[len(way)]()
        body = [{tag: {"Value": value} for tag, value in one.items()} for one in listed]
        return self._answer(200, json.dumps(body).encode())

    def _answer(self, status, body, kind="application/dicom+json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    with _Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def instances(count, study="1.2.3"):
    for k in range(count):
        buffer = io.BytesIO()
        made = oblique_slice(k, np.ascontiguousarray(VOXELS[:, :, k].T), StudyInstanceUID=study)
        made.save_as(buffer, enforce_file_format=True)
        yield buffer.getvalue()


def test_study_that_grows_on_the_server_is_fetched_when_it_has_stopped_to(played, server):
    whole = list(instances(12))

    def up_to(count):
        return lambda: server.studies.update({"1.2.3": whole[:count]})

    up_to(4)()
    told, waited = played("volumes/1", up_to(8), up_to(12), None, None, source=server.address, settle=30)
    assert names(told) == [["20x18x12"]]
    assert waited == [30, 30, 30, 60]
    assert server.asked.count("studies/series/instances") == 2 + 12  # listed in two pages, fetched once
    assert server.asked[-2:] == ["studies", "studies"]


def test_server_that_refuses_is_a_failure_that_passes(played, server):
    server.studies["1.2.3"] = list(instances(12))
    told, _ = played(
        "volumes/1", lambda: setattr(server, "refuses", True), None, lambda: setattr(server, "refuses", False), None,
        source=server.address,
    )  # fmt: skip
    assert [getattr(one, "kind", "done") for one in told] == ["done", "SourceError", "done"]
    assert told[2].recovered


def test_study_of_which_an_instance_cannot_be_fetched_is_told_once_and_waits_until_it_is_whole(played, server):
    server.studies["1.2.3"] = list(instances(12))
    server.gone = {11}
    told, _ = played("volumes/1", None, server.gone.clear, None, source=server.address)
    assert [list(one.unfetched.values()) for one in told] == [[1], []]
    assert names(told) == [[], ["20x18x12"]]


def test_study_that_was_partly_fetched_by_a_run_that_was_killed_is_not_detected_on(crowned, played, server):
    whole = list(instances(12))
    server.studies["1.2.3"] = whole[:8]
    mirror(server.address, crowned.home, Access())
    server.studies["1.2.3"] = whole
    told, _ = played("volumes/1", None, None, source=server.address, settle=30)
    assert names(told) == [["20x18x12"]]
