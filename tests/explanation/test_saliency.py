"""A map must tell of one detection: its parts add up, and the voxels that it names matter."""

import numpy as np
import pytest
import torch

from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.errors import ModelError
from pipeline.explanation.checks import check_deletion
from pipeline.explanation.origin import find_origin
from pipeline.explanation.saliency import Saliency, _new_places, logit_at, saliency
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Boxes, Grid
from pipeline.inference.detect import VolumeDetector
from tests.experiments import tiny_3d
from tests.phantoms import awkward_grid, blob


@pytest.fixture(scope="module")
def origins(trained):
    network, config = trained.bundle.network, trained.config
    return [find_origin(network, config, trained.scan, trained.found, n) for n in range(len(trained.found))]


def test_every_detection_is_led_back_to_the_window_and_location_that_gave_its_score(trained, origins):
    assert len(origins) >= 8
    assert len({origin.start for origin in origins}) > 1
    for origin, score, box in zip(origins, trained.found.scores, trained.found.boxes.lower, strict=True):
        logit = logit_at(trained.bundle.network, origin.image, origin)
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(score, abs=1e-5)
        assert origin.lower + origin.start == pytest.approx(box, abs=1e-4)


def test_a_detection_of_another_network_is_refused(trained):
    other = seeded_network(trained.config).eval()
    with pytest.raises(ModelError, match="another version or another scan"):
        find_origin(other, trained.config, trained.scan, trained.found, 0)


def test_values_add_up_to_the_rise_of_the_logit_above_the_baseline(trained, origins):
    found = saliency(trained.bundle.network, origins[0])
    assert found.logit - found.baseline_logit > 2
    assert found.values.sum() == pytest.approx(found.logit - found.baseline_logit, rel=0.05)
    assert found.residual == pytest.approx(found.total - (found.logit - found.baseline_logit))
    assert found.relative_residual < 0.05


def test_what_raised_the_score_lies_in_the_box(trained, origins):
    for origin in origins[:4]:
        values = np.clip(saliency(trained.bundle.network, origin).values, 0, None)
        low, high = np.floor(origin.lower).astype(int).clip(0), np.ceil(origin.upper).astype(int) + 1
        assert values[low[0] : high[0], low[1] : high[1]].sum() > 0.6 * values.sum()


def test_the_voxels_named_first_matter_more_than_others_about_the_object(trained, origins):
    for origin in origins[:3]:
        found = saliency(trained.bundle.network, origin)
        deletion = check_deletion(trained.bundle.network, origin, found)
        assert all(a > b + 0.5 for a, b in zip(deletion.by_saliency, deletion.by_chance, strict=True))


def test_the_integral_is_refined_until_the_parts_add_up(trained, origins, monkeypatch):
    """Three times the steps use the slopes of the first; the midpoints of 6 without those of 2 are four."""
    assert _new_places(2, again=False) == [0.25, 0.75]
    assert _new_places(6, again=True) == pytest.approx([1 / 12, 5 / 12, 7 / 12, 11 / 12])
    network = trained.bundle.network
    refined = saliency(network, origins[0], (8,))
    monkeypatch.setattr("pipeline.explanation.saliency.MOST_RESIDUAL", 0.0)
    assert saliency(network, origins[0], (2, 6)).steps == 6
    at_once, in_turn = saliency(network, origins[0], (6,)), saliency(network, origins[0], (2, 6))
    assert in_turn.values == pytest.approx(at_once.values, abs=1e-5)
    assert refined.steps == 8


def test_the_location_explained_is_a_peak_of_the_score_map(trained, origins):
    for origin in origins:
        with torch.no_grad():
            score = trained.bundle.network(origin.image[None]).score[0]
        region = tuple(slice(max(n - 1, 0), n + 2) for n in origin.location)
        assert score[origin.location] == score[region].max()


def test_a_map_is_placed_on_an_oblique_flipped_anisotropic_scan_by_the_world():
    """The window lies at an offset on a grid of other axes and spacing; one voxel of it is marked."""
    scan = awkward_grid((20, 12, 8))
    window = scan.resampled((1.0, 2.0, 3.0)).crop((2, 1, 1), (9, 11, 7))
    values = np.zeros(window.shape, dtype=np.float32)
    values[3, 4, 2] = 1.0
    moved = Saliency(values, window, 1.0, 0.0, 1.0, 8).on(scan)
    # i: network voxels of 1 mm over 0.5 mm: voxel 2 + 3 covers scan voxels 10 and 11, whose middle is 10.5.
    assert moved.shape == scan.shape
    assert np.argwhere(moved > 0.5).tolist() == [[10, 5, 3], [11, 5, 3]]
    assert moved[10, 5, 3] == pytest.approx(0.75)
    assert moved[:2].max() == 0


def test_a_lesion_in_an_oblique_volume_is_explained_in_three_dimensions():
    grid = awkward_grid((40, 12, 10))
    image = blob(grid.shape, np.array([20.0, 6.0, 5.0]))[None]
    config = tiny_3d()
    network = seeded_network(config).eval()
    scan = NetworkScan.of(image, grid, config)
    # An untrained network scores everything alike and low; its own best candidate is explained.
    raw = config.model_dump()
    raw["inference"] |= {"score_floor": 0.001}
    config = type(config).model_validate(raw)
    found = VolumeDetector(Bundle(config, network, 0.5), "cpu").detect(image, grid, "v")
    assert len(found)
    origin = find_origin(network, config, scan, found, 0)
    told = saliency(network, origin, steps=(16,))
    assert told.relative_residual < 0.1
    assert told.on(grid).shape == grid.shape
    assert np.abs(told.on(grid)).max() > 0


def test_a_scan_in_pixels_keeps_its_own_voxels(trained):
    raw = trained.config.model_dump()
    raw["data"]["in_pixels"] = True
    config = type(trained.config).model_validate(raw)
    grid = Grid((64, 64), np.diag([0.0005, 0.0005, 1.0]))
    case = trained.cases[0]
    found = Detections("field", Boxes(trained.found.boxes.lower, trained.found.boxes.upper, grid),
                       trained.found.scores, trained.found.labels, trained.found.classes)  # fmt: skip
    scan = NetworkScan.of(case.array, grid, config)
    origin = find_origin(trained.bundle.network, config, scan, found, 0)
    assert origin.lower + origin.start == pytest.approx(found.boxes.lower[0], abs=1e-4)
