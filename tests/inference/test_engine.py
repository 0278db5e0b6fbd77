import sys
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
    batch = detector.config.inference.batch_size
    tally = Engine(detector, size, batch).run(lambda _: iter(jobs), lambda ended, partly: told.append(ended))
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


@pytest.fixture
def two_lanes():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_lanes")
def test_side_by_side_results_are_the_same_to_the_byte_in_any_order(volumes):
    detector, lanes = trained(changed(batch_size=1, score_floor=0.005, overlap=0.1)), set()
    look = detector.look

    def noted(*given):
        lanes.add((threading.current_thread().name[:4], torch.get_num_threads()))
        return look(*given)

    detector.look = noted
    before = {}
    for order in (volumes, volumes[::-1], volumes[3:4], volumes[2:6]):
        jobs = [Noted(volume) for volume in order]
        run(detector, jobs)
        for job in jobs:
            assert len(job.ended[0]) > 10
            assert before.setdefault(job.of.volume_id, job.ended[0]).equals(job.ended[0])
    assert lanes == {("lane", 1)}


@pytest.mark.usefixtures("two_lanes")
def test_a_scan_that_fails_in_both_lanes_is_ended_once(tmp_path, monkeypatch):
    both = threading.Barrier(2, timeout=10)

    class Fails(FindsMarks):
        def forward(self, image):
            if (image == 0.125).any():
                both.wait()
                raise RuntimeError("this window is too hard")
            return super().forward(image)

    large = np.full((1, 64, 112), 90, np.uint8)  # two windows
    volumes = [volume_with(tmp_path, large, Grid.of_pixels((64, 112))), *marked(tmp_path, [0, 0])]
    config = changed(batch_size=1, skip_background=False, overlap=0.1)
    jobs = [Noted(volume) for volume in volumes]
    run(VolumeDetector(Bundle(config, Fails(config), 0.5), "cpu"), jobs)
    assert [len(job.ended) for job in jobs] == [1, 1, 1]
    assert str(jobs[0].ended[0]) == "this window is too hard"
    assert [len(job.ended[0]) for job in jobs[1:]] == [1, 1]


@pytest.mark.usefixtures("two_lanes")
def test_the_precision_is_decided_on_scans_that_are_seen_as_all_others(volumes):
    detector, threads = trained(changed(batch_size=1, precision="auto", score_floor=0.005)), set()
    look = detector._look

    def noted(*given):
        threads.add((threading.current_thread().name[:4], torch.get_num_threads()))
        return look(*given)

    detector._look = noted
    run(detector, [Noted(volume) for volume in volumes])
    assert threads == {("lane", 1)}


@pytest.mark.usefixtures("two_lanes")
def test_what_failed_before_is_seen_window_by_window(volumes):
    detector, at_once, most = trained(changed(batch_size=1, overlap=0.1)), [], []
    look = detector.look

    def noted(*given):
        at_once.append(None)
        most.append(len(at_once))
        try:
            return look(*given)
        finally:
            at_once.pop()

    detector.look = noted
    run(detector, [Noted(volume, alone=True) for volume in volumes])
    assert set(most) == {1}


@pytest.mark.usefixtures("two_lanes")
def test_of_several_engines_the_last_to_end_leaves_the_process_as_it_was(volumes):
    interval, seen, both = sys.getswitchinterval(), [], threading.Barrier(2, timeout=30)

    def one():
        detector = trained(changed(batch_size=1))
        look = detector.look

        def noted(*given):
            if len(seen) < 2:
                seen.append(torch.get_num_threads())
                both.wait()
            return look(*given)

        detector.look = noted
        run(detector, [Noted(volumes[0])])

    engines = [threading.Thread(target=one) for _ in range(2)]
    for engine in engines:
        engine.start()
    for engine in engines:
        engine.join(60)
    assert seen == [1, 1]
    assert (torch.get_num_threads(), sys.getswitchinterval()) == (2, interval)


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
        Engine(detector).run(jobs, lambda ended, partly: None)
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
        Engine(trained(changed(batch_size=1))).run(lambda _: iter(jobs), lambda ended, partly: None)
    assert jobs[1].ended == ["released"]


def test_an_error_of_whoever_gives_the_jobs_reaches_the_user(volumes):
    def jobs(_):
        yield first
        raise KeyError("the ledger is gone")

    first = Noted(volumes[0])
    with pytest.raises(KeyError, match="the ledger is gone"):
        Engine(trained(tiny_2d())).run(jobs, lambda ended, partly: None)
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
        Engine(Stopped(Bundle(config, seeded_network(config).eval(), 0.5), "cpu")).run(jobs, lambda ended, partly: None)
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


def test_results_do_not_depend_on_the_scans_on_which_the_precision_was_decided(volumes):
    found = []
    for order in (volumes, volumes[::-1]):
        detector = trained(changed(batch_size=3, precision="auto", score_floor=0.005))
        jobs = [Noted(volume) for volume in order]
        run(detector, jobs)
        assert detector.settled
        assert not detector._half.refused
        found.append({job.of.volume_id: job.ended[0] for job in jobs})
    forwards, backwards = found
    for volume_id, table in forwards.items():
        assert len(table) > 10
        assert table.equals(backwards[volume_id])


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
