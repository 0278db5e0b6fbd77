"""Pictures too large to be prepared whole: in parts, nothing is lost, doubled or changed."""

import dataclasses

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detections.table import to_frame
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.maps import Maps
from pipeline.geometry import Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.engine import Engine
from pipeline.inference.parts import parts_of
from pipeline.inference.windows import plan_windows
from tests.experiments import tiny_2d
from tests.inference.test_detect import FindsMarks
from tests.inference.test_engine import Noted
from tests.phantoms import volume_with

STAR = {"outline": {"kind": "star", "rays": 8}}
RETINA = {
    "kind": "retinanet",
    "backbone": {"kind": "resnet", "depth": 10, "width": 4, "stages": 2},
    "pyramid_width": 8,
    "anchor_shapes": [[6, 6]],
}


def changed(detector=None, preprocessing=None, **inference):
    raw = tiny_2d().model_dump()
    raw["inference"] |= {"overlap": 0.25, "score_floor": 0.01, **inference}
    raw["preprocessing"] |= preprocessing or {}
    raw["detector"] = detector if detector and "kind" in detector else raw["detector"] | (detector or {})
    return ExperimentConfig.model_validate(raw)


def detector_of(config, network=None, parts=True, **more):
    """One that prepares in parts of about four windows, or all at once."""
    bundle = Bundle(config, network or seeded_network(config).eval(), 0.5)
    sizes = {"whole_bytes": 1, "part_bytes": 150_000} if parts else {"whole_bytes": 1 << 40}
    return VolumeDetector(bundle, "cpu", **{**sizes, **more})


def ended(detector, volumes, batch=None, size=1 << 20):
    jobs = [Noted(volume) for volume in volumes]
    told = []
    tally = Engine(detector, size, batch).run(lambda _: iter(jobs), lambda *one: told.append(one))
    assert told[-1] == (tally.scans, 0) == (len(jobs), 0)
    assert all(len(job.ended) == 1 for job in jobs)
    return jobs


def field(folder, channels, shape, spacing=None, seed=0, **more):
    image = np.random.default_rng(seed).integers(0, 200, (channels, *shape), dtype=np.uint8)
    grid = Grid.of_pixels(shape) if spacing is None else Grid(shape, np.diag([*spacing, 1.0]))
    return dataclasses.replace(volume_with(folder, image, grid), **more)


def test_parts_hold_each_window_once_and_all_that_it_sees():
    plan = plan_windows((301, 222), (64, 48), 0.25, (4, 4))
    parts = list(parts_of(plan, 150 * 150))
    assert sorted(number for part in parts for number in part.numbers) == list(range(len(plan.starts)))
    assert 4 < len(parts) < len(plan.starts)
    for part in parts:
        assert part.voxels <= 150 * 150
        corners = np.array([plan.starts[number] for number in part.numbers])
        assert part.lower == tuple(corners.min(axis=0))
        assert part.upper == tuple(corners.max(axis=0) + plan.size)


def test_a_part_has_one_window_even_where_that_is_too_large():
    plan = plan_windows((301, 222), (64, 48), 0.25, (4, 4))
    assert [part.numbers for part in parts_of(plan, 1)] == [(n,) for n in range(len(plan.starts))]


@pytest.mark.parametrize(
    ("detector", "stored", "channels", "spacing"),
    [
        (None, 1, 1, None),
        (None, 3, 3, (0.00031, 0.00031)),
        (None, 3, 1, (0.00083, 0.00061)),
        (None, 1, 3, (0.0005, 0.0005)),
        (STAR, 3, 3, (0.00061, 0.00061)),
        (RETINA, 3, 3, (0.00047, 0.00047)),
    ],
)
def test_prepared_in_parts_a_picture_gives_the_same_to_the_byte(tmp_path, detector, stored, channels, spacing):
    config = changed(detector, {"spacing": spacing, "channels": channels})
    volume = field(tmp_path, stored, (301, 222), (0.0005, 0.0005))
    network = seeded_network(config).eval()
    split, together = detector_of(config, network), detector_of(config, network, parts=False)
    assert len(split.divide(volume).parts) > 4
    assert len(together.divide(volume).parts) == 1
    (in_parts,), (whole,) = ended(split, [volume], 4), ended(together, [volume], 4)
    assert len(whole.ended[0]) > 20
    assert in_parts.ended[0].equals(whole.ended[0])
    assert in_parts.seen == whole.seen


def test_parts_of_several_pictures_share_batches_and_come_out_apart(tmp_path):
    detector = detector_of(changed(batch_size=3), parts=True, part_bytes=200_000)
    volumes = [field(tmp_path, 1, shape, seed=n) for n, shape in enumerate([(200, 131), (60, 60), (150, 301)])]
    together = ended(detector, volumes, 3)
    for job in together:
        (alone,) = ended(detector, [job.of], 3)
        assert len(alone.ended[0]) > 5
        assert job.ended[0].equals(alone.ended[0])


class RefusesNinety(FindsMarks):
    """Fails on a window with a voxel of 90, which preprocessing makes 0.125."""

    def forward(self, image):
        if (image == 0.125).any():
            raise RuntimeError("this window is too hard")
        return super().forward(image)


def test_a_part_that_fails_fails_its_picture_once_and_no_other(tmp_path):
    config = changed(skip_background=False)
    images = np.zeros((3, 1, 301, 301), np.uint8)
    images[:, 0, 10, 20] = 200
    images[1, 0, 150, 150] = 90
    volumes = [volume_with(tmp_path, one, Grid.of_pixels((301, 301)), patient=f"p{n}") for n, one in enumerate(images)]
    jobs = ended(detector_of(config, RefusesNinety(config)), volumes)
    assert str(jobs[1].ended[0]) == "this window is too hard"
    assert [len(jobs[n].ended[0]) for n in (0, 2)] == [1, 1]


def test_a_damaged_chunk_fails_its_picture_and_no_other(tmp_path):
    config = changed()
    volumes = [field(tmp_path, 1, (1100, 600), seed=n) for n in range(2)]
    content = bytearray(volumes[0].array_path.read_bytes())
    content[len(content) // 2] ^= 255
    volumes[0].array_path.write_bytes(content)
    jobs = ended(detector_of(config, FindsMarks(config), part_bytes=3_000_000), volumes)
    assert [type(job.ended[0]).__name__ for job in jobs] == ["DamagedArray", "DataFrame"]


def test_percentiles_are_the_same_for_all_parts_and_near_those_of_the_whole(tmp_path):
    intensity = {"kind": "percentiles", "lower": 1.0, "upper": 99.0}
    config = changed(preprocessing={"intensity": intensity})
    volume = field(tmp_path, 1, (413, 301))
    split = detector_of(config)
    division = split.divide(volume)
    lower, upper = np.percentile(volume.array[...], [1, 99])
    assert division.preprocessing.intensity.lower == pytest.approx(lower, abs=1)
    assert division.preprocessing.intensity.upper == pytest.approx(upper, abs=1)
    whole = detector_of(config, parts=False).prepare(volume.array[...], volume.grid, "v")
    for part in division.parts:
        piece = split.prepare_part(volume.array, division, part)
        assert (piece.window(part.numbers[0]) - whole.window(part.numbers[0])).abs().max() < 0.03


def test_a_picture_of_one_value_has_no_percentiles_and_is_zero(tmp_path):
    config = changed(preprocessing={"intensity": {"kind": "percentiles"}})
    volume = volume_with(tmp_path, np.full((1, 301, 301), 7, np.uint8), Grid.of_pixels((301, 301)))
    split = detector_of(config)
    division = split.divide(volume)
    assert all(split.prepare_part(volume.array, division, part).image.abs().max() == 0 for part in division.parts)


def test_how_far_a_divided_picture_is_is_told(tmp_path):
    detector, told = detector_of(changed()), []
    jobs = [Noted(field(tmp_path, 1, (301, 301)))]
    Engine(detector, 1).run(lambda _: iter(jobs), lambda *one: told.append(one))
    shares = [partly for ended, partly in told if not ended]
    assert shares == sorted(shares)
    assert len({share for share in shares if 0 < share < 1}) > 2


def test_until_its_precision_is_settled_parts_are_seen_both_ways(tmp_path):
    config = changed(precision="auto", skip_background=False)
    image = np.zeros((1, 301, 301), np.uint8)
    image[0, 5::30, 5::30] = 200
    volume = volume_with(tmp_path, image, Grid.of_pixels((301, 301)))
    split, whole = detector_of(config, FindsMarks(config)), detector_of(config.model_copy(), FindsMarks(config), False)
    (in_parts,), (together,) = ended(split, [volume]), ended(whole, [volume])
    assert split.settled
    assert not split._half.refused
    assert len(in_parts.ended[0]) == len(together.ended[0]) == 100


def test_parts_of_a_picture_that_is_made_coarser_count_what_they_are_made_from(tmp_path):
    config = changed(preprocessing={"spacing": (0.004, 0.004)})
    volume = field(tmp_path, 1, (1600, 1200), (0.0005, 0.0005))
    division = detector_of(config, part_bytes=1_000_000).divide(volume)
    assert division.network_grid.shape == (200, 150)
    for part in division.parts:
        assert division.bytes_of(part) == part.voxels * (64 * 9 + 12)
        assert len(part.numbers) == 1 or division.bytes_of(part) <= 1_000_000
    assert len(division.parts) > 6


def test_a_volume_in_3d_stays_whole(tmp_path):
    from tests.experiments import tiny_3d

    config = tiny_3d()
    volume = volume_with(tmp_path, np.zeros((1, 40, 40, 20), np.uint8), Grid((40, 40, 20), np.eye(4)))
    assert len(detector_of(config).divide(volume).parts) == 1


def slide(folder, tissue, channels=3, glass=(236, 233, 239), seed=1):
    """Glass with noise; ``tissue`` are slices of it that hold something else, with marks in the middle of each."""
    rng = np.random.default_rng(seed)
    image = np.array(glass[:channels], np.int16)[:, None, None] + rng.integers(-4, 5, (channels, 600, 400))
    for region in tissue:
        low, high = ([side.start for side in region], [side.stop for side in region])
        image[(slice(None), *region)] = rng.integers(60, 140, image[(slice(None), *region)].shape)
        image[:, (low[0] + high[0]) // 2, (low[1] + high[1]) // 2] = 0
    return dataclasses.replace(
        volume_with(folder, image.astype(np.uint8), Grid.of_pixels((600, 400))), modality="SM", attributes={}
    )


class FindsDark(FindsMarks):
    """Marks are black: -1 in the network's input."""

    looks = 0

    def forward(self, image):
        type(self).looks += len(image)
        return super().forward(torch.where(image < -0.99, 1.0, 0.0))


DARK = {"channels": 3, "intensity": {"kind": "window", "lower": 0, "upper": 255}}
TISSUE = [(slice(100, 140), slice(100, 160)), (slice(330, 333), slice(290, 294))]


def test_glass_is_not_looked_at_and_nothing_is_lost_by_it(tmp_path):
    volume = slide(tmp_path, TISSUE)
    config = changed(preprocessing=DARK)
    split = detector_of(config, FindsDark(config))
    division = split.divide(volume)
    assert division.glass.low.tolist() == pytest.approx([228, 225, 231], abs=3)
    (seen,) = ended(split, [volume])
    every = changed(preprocessing=DARK, skip_background=False)
    (looked,) = ended(detector_of(every, FindsDark(every)), [volume])
    assert seen.ended[0].equals(looked.ended[0])
    assert len(seen.ended[0]) == 2
    windows, background = seen.seen
    assert windows == looked.seen[0]
    assert looked.seen[1] == 0
    assert background > 0.7 * windows


def test_a_part_of_glass_alone_is_not_prepared(tmp_path):
    config = changed(preprocessing=DARK)
    split = detector_of(config, FindsDark(config))
    volume = slide(tmp_path, TISSUE)
    division = split.divide(volume)
    empty = [split.prepare_part(volume.array, division, part).image.numel() == 0 for part in division.parts]
    assert 0 < sum(empty) < len(empty)


def test_one_pixel_that_is_not_glass_has_its_windows_looked_at(tmp_path):
    config = changed(preprocessing=DARK)
    split = detector_of(config, FindsDark(config))
    (seen,) = ended(split, [slide(tmp_path, [(slice(300, 301), slice(200, 201))])])
    assert len(seen.ended[0]) == 1
    assert 1 <= seen.seen[0] - seen.seen[1] <= 4


class FindsPale(FindsDark):
    """Sees what differs a little from the glass, and scores it as it is told."""

    logit = 6.0

    def forward(self, image):
        maps = super().forward(image)
        pale = torch.nn.functional.max_pool2d(image[:, :1], self.stride)[:, 0] > 0.88
        return Maps(torch.where(pale, self.logit, maps.score), maps.classes, maps.distances)


@pytest.mark.parametrize(("score", "skips"), [(0.99, False), (0.34, False), (0.32, True)])
def test_a_network_that_sees_in_glass_two_thirds_of_a_detection_is_given_all_of_it(tmp_path, score, skips):
    config = changed(preprocessing=DARK)
    network = FindsPale(config)
    network.logit = float(np.log(score / (1 - score)))
    (seen,) = ended(detector_of(config, network), [slide(tmp_path, TISSUE)])
    assert (seen.seen[1] > 0) == skips
    assert (seen.ended[0]["score"] > 0.9).sum() >= 2


@pytest.mark.parametrize("what", ["no slide", "grey", "no glass"])
def test_only_slides_in_colour_have_glass(tmp_path, what):
    config = changed(preprocessing=DARK)
    glass = (120, 80, 150) if what == "no glass" else (236, 233, 239)
    volume = slide(tmp_path, [], 1 if what == "grey" else 3, glass)
    if what == "no slide":
        volume = dataclasses.replace(volume, modality="OT")
    assert detector_of(config, FindsDark(config)).divide(volume).glass is None


def test_results_are_on_the_pictures_own_grid_in_parts_too(tmp_path):
    raw = changed().model_dump()
    raw["data"]["in_pixels"] = True
    config = ExperimentConfig.model_validate(raw)
    image = np.zeros((1, 301, 301), np.uint8)
    image[0, 210, 20] = 200
    volume = volume_with(tmp_path, image, Grid((301, 301), np.diag([0.0005, 0.0005, 1.0])))
    (job,) = ended(detector_of(config, FindsMarks(config)), [volume])
    assert job.ended[0]["centre_x_world"][0] == pytest.approx(210.5 * 0.0005)
    split = detector_of(config, FindsMarks(config))
    alone = to_frame(split.detect(volume.array[...], volume.grid, volume.volume_id))
    assert job.ended[0].equals(alone)
