import dataclasses
import errno

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.detections.table import from_frame, to_frame
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.centre import CentreDetector
from pipeline.detectors.maps import Maps
from pipeline.errors import StoreError
from pipeline.geometry import Grid
from pipeline.inference.archive import detect_volumes
from pipeline.inference.detect import VolumeDetector, detect_prepared
from pipeline.inference.ledger import MAX_FAILURES, Ledger
from pipeline.settings import Settings
from tests.experiments import tiny_2d, tiny_3d
from tests.phantoms import awkward_grid, blob, volume_with


class FindsMarks(CentreDetector):
    """Finds every planted mark exactly: a voxel of value 1 is the centre of a box of the edges it is told."""

    half = 2.0

    def forward(self, image):
        dims = self.dims
        pool = torch.nn.functional.max_pool2d if dims == 2 else torch.nn.functional.max_pool3d
        found = pool(image[:, :1], self.stride, stride=self.stride)[:, 0]
        score = torch.where(found > 0.9, found * 6, torch.full_like(found, -9.0))
        shape = (image.shape[0], 1, *score.shape[1:])
        distances = torch.full((image.shape[0], 2 * dims, *score.shape[1:]), self.half)
        return Maps(score, torch.zeros(shape), distances)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_no_mark_is_lost_or_doubled_at_the_seams_of_windows(overlap):
    raw = tiny_2d().model_dump()
    raw["inference"] |= {"window": [48, 32], "overlap": overlap, "batch_size": 3}
    config = type(tiny_2d()).model_validate(raw)
    rng = np.random.default_rng(0)
    i, j = np.meshgrid(np.arange(4, 199, 7), np.arange(4, 150, 7), indexing="ij")
    spots = np.stack([i.ravel(), j.ravel()], axis=1) + rng.integers(0, 2, (i.size, 2))
    image = torch.zeros(1, 203, 151)
    image[0, spots[:, 0], spots[:, 1]] = 1
    grid = Grid.of_pixels((203, 151))
    found = detect_prepared(FindsMarks(config).eval(), config, image, grid, grid, "v")
    assert len(found) == len(spots)
    distance = np.linalg.norm(found.boxes.centres[:, None] - spots[None], axis=2)
    assert distance.min(axis=0).max() < 1.0  # within half a stride of 2


def test_a_mark_in_an_oblique_flipped_anisotropic_volume_is_found_at_its_world_millimetres():
    """Preprocessing, windows and export together; the expected place is worked by hand in test_grid."""
    grid = awkward_grid()
    at = np.array([10.0, 4.0, 2.0])
    image = (blob(grid.shape, at, sigma=1.5) > 0.99).astype(np.float32)[None]
    config = tiny_3d()
    raw = config.model_dump()
    raw["preprocessing"]["spacing"] = None
    config = type(config).model_validate(raw)
    bundle = Bundle(config, FindsMarks(config), 0.5)
    found = VolumeDetector(bundle, "cpu").detect(image, grid, "v")
    row = to_frame(found).iloc[0]
    world = row[["centre_x_world", "centre_y_world", "centre_z_world"]].to_numpy(dtype=float)
    expected = np.array([-12 + 2.5 + 6.9282, 7.5 - 4.3301 + 4.0, 100 - 6.0])
    # The network's locations are 2, 2, 1 voxels apart; half a step is 0.25, 1 and 0 mm along the array axes.
    assert np.linalg.norm(world - expected) < 1.1
    assert row[["size_i_world", "size_j_world", "size_k_world"]].tolist() == pytest.approx([2.0, 8.0, 12.0])
    back = from_frame(to_frame(found), "v", grid, ("lesion",))
    assert back.boxes.lower == pytest.approx(found.boxes.lower)


def test_a_scan_without_findings_gives_an_empty_table():
    config = tiny_2d()
    found = VolumeDetector(Bundle(config, FindsMarks(config), 0.5), "cpu").detect(
        np.zeros((1, 40, 40), np.uint8), Grid.of_pixels((40, 40)), "v"
    )
    frame = to_frame(found)
    assert len(frame) == 0
    assert "centre_x_world" in frame


def test_in_pixels_the_result_still_lies_on_the_scans_own_millimetres():
    raw = tiny_2d().model_dump()
    raw["data"]["in_pixels"] = True
    config = type(tiny_2d()).model_validate(raw)
    grid = Grid((40, 40), np.diag([0.0005, 0.0005, 1.0]))
    image = np.zeros((1, 40, 40), np.uint8)
    image[0, 10, 20] = 200
    found = VolumeDetector(Bundle(config, FindsMarks(config), 0.5), "cpu").detect(image, grid, "v")
    assert found.boxes.grid is grid
    assert to_frame(found)["centre_x_world"][0] == pytest.approx(10.5 * 0.0005)


@pytest.fixture
def archive(tmp_path):
    settings = dataclasses.replace(
        Settings.from_environment(), home=tmp_path, device="cpu", catalog_url=f"sqlite:///{tmp_path / 'catalog.db'}"
    )
    config = tiny_2d()
    detector = VolumeDetector(Bundle(config, FindsMarks(config), 0.5), "cpu")
    grid = Grid.of_pixels((40, 40))
    volumes = []
    for n in range(4):
        image = np.zeros((1, 40, 40), np.uint8)
        image[0, 10 + n, 20] = 200
        volumes.append(volume_with(tmp_path, image, grid, patient=f"p{n}"))
    return detector, volumes, settings


def test_each_volume_is_detected_once(archive):
    detector, volumes, settings = archive
    first = detect_volumes(detector, "m/1", volumes, settings)
    again = detect_volumes(detector, "m/1", volumes, settings)
    assert (first.detected_now, again.detected_now, again.done_before) == (4, 0, 4)
    assert [len(pd.read_parquet(path)) for path in again.results.values()] == [1, 1, 1, 1]


def test_another_version_starts_anew(archive):
    detector, volumes, settings = archive
    detect_volumes(detector, "m/1", volumes, settings)
    assert detect_volumes(detector, "m/2", volumes, settings).detected_now == 4


def test_one_unreadable_volume_does_not_end_the_run(archive):
    detector, volumes, settings = archive
    volumes[1].array_path.write_bytes(b"not an array")
    summary = detect_volumes(detector, "m/1", volumes, settings)
    assert len(summary.results) == 3
    assert list(summary.quarantined) == [volumes[1].volume_id]


def test_a_result_that_vanished_is_made_again(archive):
    detector, volumes, settings = archive
    first = detect_volumes(detector, "m/1", volumes, settings)
    first.results[volumes[2].volume_id].unlink()
    assert detect_volumes(detector, "m/1", volumes, settings).detected_now == 1


def test_what_failed_for_a_passing_reason_is_tried_again_and_in_the_end_quarantined(archive):
    detector, volumes, settings = archive

    class OutOfMemory(VolumeDetector):
        def finish(self, scan, found):
            if scan.volume_id == volumes[0].volume_id:
                raise torch.OutOfMemoryError("no memory left")
            return super().finish(scan, found)

    failing = OutOfMemory(Bundle(tiny_2d(), FindsMarks(tiny_2d()), 0.5), "cpu")
    first = detect_volumes(failing, "m/1", volumes, settings)
    assert (len(first.results), list(first.unfinished)) == (3, [volumes[0].volume_id])
    healed = detect_volumes(detector, "m/1", volumes, settings)
    assert (len(healed.results), healed.unfinished, healed.detected_now) == (4, {}, 1)
    for _ in range(MAX_FAILURES):
        last = detect_volumes(failing, "m/2", volumes, settings)
    assert last.quarantined == {volumes[0].volume_id: "OutOfMemoryError: no memory left (tried 3 times)"}


@pytest.mark.parametrize("step", ["pipeline.inference.archive.write_table", "pipeline.inference.ledger._sync"])
def test_a_full_disk_ends_the_run_and_is_no_scans_fault(archive, monkeypatch, step):
    detector, volumes, settings = archive

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(step, full)
        for _ in range(MAX_FAILURES + 1):
            with pytest.raises(StoreError, match=r"results cannot be written to .*No space left.*: make space there"):
                detect_volumes(detector, "m/1", volumes, settings)
    with Ledger.of(settings, "m/1", detector.config.digest()) as ledger:
        rows = ledger.rows([volume.volume_id for volume in volumes])
        assert [(row.state, row.failures) for row in rows.values()] == [("pending", 0)] * 4
    assert detect_volumes(detector, "m/1", volumes, settings).detected_now == 4


def test_a_run_that_the_user_stops_gives_its_volume_back(archive):
    detector, volumes, settings = archive

    class Stopped(VolumeDetector):
        def look(self, windows, full):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detect_volumes(Stopped(Bundle(tiny_2d(), FindsMarks(tiny_2d()), 0.5), "cpu"), "m/1", volumes, settings)
    assert detect_volumes(detector, "m/1", volumes, settings).detected_now == 4


@pytest.mark.parametrize(("size", "spot"), [(41, 40), (41, 39), (42, 41)])
def test_an_object_at_the_far_border_is_not_lost(size, spot):
    config = tiny_2d()
    image = np.zeros((1, size, size), np.uint8)
    image[0, spot, spot] = 200
    found = VolumeDetector(Bundle(config, FindsMarks(config), 0.5), "cpu").detect(
        image, Grid.of_pixels((size, size)), "v"
    )
    assert len(found) == 1


def test_a_class_with_a_threshold_of_its_own_is_told_by_the_common_one():
    config, grid = tiny_2d(), Grid.of_pixels((40, 40))
    image = np.zeros((1, 40, 40), np.uint8)
    image[0, 10, 20] = 200  # scores the logistic function of 6, 0.99753
    for own, expected in ((0.999, 0.5 * 0.99753 / 0.999), (0.9, 0.5 + 0.5 * 0.09753 / 0.1)):
        bundle = Bundle(config, FindsMarks(config), 0.5, class_thresholds=(own,))
        found = VolumeDetector(bundle, "cpu").detect(image, grid, "v")
        assert found.scores == pytest.approx([expected], abs=1e-4)
        plain = VolumeDetector(bundle.plain, "cpu").detect(image, grid, "v")
        assert plain.scores == pytest.approx([0.99753], abs=1e-4)
