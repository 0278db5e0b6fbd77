"""Star-convex detections: through windows, suppression, tables and figures."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.detections.outlines import label_map
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.centre import CentreDetector
from pipeline.detectors.maps import Maps
from pipeline.detectors.rays import directions, ray_lengths
from pipeline.evaluation import evaluate
from pipeline.explanation.origin import find_origin
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Grid
from pipeline.inference import suppression
from pipeline.inference.detect import VolumeDetector, detect_prepared, score_cases
from pipeline.inference.suppression import suppress_outlines
from tests.detections.test_outlines import stars
from tests.experiments import tiny_star
from tests.phantoms import field_with_masks, pixels_inside

RADIUS = 4.0


class FindsMarks(CentreDetector):
    """A voxel of value 1 is the centre of a disc of a known radius."""

    radius = RADIUS

    def forward(self, image):
        found = torch.nn.functional.max_pool2d(image[:, :1], self.stride, stride=self.stride)[:, 0]
        score = torch.where(found > 0.9, found * 6, torch.full_like(found, -9.0))
        distances = torch.full((len(image), 32, *score.shape[1:]), self.radius)
        return Maps(score, torch.zeros((len(image), 1, *score.shape[1:])), distances)


def star_config(**inference) -> ExperimentConfig:
    raw = tiny_star().model_dump()
    raw["inference"] |= inference
    return ExperimentConfig.model_validate(raw)


@pytest.mark.parametrize("radius", [RADIUS, 0.6])  # the second holds no pixel's centre
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_no_star_is_lost_or_doubled_at_the_seams_of_windows(overlap, radius):
    config = star_config(window=[48, 32], overlap=overlap, batch_size=3)
    rng = np.random.default_rng(0)
    i, j = np.meshgrid(np.arange(4, 199, 11), np.arange(4, 150, 11), indexing="ij")
    spots = np.stack([i.ravel(), j.ravel()], axis=1) + rng.integers(0, 2, (i.size, 2))
    image = torch.zeros(1, 203, 151)
    image[0, spots[:, 0], spots[:, 1]] = 1
    grid = Grid.of_pixels((203, 151))
    network = FindsMarks(config).eval()
    network.radius = radius
    found = detect_prepared(network, config, image, grid, grid, "v")
    assert len(found) == len(spots)
    drawn = label_map(found)
    assert sorted(np.unique(drawn)) == list(range(len(spots) + 1))
    if radius == RADIUS:
        assert sorted(drawn[tuple(spots.T)]) == list(range(1, len(spots) + 1))


def test_on_the_scans_own_grid_outlines_are_where_the_boxes_are_and_end_at_the_image():
    raw = tiny_star().model_dump()
    raw["preprocessing"] |= {"spacing": [0.5, 0.5], "intensity": {"kind": "window", "lower": 0, "upper": 200}}
    config = ExperimentConfig.model_validate(raw)
    image = np.zeros((1, 40, 40), np.uint8)
    image[0, 10:12, 20:22] = image[0, 0, 39] = 200  # two wide, so that interpolation leaves a bright middle
    found = VolumeDetector(Bundle(config, FindsMarks(config), 0.5), "cpu").detect(image, Grid.of_pixels((40, 40)), "v")
    assert len(found) == 2
    middle = found.outlines.mean(axis=1)
    for spot in ([10.5, 20.5], [0, 39]):
        assert np.linalg.norm(middle - spot, axis=1).min() < 0.8
    # 4 voxels of 0.5 pixels; corners are half an angle off the axes.
    np.testing.assert_allclose(np.ptp(found.outlines, axis=1), 4.0 * np.cos(np.pi / 32), rtol=1e-6)
    corner = int(np.argmax(middle[:, 1]))
    assert found.boxes.lower[corner, 0] == -0.5
    assert found.boxes.upper[corner, 1] == 39.5


def test_a_scan_without_findings_has_no_outline_and_an_empty_label_map():
    config = star_config()
    found = VolumeDetector(Bundle(config, FindsMarks(config), 0.5), "cpu").detect(
        np.zeros((1, 40, 40), np.uint8), Grid.of_pixels((40, 40)), "v"
    )
    assert found.outlines.shape == (0, 32, 2)
    assert label_map(found).sum() == 0


def test_the_place_that_gave_a_star_is_found_again_also_at_the_images_edge():
    config = star_config(window=[32, 32])
    image = np.zeros((1, 70, 50), np.uint8)
    image[0, 10, 20] = image[0, 0, 49] = image[0, 60, 30] = 200
    network, grid = FindsMarks(config).eval(), Grid.of_pixels((70, 50))
    found = VolumeDetector(Bundle(config, network, 0.5), "cpu").detect(image, grid, "v")
    scan = NetworkScan.of(image, grid, config)
    places = []
    for n in range(len(found)):
        origin = find_origin(network, config, scan, found, n)
        places.append(tuple(s + 2 * at for s, at in zip(origin.start, origin.location, strict=True)))
    assert sorted(places) == [(0, 48), (10, 20), (60, 30)]  # the first voxels of the locations, 2 apart


def round_down(at, length):
    """The pixel that a coordinate is in, or the nearest of the image."""
    return min(max(math.floor(at + 0.5), 0), length - 1)


def by_the_classic_loop(outlines, shape, scores, iou):
    middles = (outlines.min(axis=1) + outlines.max(axis=1)) / 2
    nearest = [{round_down(at[0], shape[0]) * shape[1] + round_down(at[1], shape[1])} for at in middles]
    masks = [pixels_inside(outline, shape).tolist() for outline in outlines]
    drawn = [set(mask) or pixel for mask, pixel in zip(masks, nearest, strict=True)]
    order, kept = list(np.argsort(-scores, kind="stable")), []
    while order:
        best = order.pop(0)
        kept.append(best)
        order = [n for n in order if len(drawn[n] & drawn[best]) <= iou * len(drawn[n] | drawn[best])]
    return kept


@pytest.mark.parametrize("square", [4096, 7])
@pytest.mark.parametrize("seed", range(8))
def test_survivors_equal_those_of_the_classic_loop_over_masks(seed, square, monkeypatch):
    monkeypatch.setattr(suppression, "_SQUARE", square)  # of a large picture, one square after the other
    rng = np.random.default_rng(seed)
    outlines = stars(rng.uniform(0, 40, (60, 2)), rng.uniform(1, 9, 60))
    scores = rng.choice([0.2, 0.5, 0.7, 0.9], 60)  # ties on purpose
    kept = suppress_outlines(outlines, (40, 36), scores, 0.3, np.ones(2))
    assert kept.tolist() == by_the_classic_loop(outlines, (40, 36), scores, 0.3)


def test_long_neighbours_whose_boxes_are_nearly_one_both_stay():
    way = directions(32)
    length = 1 / np.hypot(way @ [0.7071, 0.7071] / 15, way @ [0.7071, -0.7071] / 3)
    outlines = (length[:, None] * way)[None] + np.array([[20, 20], [25, 15]])[
        :, None
    ]  # two diagonal bars, side by side
    kept = suppress_outlines(outlines, (50, 50), np.array([0.9, 0.8]), 0.3, np.ones(2))
    assert kept.tolist() == [0, 1]


def test_of_centres_nearer_than_the_distance_the_lower_score_goes():
    outlines = stars([[10, 10], [14, 10]], [2, 2])
    scores = np.array([0.5, 0.6])
    assert suppress_outlines(outlines, (40, 40), scores, 0.3, np.array([0.5, 0.5]), 2.01).tolist() == [1]
    assert suppress_outlines(outlines, (40, 40), scores, 0.3, np.array([0.5, 0.5]), 2.0).tolist() == [1, 0]


def test_two_thousand_touching_objects_seen_three_times_each_are_two_thousand():
    i, j = np.meshgrid(np.arange(45) * 11 + 6.0, np.arange(45) * 11 + 6.0, indexing="ij")
    centres = np.stack([i.ravel(), j.ravel()], axis=1)
    rng = np.random.default_rng(0)
    seen = np.concatenate(
        [centres, centres + rng.normal(0, 0.7, centres.shape), centres + rng.normal(0, 0.7, centres.shape)]
    )
    scores = np.concatenate([rng.uniform(0.8, 1, 2025), rng.uniform(0.1, 0.7, 4050)])
    kept = suppress_outlines(stars(seen, np.full(len(seen), 5.5)), (500, 500), scores, 0.4, np.ones(2))
    assert sorted(kept.tolist()) == list(range(2025))


def test_the_masks_of_a_perfect_detector_score_one_in_every_figure_of_masks(tmp_path):
    """Stars from the annotated masks themselves; ellipses are star-convex, so only pixels at the edge are lost."""
    volume = field_with_masks(tmp_path, 1)
    case = Case.whole(volume)
    (scored,) = score_cases(_Perfect(case), [case])
    figures = evaluate([scored], tiny_star().evaluation, ("cell",), "v", 0.5).metrics
    assert figures["f1"].value == 1
    assert figures["mask_jaccard_0_50"].value == 1
    assert figures["panoptic_quality"].value > 0.85


def test_boxes_on_a_case_with_masks_are_scored_without_them(tmp_path):
    case = Case.whole(field_with_masks(tmp_path, 1))
    (scored,) = score_cases(_Perfect(case, outlines=False), [case])
    assert (scored.annotation_masks, scored.detection_masks) == (None, None)


class _Perfect:
    def __init__(self, case, outlines=True):
        self.case, self.outlines, self.config = case, outlines, star_config()

    def detect(self, array, grid, volume_id, preprocessing):
        instances = self.case.instances.whole
        boxes = self.case.annotations.boxes
        at = torch.as_tensor(np.round(boxes.centres)).float()
        number = torch.arange(len(boxes)) + 1
        lengths, _ = ray_lengths(torch.as_tensor(instances), at, number, 32)
        outlines = at.numpy()[:, None] + lengths.numpy()[..., None] * directions(32)
        found = Detections(volume_id, boxes, np.full(len(boxes), 0.9), np.zeros(len(boxes), int), ("cell",), outlines)
        return found if self.outlines else dataclasses.replace(found, outlines=None)
