import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detections.table import to_frame
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.maps import Maps
from pipeline.geometry import Grid
from pipeline.inference.background import probes
from pipeline.inference.detect import VolumeDetector
from tests.experiments import tiny_2d
from tests.inference.test_detect import FindsMarks


class SeesBlobs(FindsMarks):
    """Finds marks, and whatever is brighter than it is told."""

    dimmest = 0.9

    def forward(self, image):
        FindsMarks.looks += len(image)
        maps = super().forward(image)
        found = torch.nn.functional.max_pool2d(image[:, :1], 2)[:, 0]
        return Maps(torch.where(found > self.dimmest, found.new_tensor(6.0), maps.score), maps.classes, maps.distances)


@pytest.fixture(autouse=True)
def _no_looks():
    FindsMarks.looks = 0


def detector_of(dimmest=0.9, **inference):
    raw = tiny_2d().model_dump()
    raw["inference"] |= inference | {"batch_size": 1, "overlap": 0.0}
    config = ExperimentConfig.model_validate(raw)
    network = SeesBlobs(config)
    network.dimmest = dimmest
    return VolumeDetector(Bundle(config, network, 0.5), "cpu")


def scan():
    """Four windows of 64 x 64, prepared by 0 … 160 → -1 … 1: one with a mark, one dark, one a little less, one grey."""
    image = np.zeros((1, 128, 128), np.uint8)
    image[0, 10, 20] = 200
    image[0, 64:, :64] = 7  # -0.9125
    image[0, 64:, 64:] = 9  # -0.8875
    return image, Grid.of_pixels((128, 128))


def test_only_windows_that_lie_whole_at_an_end_of_the_input_are_background():
    detector = detector_of()
    prepared = detector.prepare(*scan(), "v")
    assert prepared.ends == (0, -1, -1, 0)
    assert sorted(detector.known(prepared)) == [1, 2]
    image, grid = scan()
    assert detector.prepare(255 - image, grid, "v").ends == (0, 1, 1, 1)


def test_skipping_leaves_the_results_as_they_are():
    image, grid = scan()
    skipped, looked = detector_of(), detector_of(skip_background=False)
    assert to_frame(skipped.detect(image, grid, "v")).equals(to_frame(looked.detect(image, grid, "v")))
    before = FindsMarks.looks
    skipped.detect(image, grid, "v")
    assert FindsMarks.looks - before == 2
    looked.detect(image, grid, "v")
    assert FindsMarks.looks - before == 6


def test_a_network_that_sees_something_in_dim_blobs_is_given_every_window():
    detector = detector_of(dimmest=-0.95)  # what is -0.9 at its brightest has such voxels
    image, grid = scan()
    assert detector.known(detector.prepare(image, grid, "v")) == {}
    assert len(detector.detect(image, grid, "v")) > 1


def test_a_scan_of_background_alone_is_done_without_the_network():
    detector = detector_of()
    empty = np.zeros((1, 64, 64), np.uint8)
    detector.detect(empty, Grid.of_pixels((64, 64)), "v")
    asked = FindsMarks.looks
    assert len(detector.detect(empty, Grid.of_pixels((64, 64)), "v")) == 0
    assert FindsMarks.looks == asked == 8  # the windows by which it was asked what it sees in nothing


def test_the_network_is_asked_with_all_the_contrast_that_background_may_have():
    dark, bright = (list(probes((50, 40), torch.tensor([[end, 0.9 * end]] * 3))) for end in (-1, 1))
    assert [tuple(one.shape) for one in dark] == [(3, 50, 40)] * 8
    assert (float(dark[0].min()), float(dark[1].max())) == pytest.approx((-1.0, -0.9))
    for below, above in zip(dark, bright, strict=True):
        assert torch.equal(below, -above)
        assert -1.0 <= float(below.min()) <= float(below.max()) <= -0.9 + 1e-6
    assert all(float(one.max() - one.min()) > 0.06 for one in dark[2:])  # 32 voxels: four blobs, by chance


def test_the_choice_is_not_in_the_digest_of_experiments_that_did_not_have_it():
    assert detector_of().config.digest() == detector_of(skip_background=True).config.digest()
    assert detector_of().config.digest() != detector_of(skip_background=False).config.digest()
    assert "skip_background" not in tiny_2d().model_dump_json()
