import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detections.table import to_frame
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.engine import Engine
from tests.experiments import tiny_2d
from tests.inference.test_detect import FindsMarks
from tests.phantoms import volume_with


def changed(**inference):
    raw = tiny_2d().model_dump()
    raw["inference"] |= inference
    return ExperimentConfig.model_validate(raw)


@dataclass(eq=False)
class Noted:
    """A job that remembers how it was ended."""

    of: object
    alone: bool = False
    ended: list = field(default_factory=list)
    seen: tuple = ()

    def volume(self):
        if isinstance(self.of, Exception):
            raise self.of
        return self.of

    def finish(self, detections, windows, background):
        self.ended.append(to_frame(detections))
        self.seen = (windows, background)

    def fail(self, error):
        self.ended.append(error)

    def release(self):
        self.ended.append("released")


def run(detector, jobs, size=1 << 30):
    told = []
    tally = Engine(detector, size, detector.config.inference.batch_size).run(lambda _: iter(jobs), told.append)
    assert told == sorted(told)
    assert told[-1] == len(jobs) == tally.scans
    return tally


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Seven noisy fields: most are one window of 64 x 64, two are four windows, and two one window of 40 x 40."""
    folder, rng = tmp_path_factory.mktemp("fields"), np.random.default_rng(0)
    sizes = [64, 40, 64, 100, 64, 40, 100]
    images = [rng.integers(0, 200, (1, size, size), dtype=np.uint8) for size in sizes]
    return [volume_with(folder, image, Grid.of_pixels(image.shape[1:])) for image in images]


def marked(folder, values):
    """Fields of 64 x 64 with one voxel of each value, and a mark."""
    images = np.zeros((len(values), 1, 64, 64), np.uint8)
    images[:, 0, 10, 20] = 200
    images[:, 0, 40, 40] = values
    return [volume_with(folder, image, Grid.of_pixels((64, 64)), patient=f"p{n}") for n, image in enumerate(images)]


def trained(config):
    return VolumeDetector(Bundle(config, seeded_network(config).eval(), 0.5), "cpu")


def test_whichever_scans_share_a_batch_results_are_the_same_to_the_byte(volumes):
    detector = trained(changed(batch_size=3, score_floor=0.005, overlap=0.1))
    together = [Noted(volume) for volume in volumes]
    run(detector, together)
    for order in (volumes[::-1], volumes[3:4], volumes[2:6]):
        jobs = [Noted(volume) for volume in order]
        run(detector, jobs)
        for job in jobs:
            (before,) = (one.ended[0] for one in together if one.of is job.of)
            assert len(before) > 10
            assert job.ended[0].equals(before)


def test_results_are_those_of_one_scan_alone(volumes):
    detector = trained(changed(batch_size=4, score_floor=0.005))
    jobs = [Noted(volume) for volume in volumes]
    run(detector, jobs)
    for job in jobs:
        alone = to_frame(detector.detect(job.of.array[...], job.of.grid, job.of.volume_id))
        assert job.ended[0]["label"].equals(alone["label"])
        for column in ("score", "lower_i_voxel", "upper_j_voxel", "centre_x_world"):
            assert job.ended[0][column].to_numpy() == pytest.approx(alone[column].to_numpy(), abs=1e-4)


class Counts(FindsMarks):
    """Counts the batches, and refuses one with a voxel of 90, which preprocessing makes 0.125."""

    batches = 0

    def forward(self, image):
        type(self).batches += 1
        if (image == 0.125).any():
            raise RuntimeError("this window is too hard")
        return super().forward(image)


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setattr(Counts, "batches", 0)
    config = changed(batch_size=3, skip_background=False)
    return VolumeDetector(Bundle(config, Counts(config), 0.5), "cpu")


def test_small_scans_share_a_batch(counting, tmp_path):
    jobs = [Noted(volume) for volume in marked(tmp_path, [0] * 7)]
    tally = run(counting, jobs)
    assert Counts.batches == 3
    assert [len(job.ended[0]) for job in jobs] == [1] * 7
    assert (tally.windows, tally.background) == (7, 0)
    assert sum(job.seen[0] for job in jobs) == 7


def test_one_scan_that_the_network_fails_on_does_not_take_those_with_it_that_share_its_batch(counting, tmp_path):
    jobs = [Noted(volume) for volume in marked(tmp_path, [0, 0, 90, 0, 0])]
    run(counting, jobs)
    kept = [job.ended for job in jobs if not isinstance(job.ended[0], Exception)]
    assert [len(ended[0]) for ended in kept] == [1] * 4
    assert [str(error) for error in jobs[2].ended] == ["this window is too hard"]


def test_a_scan_that_cannot_be_had_read_or_prepared_fails_alone(counting, tmp_path):
    volumes = marked(tmp_path, [0, 0, 0])
    volumes[1].array_path.write_bytes(b"not an array")
    colour = volume_with(tmp_path, np.zeros((3, 64, 64), np.uint8), Grid.of_pixels((64, 64)))
    jobs = [Noted(one) for one in (volumes[0], SourceError("it is not in the store"), volumes[1], colour, volumes[2])]
    run(counting, jobs)
    kinds = [type(job.ended[0]).__name__ for job in jobs]
    assert kinds == [
        "DataFrame",
        "SourceError",
        "DamagedArray",
        "DataFrame",
        "DataFrame",
    ]  # three channels are averaged
    assert all(len(job.ended) == 1 for job in jobs)


@pytest.mark.parametrize("step", ["prepare", "look", "finish"])
def test_stopped_at_any_step_each_job_is_ended_once_and_what_was_finished_stays(volumes, step):
    config = changed(batch_size=1)

    class Stopped(VolumeDetector):
        calls = 0

        def stop_at_fourth(self, name):
            self.calls += name == step
            if name == step and self.calls == 4:
                raise KeyboardInterrupt

        def prepare(self, *given):
            self.stop_at_fourth("prepare")
            return super().prepare(*given)

        def look(self, *given):
            self.stop_at_fourth("look")
            return super().look(*given)

        def finish(self, *given):
            self.stop_at_fourth("finish")
            return super().finish(*given)

    taken = []

    def jobs(_):
        for volume in volumes * 5:
            taken.append(Noted(volume))
            yield taken[-1]

    detector, threads = Stopped(Bundle(config, seeded_network(config).eval(), 0.5), "cpu"), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        Engine(detector).run(jobs, lambda ended: None)
    assert len(taken) < 35
    assert all(len(job.ended) == 1 for job in taken)
    assert [type(job.ended[0]).__name__ for job in taken[:4]] == ["DataFrame"] * 3 + ["str"]
    assert threading.active_count() == threads


def test_an_error_that_is_no_scans_own_reaches_the_user_and_nothing_hangs(volumes):
    class FullDatabase(Noted):
        def finish(self, detections, windows, background):
            raise KeyError("the ledger is gone")

    jobs = [Noted(volumes[0]), FullDatabase(volumes[1]), *(Noted(volume) for volume in volumes * 3)]
    with pytest.raises(KeyError, match="the ledger is gone"):
        Engine(trained(changed(batch_size=1))).run(lambda _: iter(jobs), lambda ended: None)
    assert jobs[1].ended == ["released"]


def test_an_error_of_whoever_gives_the_jobs_reaches_the_user(volumes):
    def jobs(_):
        yield first
        raise KeyError("the ledger is gone")

    first = Noted(volumes[0])
    with pytest.raises(KeyError, match="the ledger is gone"):
        Engine(trained(tiny_2d())).run(jobs, lambda ended: None)
    assert len(first.ended) == 1


def test_a_run_that_waits_for_jobs_can_be_stopped(volumes):
    class Stopped(VolumeDetector):
        def look(self, *given):
            raise KeyboardInterrupt

    def jobs(pause):
        yield first
        while True:  # as when other workers have all that is left
            pause()

    first, config = Noted(volumes[0]), tiny_2d()
    with pytest.raises(KeyboardInterrupt):
        Engine(Stopped(Bundle(config, seeded_network(config).eval(), 0.5), "cpu")).run(jobs, lambda ended: None)
    assert first.ended == ["released"]


class Watched(Noted):
    """Notes which others are open when it is asked for its volume."""

    def volume(self):
        self.beside = [one for one in self.all if one is not self and one.asked and not one.ended]
        self.asked = True
        return super().volume()

    asked = False


@pytest.mark.parametrize("why", ["tried before", "too large"])
def test_what_failed_before_or_is_too_large_shares_memory_with_no_other(volumes, why):
    jobs = [Watched(volume, alone=why == "tried before") for volume in volumes]
    for job in jobs:
        job.all = jobs
    entered = []
    detector = trained(changed(batch_size=1))
    prepare = detector.prepare

    def watched(image, grid, volume_id):
        entered.append([one for one in jobs if one.asked and not one.ended and one.of.volume_id != volume_id])
        return prepare(image, grid, volume_id)

    detector.prepare = watched
    run(detector, jobs, size=1 if why == "too large" else 1 << 30)
    assert entered == [[]] * len(volumes)
    if why == "tried before":  # no other is even claimed beside it
        assert all(job.beside == [] for job in jobs[1:])


def test_until_the_precision_is_decided_scans_are_seen_alone(volumes):
    detector = trained(changed(batch_size=3, precision="auto", score_floor=0.005))
    jobs = [Noted(volume) for volume in volumes * 2]
    assert not detector.settled
    looked, look = [], detector._look

    def noted(half, windows, full):
        looked.append((detector.settled, len({id(scan) for scan, _ in windows})))
        return look(half, windows, full)

    detector._look = noted
    run(detector, jobs)
    assert detector.settled
    assert {scans for settled, scans in looked if not settled} == {1}
    assert max(scans for settled, scans in looked if settled) > 1
    assert all(len(job.ended[0]) > 10 for job in jobs)


def test_threads_to_come_have_as_many_processors_as_before(volumes):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(trained(tiny_2d()), [Noted(volumes[0])])
        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (seen, torch.get_num_threads()) == ([2], 2)
    finally:
        torch.set_num_threads(before)
