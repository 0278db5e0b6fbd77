import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.detections import Detections
from pipeline.detections.outlines import label_map
from pipeline.detections.table import write_table
from pipeline.errors import ConfigError
from pipeline.geometry import Boxes
from pipeline.sources.annotations.label_maps import read_label_map
from pipeline.stages.export import check_formats, export
from tests.detections.test_outlines import stars
from tests.phantoms import field_of_cells

_BUNDLE = SimpleNamespace(
    classes=("cell",), threshold=0.5, config=SimpleNamespace(preprocessing=SimpleNamespace(intensity=None))
)


@pytest.fixture
def volumes(tmp_path):
    return [field_of_cells(tmp_path, seed) for seed in range(3)]


@pytest.fixture
def begin(tmp_path):
    """``begin(volumes)`` exports scans without a finding into one folder; its summary is not yet written."""

    def run(volumes):
        results = {}
        for volume in volumes:
            boxes, scores = Boxes.empty(volume.grid), np.empty(0)
            nothing = Detections(volume.volume_id, boxes, scores, scores.astype(int), ("cell",))
            results[volume.volume_id] = tmp_path / f"{volume.volume_id}.parquet"
            write_table(nothing, results[volume.volume_id])
        return export(volumes, results, _BUNDLE, "cells/1", tmp_path / "out")

    return run


def _scans(out):
    overlays, outlines = ({path.stem for path in (out / name).iterdir()} for name in ("overlays", "geojson"))
    assert overlays == outlines
    return overlays


def test_files_of_scans_that_are_gone_are_removed_and_foreign_ones_stay(begin, volumes, tmp_path):
    out = tmp_path / "out"
    begin(volumes[:2]).write_summary({"model": "cells/1"})
    (out / "overlays" / "mine.png").write_text("mine")
    (out / "geojson" / "mine.geojson").write_text("mine")
    begin(volumes[1:]).write_summary({"model": "cells/1"})
    assert _scans(out) == {volumes[1].volume_id, volumes[2].volume_id, "mine"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["model"] == "cells/1"
    assert len(summary["files"]) == 4
    assert all((out / name).is_file() for name in summary["files"])


def test_files_of_an_export_that_was_killed_are_removed_too(begin, volumes, tmp_path):
    begin(volumes[:1]).write_summary({})
    begin(volumes[1:2])
    begin(volumes[2:]).write_summary({})
    assert _scans(tmp_path / "out") == {volumes[2].volume_id}
    assert not (tmp_path / "out" / ".begun.json").exists()


def test_a_damaged_volume_or_result_is_told_and_costs_the_others_nothing(begin, volumes, tmp_path):
    out, (fine, unseen, unread) = tmp_path / "out", volumes
    begin(volumes).write_summary({})
    results = {volume.volume_id: tmp_path / f"{volume.volume_id}.parquet" for volume in volumes}
    results[unread.volume_id].write_bytes(b"cut")
    unseen.array_path.write_bytes(b"not an array")
    (out / "overlays" / f"{unseen.volume_id}.png").unlink()
    again = export(volumes, results, _BUNDLE, "cells/1", out)
    again.write_summary({})
    assert again.counts == {fine.volume_id: 0, unseen.volume_id: 0}
    assert list(again.refused) == [f"{unseen.volume_id}: overlays", f"{unread.volume_id}: result"]
    assert "cannot be read (ArrowInvalid)" in again.refused[f"{unread.volume_id}: result"]
    assert {path.stem for path in (out / "overlays").iterdir()} == {fine.volume_id}
    assert {path.stem for path in (out / "geojson").iterdir()} == {fine.volume_id, unseen.volume_id}


@pytest.mark.parametrize("summary", ['{"files": ["../notes.png", "notes.png", "overlays/../notes.png", 3]}', "[]", "{"])
def test_a_summary_that_is_not_ours_removes_nothing(begin, volumes, tmp_path, summary):
    out = tmp_path / "out"
    out.mkdir()
    notes = [tmp_path / "notes.png", out / "notes.png"]
    for path in notes:
        path.write_text("mine")
    (out / "summary.json").write_text(summary)
    begin(volumes[:1])
    assert all(path.is_file() for path in notes)


def test_outlines_are_exported_as_label_maps_that_an_ingest_takes(volumes, tmp_path):
    volume = volumes[0]
    outlines = stars([[20, 30], [23, 30]], [4, 4])
    boxes = Boxes(outlines.min(axis=1), outlines.max(axis=1), volume.grid)
    found = Detections(volume.volume_id, boxes, np.array([0.9, 0.4]), np.zeros(2, int), ("cell",), outlines)
    result = tmp_path / "result.parquet"
    write_table(found, result)
    exported = export([volume], {volume.volume_id: result}, _BUNDLE, "cells/1", tmp_path / "out")
    exported.write_summary({})
    (path,) = (tmp_path / "out" / "labels").iterdir()
    (read,) = read_label_map(path, "instances")
    np.testing.assert_array_equal(read.label_map, label_map(found.above(0.5)))
    (row,) = pd.read_parquet(tmp_path / "out" / "detections.parquet").to_dict("records")
    np.testing.assert_allclose(row["outline_voxel"], outlines[0].ravel())
    assert f"labels/{volume.volume_id}.tif" in json.loads((tmp_path / "out" / "summary.json").read_text())["files"]


def test_a_format_that_does_not_suit_a_scan_is_told_and_one_not_asked_for_again_is_removed(volumes, tmp_path):
    (volume, *_) = volumes
    boxes, scores = Boxes.empty(volume.grid), np.empty(0)
    result = tmp_path / "one.parquet"
    write_table(Detections(volume.volume_id, boxes, scores, scores.astype(int), ("cell",)), result)
    run = partial(export, [volume], {volume.volume_id: result}, _BUNDLE, "cells/1", tmp_path / "out")
    asked = run(formats=("coco", "slicer"))
    assert list(asked.refused) == [f"{volume.volume_id}: slicer"]
    assert (tmp_path / "out" / "detections.coco.json").is_file()
    assert run().refused == {}
    assert not (tmp_path / "out" / "detections.coco.json").exists()
    with pytest.raises(ConfigError, match="docx"):
        check_formats(["docx"])
