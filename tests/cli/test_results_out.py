"""Results go out: `detect --format …` into the scan's study, and `send` to servers that fail in the middle."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import highdicom as hd
import numpy as np
import pandas as pd
import pydicom
import pytest

from pipeline.cli import main
from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.settings import Settings
from pipeline.sources.network import storing
from pipeline.tracking import registry
from pipeline.tracking.run import tracked_run
from tests.detections.dicom.made import HEADER
from tests.experiments import tiny_3d
from tests.sources.written import CT, oblique_slice, oblique_voxels, write, write_nifti, write_oblique_series
from tests.stores import copy_store

FORMATS = ("dicom-sr", "dicom-sr-slices", "coco")
TO_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Results:
    """What `detect` wrote ``first``, and a second time ``again``, of a series in the folder ``series`` and a NIfTI."""

    series: Path
    first: Path
    again: Path

    @property
    def summary(self) -> dict:
        return json.loads((self.first / "summary.json").read_text())

    @property
    def objects(self) -> list[Path]:
        return sorted((self.first / "dicom").iterdir())

    @property
    def rows(self) -> pd.DataFrame:
        """Detections on the series, in the order of the table."""
        table = pd.read_csv(self.first / "detections.csv")
        (scan,) = [one for one in self.summary["scans"] if one["path"].endswith(".dcm")]
        return table[table["volume_id"] == scan["volume_id"]]


def register_version(settings: Settings) -> None:
    """``untrained/1``, whose candidates all reach the threshold."""
    raw = tiny_3d().model_dump()
    raw["inference"]["score_floor"] = 0.001
    config = ExperimentConfig.model_validate(raw)
    folder = settings.home / "bundle"
    Bundle(config, seeded_network(config), 0.001).save(folder)
    with tracked_run(settings, "untrained", "key", {}) as run:
        registry.register(settings, run.run_id, folder, "untrained", "key", {})


@pytest.fixture(scope="module")
def results(tmp_path_factory, empty_store) -> Iterator[Results]:
    root = tmp_path_factory.mktemp("results")
    write_oblique_series(root / "archive" / "series", oblique_voxels(), **HEADER)
    write_nifti(root / "archive" / "other.nii.gz", oblique_voxels(seed=1), np.diag([0.5, 2.0, 4.0, 1.0]))
    register_version(copy_store(empty_store, root / "home"))
    made = Results(root / "archive" / "series", root / "first", root / "again")
    asked = [part for name in FORMATS for part in ("--format", name)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLSCAN_HOME", str(root / "home"))
        for name in ("CELLSCAN_CATALOG_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for out in (made.first, made.again):
            with pytest.raises(SystemExit) as end:
                main(["detect", "untrained/1", str(root / "archive"), "--out", str(out), *asked, "--json"])
            assert end.value.code in (0, None)
        yield made


def test_reports_are_in_the_study_of_their_scan_and_refer_to_its_files(results):
    sources = [pydicom.dcmread(path, stop_before_pixels=True) for path in results.series.iterdir()]
    assert len(results.objects) == 2
    for path in results.objects:
        made = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate"):
            assert made[keyword].value == sources[0][keyword].value
        named = [
            one.ReferencedSOPInstanceUID
            for study in (
                *made.CurrentRequestedProcedureEvidenceSequence,
                *made.get("PertinentOtherEvidenceSequence", ()),
            )
            for series in study.ReferencedSeriesSequence
            for one in series.ReferencedSOPSequence
        ]
        assert sorted(named) == sorted(source.SOPInstanceUID for source in sources)


def test_a_report_has_the_centres_and_scores_of_the_table(results):
    (path,) = [one for one in results.objects if one.name.endswith("-sr.dcm")]
    groups = hd.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    assert len(groups) == len(results.rows) > 1
    certainty = hd.sr.CodedConcept("111012", "DCM", "Certainty of Finding")
    for group, (_, row) in zip(groups, results.rows.iterrows(), strict=True):
        points = [np.reshape(i.GraphicData, (-1, 3)) for i in group[0].ContentSequence if i.ValueType == "SCOORD3D"]
        corners = np.concatenate(points)
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        np.testing.assert_allclose(
            middle * TO_LPS, row[[f"centre_{axis}_world" for axis in "xyz"]].to_numpy(float), atol=1e-3
        )
        assert group.get_measurements(name=certainty)[0].value == pytest.approx(100 * row["score"], rel=1e-6)


def test_a_second_run_writes_the_same_bytes(results):
    assert len(results.objects) == 2
    for path in results.objects:
        assert (results.again / "dicom" / path.name).read_bytes() == path.read_bytes()


def test_a_scan_that_was_no_dicom_has_no_object_and_it_is_told_why(results):
    names = {scan["path"]: scan["name"] for scan in results.summary["scans"]}
    assert len(names) == 2
    other = names["other.nii.gz"]
    refused = results.summary["not_written"]
    assert sorted(refused) == [f"{other}: dicom-sr", f"{other}: dicom-sr-slices"]
    assert all(reason.startswith("the scan came from no DICOM file") for reason in refused.values())


def test_coco_has_the_classes_and_no_volume(results):
    document = json.loads((results.first / "detections.coco.json").read_text())
    assert [one["name"] for one in document["categories"]] == ["lesion"]
    assert document["images"] == document["annotations"] == []


@contextmanager
def stow_server(answers: list[int]) -> Iterator[tuple[str, list[bytes]]]:
    """A STOW-RS service that gives these HTTP statuses, and 200 after them: its address, and what was sent to it."""
    came: list[bytes] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/dicom-web", came
        finally:
            server.shutdown()
            thread.join()


def counted(outcome) -> Counter:
    return Counter("before" if one["before"] else one["outcome"] for one in outcome.json["files"])


def test_reports_are_sent_past_a_busy_server_and_a_failure_and_the_next_time_only_what_failed(results, cellscan):
    first, second = results.objects
    # The first is stored at the second try; the server stays out of order for all six tries of the other.
    with stow_server([503, 200, *[500] * 6]) as (address, came):
        failed = cellscan("send", results.first / "dicom", "--to", address, "--json")
        assert failed.code == 3
        assert [one["outcome"] for one in failed.json["files"]] == ["stored", "failed"]
        assert failed.json["files"][1]["reason"] == "the DICOMweb server is busy or broken (HTTP 500)"
        assert [first.read_bytes() in body for body in came] == [True] * 2 + [False] * 6
        came.clear()
        again = cellscan("send", results.first / "dicom", "--to", address, "--json")
        assert (again.code, counted(again)) == (0, {"before": 1, "stored": 1})
        assert [second.read_bytes() in body for body in came] == [True]
        assert counted(cellscan("send", results.first / "dicom", "--to", address, "--json")) == {"before": 2}
        assert len(came) == 1


@contextmanager
def storage(answer) -> Iterator[str]:
    """A C-STORE provider that takes CT: ``answer(event)`` gives the status."""
    from pynetdicom import AE, evt

    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(CT)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        yield f"dicom://ARCHIVE@127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()


def test_files_are_stored_past_a_broken_association_and_a_refusal_and_each_once(tmp_path, cellscan, monkeypatch):
    monkeypatch.setattr(storing, "_FIRST_WAIT_SECONDS", 0.001)
    slices = [oblique_slice(k, np.zeros((8, 12), np.int16)) for k in range(3)]
    files = [write(made, tmp_path / f"{k}.dcm") for k, made in enumerate(slices)]
    came: list[int] = []

    def answer(event) -> int:
        came.append([made.SOPInstanceUID for made in slices].index(event.request.AffectedSOPInstanceUID))
        if came == [0, 1]:
            event.assoc.abort()
        return 0xC000 if came == [0, 1, 1, 2] else 0x0000

    with storage(answer) as address:
        failed = cellscan("send", *files, "--to", address, "--json")
        assert failed.code == 3
        assert [one["outcome"] for one in failed.json["files"]] == ["stored", "stored", "failed"]
        assert failed.json["files"][2]["reason"] == "refused (status 0xC000)"
        again = cellscan("send", *files, "--to", address, "--json")
        assert (again.code, counted(again)) == (0, {"before": 2, "stored": 1})
        assert counted(cellscan("send", *files, "--to", address, "--json")) == {"before": 3}
    assert came == [0, 1, 1, 2, 2]
