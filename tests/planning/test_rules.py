"""Each rule on numbers small enough to work out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import load_experiment
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes
from pipeline.planning import balance
from pipeline.planning.budget import batch_size, training
from pipeline.planning.cost import Cost, cost_of
from pipeline.planning.device import Device, find_device
from pipeline.planning.fingerprint import take_fingerprint
from pipeline.planning.intensity import intensity, scaled
from pipeline.planning.judging import judged_by, suppression, window
from pipeline.planning.measuring import measured_seconds
from pipeline.planning.network import Pixels, can_turn, design, finest_output, peak, rounded_patch, sight, wanted_patch
from pipeline.planning.objects import object_facts
from pipeline.planning.spacing import point_box, target_spacing
from pipeline.planning.variation import augmentation
from pipeline.volumes import UNLABELLED, Annotations
from tests.experiments import tiny_2d, tiny_3d, tiny_star
from tests.phantoms import volume_with
from tests.planning.written_scans import GIB, LARGE_GPU, TWO_CORES, field, pointed, scan

# Three passes of it take two cores of 46 GFLOP/s a tenth of a second.
TENTH = Cost(forward=92 * 10**8 // 3, kept=1000, weights=10**5, values=1)


def pixels(small, apart=None, large=(20, 20), shape=(256, 256), spacing=(1.0, 1.0)):
    return Pixels(tuple(small), tuple(large), tuple(large), apart, tuple(shape), tuple(spacing))


@pytest.mark.parametrize(
    ("small", "apart", "stride"),
    [
        ((7, 7), None, (2, 2)),  # 7 / 2 = 3.5: 2 fits, 4 does not
        ((8, 8), None, (4, 4)),
        ((3.9, 3.9), None, (2, 2)),  # 1.95 is 2 less the 5 % of which a percentile is not sure
        ((3.7, 3.7), None, (1, 1)),
        ((16, 16), (5, 5), (2, 2)),  # neighbours 5 apart: 2.5 output locations
        ((16, 16), (4, 4), (1, 1)),
        ((40, 40), None, (8, 8)),  # not coarser
        ((7, 7, 3), None, (2, 2, 1)),  # each axis for itself
        ((0.5, 0.5), None, (1, 1)),
    ],
)
def test_smallest_objects_span_two_output_locations_and_neighbours_are_apart(small, apart, stride):
    assert finest_output(pixels(small, apart)) == stride


def test_nominal_box_comes_from_the_distances_between_points(tmp_path):
    facts = object_facts([pointed(field(tmp_path, n, step=20)) for n in range(3)])
    choice = point_box(facts, "px", 3)
    assert choice.value == 27.0  # 1.35 x 20
    assert "20 px" in choice.reason


def test_nominal_box_is_the_median_box_where_some_scans_have_boxes(tmp_path):
    mixed = [pointed(field(tmp_path, 0)), field(tmp_path, 1, size=10)]
    assert point_box(object_facts(mixed), "px", 1).value == 10.0


def test_boxes_need_no_nominal_box_and_a_given_one_is_taken(tmp_path):
    assert point_box(object_facts([field(tmp_path, 0)]), "px", 0) is None
    assert point_box(object_facts([pointed(field(tmp_path, 0))]), "px", 1, 9.0).value == 9.0


def test_single_points_do_not_tell_a_size(tmp_path):
    facts = object_facts([pointed(scan(tmp_path, n, at=((4, 4, 2),))) for n in range(3)])
    with pytest.raises(DatasetError, match=r"usual edge in mm with --point-box"):
        point_box(facts, "mm", 3)


def test_spacing_is_the_median_of_each_axis(tmp_path):
    spacings = [(0.5, 0.5, 1.0), (0.7, 0.7, 1.25), (0.9, 0.9, 2.0)]
    found = take_fingerprint([scan(tmp_path, n, spacing=s) for n, s in enumerate(spacings)], 1, None)
    assert target_spacing(found).value == [0.7, 0.7, 1.25]


def test_spacing_of_a_very_coarse_axis_is_its_tenth_percentile(tmp_path):
    spacings = [(1.0, 1.0, 3.0), (1.0, 1.0, 5.0), (1.0, 1.0, 5.0)]
    found = take_fingerprint([scan(tmp_path, n, spacing=s) for n, s in enumerate(spacings)], 1, None)
    assert target_spacing(found).value == [1.0, 1.0, 3.4]  # 3, 5, 5: a tenth of the way is a fifth of 2 above 3


def test_spacings_in_the_plane_that_nearly_agree_become_one(tmp_path):
    found = take_fingerprint([scan(tmp_path, 0, spacing=(1.0, 1.02, 2.0))], 1, None)
    assert target_spacing(found).value == [1.01, 1.01, 2.0]
    apart = [scan(tmp_path, n, spacing=(1.0, 1.5, third)) for n, third in enumerate((1.0, 2.0, 3.0))]
    apart = take_fingerprint(apart, 1, None)
    value = target_spacing(apart).value
    assert value == [1.0, 1.5, 2.0]
    assert not can_turn(Pixels.of(apart, value, None), value)


def test_fields_of_one_spacing_are_left_as_they_are(tmp_path):
    assert target_spacing(take_fingerprint([field(tmp_path, 0)], 1, None)).value is None


def test_lengths_are_counted_in_voxels_of_the_networks_grid(tmp_path):
    found = take_fingerprint([scan(tmp_path, n) for n in range(2)], 1, None)  # objects of 8 x 8 x 8 mm
    here = Pixels.of(found, [2.0, 2.0, 4.0], None)
    assert here.small == (4.0, 4.0, 2.0)
    assert here.shape == (20.0, 20.0, 8.0)


def test_ct_gets_a_window_around_its_objects_and_mr_percentiles(tmp_path):
    ct = take_fingerprint([scan(tmp_path, n) for n in range(2)], 1, None)
    assert intensity(ct).value == {"kind": "window", "lower": -1000, "upper": 50}
    unnamed = take_fingerprint([scan(tmp_path, n, modality="OT") for n in range(2)], 1, None)
    assert intensity(unnamed).value["kind"] == "window"  # nothing but Hounsfield units reaches so low
    facts = replace(unnamed.intensity, outside=(0.0, 10.0, 90.0))
    assert intensity(replace(unnamed, intensity=facts)).value["kind"] == "percentiles"


def test_eight_bits_keep_their_range_in_colour_or_where_scans_are_alike(tmp_path):
    every = [field(tmp_path, n, channels=3) for n in range(3)]
    whole = {"kind": "window", "lower": 0, "upper": 255}
    assert intensity(take_fingerprint(every, 3, None)).value == whole
    alike = take_fingerprint([field(tmp_path, n) for n in range(3)], 1, None)
    assert intensity(alike).value == whole
    dim = tuple(replace(one, high=one.high / 4) for one in alike.intensity.scans[:1]) + alike.intensity.scans[1:]
    uneven = replace(alike, intensity=replace(alike.intensity, scans=dim))
    assert intensity(uneven).value["kind"] == "percentiles"


def test_coarse_axes_wait_until_the_others_are_as_coarse(tmp_path):
    found = take_fingerprint([scan(tmp_path, n, spacing=(1.0, 1.0, 4.0)) for n in range(2)], 1, None)
    here = pixels((4, 4, 1), large=(40, 40, 10), shape=(64, 64, 16), spacing=(1.0, 1.0, 4.0))
    net = design(found, here, (64, 64, 16), TWO_CORES)
    # Cells of 1, 1, 4 -> 2, 2, 4 (k is still twice as coarse) -> 4, 4, 4 -> 8, 8, 8 -> 16 x 16 x 16 with 4 cells each.
    assert net.backbone["strides"] == [[2, 2, 1], [2, 2, 1], 2, 2]
    assert (net.output, net.output_level) == ((2, 2, 1), 1)
    assert net.coarsest == (16, 16, 4)


def test_a_map_keeps_four_cells_and_depth_ends_where_enough_is_seen(tmp_path):
    found = take_fingerprint([scan(tmp_path, n) for n in range(2)], 1, None)
    shallow = design(found, pixels((4, 4, 4), large=(3, 3, 3), spacing=(1, 1, 1)), (64, 64, 64), TWO_CORES)
    assert shallow.backbone["strides"] == [2]  # 5 + 2 + 4 = 11 voxels are three times the largest
    assert sight([(2, 2, 2)]) == (11, 11, 11)
    deep = design(found, pixels((4, 4, 4), large=(90,) * 3, spacing=(1, 1, 1)), (16, 16, 16), TWO_CORES)
    assert deep.coarsest == (4, 4, 4)


def test_widths_double_up_to_what_the_device_is_given(tmp_path):
    found = take_fingerprint([scan(tmp_path, n) for n in range(2)], 1, None)
    here = pixels((4, 4, 4), large=(90,) * 3, spacing=(1, 1, 1))
    assert design(found, here, (64,) * 3, TWO_CORES).backbone["widths"] == [12, 24, 48, 96, 96]
    assert design(found, here, (64,) * 3, LARGE_GPU).backbone["widths"] == [32, 64, 128, 256, 320]


def test_colour_starts_from_imagenet_unless_objects_are_too_small_for_its_stride(tmp_path):
    found = take_fingerprint([field(tmp_path, n, channels=3) for n in range(2)], 3, None)
    near = design(found, pixels((10, 10)), (192, 192), TWO_CORES)
    assert near.backbone["kind"] == "efficientnet_lite0"
    assert near.output == (4, 4)
    assert design(found, pixels((2, 2)), (192, 192), TWO_CORES).backbone["kind"] == "residual_unet"


def test_patch_is_as_long_along_each_axis_and_no_larger_than_the_scan():
    cube = wanted_patch(pixels((4,) * 3, large=(8,) * 3, shape=(500,) * 3, spacing=(1, 1, 2)), TWO_CORES, 3)
    assert cube[0] == pytest.approx(2 * cube[2], abs=1)
    assert np.prod(cube) == pytest.approx(48 * 48 * 24, rel=0.05)
    thin = wanted_patch(pixels((4,) * 3, large=(8,) * 3, shape=(500, 500, 10), spacing=(1, 1, 2)), TWO_CORES, 3)
    assert thin[2] == 10
    assert np.prod(thin) == pytest.approx(48 * 48 * 24, rel=0.05)


def test_patch_holds_the_largest_objects_even_where_scans_are_smaller():
    here = pixels((4,) * 3, large=(40, 40, 20), shape=(44, 44, 6), spacing=(1, 1, 1))
    assert wanted_patch(here, TWO_CORES, 3) == (44, 44, 20)
    assert rounded_patch((44, 44, 20), (8, 8, 4), square=True) == (48, 48, 20)
    assert rounded_patch((44, 30), (8, 8), square=True) == (48, 48)


def test_batch_holds_ten_objects_as_far_as_memory_allows():
    small = Cost(forward=10**9, kept=10**6, weights=10**5, values=10**4)
    assert batch_size(small, 60, TWO_CORES) == 4
    assert batch_size(small, 0.6, TWO_CORES) == 16
    # A quarter of 16 GiB holds 6 patches of 0.4 GB and 70 % more beside the weights, so 4.
    large = Cost(forward=10**9, kept=400 * 10**6, weights=10**5, values=10**4)
    assert large.largest_batch(TWO_CORES) == 6
    assert batch_size(large, 0.6, TWO_CORES) == 4
    assert batch_size(replace(large, kept=3 * GIB), 60, TWO_CORES) == 0
    assert batch_size(replace(large, kept=3 * GIB), 60, LARGE_GPU) == 8
    # Targets are worked out for one patch at a time: 1.5 GB less for the patches, which leaves 4.
    assert replace(large, targets=1500 * 10**6).largest_batch(TWO_CORES) == 4


def test_time_is_spent_on_patches(tmp_path):
    found = take_fingerprint([field(tmp_path, n) for n in range(4)], 1, None)
    cost = TENTH  # of a second a patch
    choices = {one.key: one.value for one in training(found, cost, TWO_CORES, 60, 20, 10**4, 10**5)}
    patches = choices["training.max_epochs"] * choices["sampling.samples_per_epoch"]
    assert patches == pytest.approx(12000, rel=0.02)  # 20 minutes of 0.1 s
    assert choices["training.batch_size"] == 4
    assert choices["sampling.samples_per_epoch"] % 4 == 0
    short = {one.key: one.value for one in training(found, cost, TWO_CORES, 0.6, 0.5, 10**4, 10**5)}
    assert short["training.batch_size"] == 2  # 300 patches: 16 a step would be 19 steps


def test_time_that_validation_leaves_nothing_of_is_refused_with_the_minutes_needed(tmp_path):
    found = take_fingerprint([field(tmp_path, n) for n in range(4)], 1, None)
    cost = TENTH
    # One validation is one scan of 11250 patches in 4 views, a third of 0.1 s each: 25 min. 100 steps of 2: 20 s.
    voxels = 11250 * 10**5
    with pytest.raises(DatasetError, match=r"one validation takes 25 minutes .* give --minutes 25\.4 or more"):
        training(found, cost, TWO_CORES, 60, 20, voxels, 10**5)
    enough = {one.key: one.value for one in training(found, cost, TWO_CORES, 60, 25.4, voxels, 10**5)}
    assert enough["training.max_epochs"] * enough["sampling.samples_per_epoch"] >= 200


@pytest.mark.parametrize(("looks", "every"), [(1, 4), (870, 4), (1170, 5), (1770, 8), (10000, 30)])
def test_validations_are_no_more_than_the_time_is_for(tmp_path, looks, every):
    found = take_fingerprint([field(tmp_path, n) for n in range(4)], 1, None)
    cost = TENTH
    # A fifth of 20 minutes is 240 s, a validation of 870 looks 29 s: 8; of 1170 39 s: 6; of 1770 59 s: 4; else 1.
    choices = {one.key: one.value for one in training(found, cost, TWO_CORES, 60, 20, looks / 4 * 10**5, 10**5)}
    assert (choices["training.max_epochs"], choices["training.validate_every"]) == (30, every)


def test_kept_bytes_follow_the_voxels_of_a_patch():
    config = tiny_2d()
    one = cost_of(config)
    four = cost_of(config.model_copy(update={"sampling": config.sampling.model_copy(update={"patch": (64, 64)})}))
    assert four.kept / one.kept == pytest.approx(4, rel=0.02)
    assert four.forward / one.forward == pytest.approx(4, rel=0.02)
    assert four.weights == one.weights
    # Peaks of 64 objects at a time on 16 x 16 locations, three float32 each.
    assert (one.targets, four.targets) == (64 * 16 * 16 * 12, 64 * 32 * 32 * 12)
    # Rays in portions of 64 MB, and five float32 for each of 32 rays from 16 x 16 locations.
    assert cost_of(tiny_star()).targets == 64 * 10**6 + 16 * 16 * 32 * 20
    # At least what the first residual unit puts out: 8 channels of 32 x 32 float32.
    assert one.kept > 8 * 32 * 32 * 4


def test_bfloat16_makes_a_cpu_s_step_shorter_by_a_fifth():
    assert TENTH.seconds(TWO_CORES, 4) == pytest.approx(0.1, rel=1e-5)
    assert TENTH.seconds(replace(TWO_CORES, bf16=True), 4) == pytest.approx(0.08, rel=1e-5)


def test_points_of_one_nominal_size_ask_for_the_whole_peak(tmp_path):
    points = take_fingerprint([pointed(field(tmp_path, n)) for n in range(2)], 1, None)
    assert [one.value for one in peak(points)] == [0.2, "soft"]
    mixed = take_fingerprint([pointed(field(tmp_path, 0)), field(tmp_path, 1)], 1, None)
    assert [(one.key, one.value) for one in peak(mixed)] == [("detector.object_spread", 0.15)]


def test_device_of_a_setting_has_cores_and_whole_gibibytes():
    found = find_device("cpu")
    assert found.kind == "cpu"
    assert found.cores >= 1
    assert found.memory % GIB == 0
    assert found.training_bytes == found.memory // 4
    assert LARGE_GPU.training_bytes == 64 * GIB


def test_overlap_holds_the_largest_objects_and_window_twice_them(tmp_path):
    found = take_fingerprint([field(tmp_path, 0)], 1, None)
    usual = window(found, pixels((10, 10), large=(100, 40), shape=(900, 900)), (192, 192), (16, 16), TWO_CORES)
    assert [one.value for one in usual] == [[512, 512], 0.2]  # 100 of 512 is 0.195
    huge = window(found, pixels((10, 10), large=(600, 40), shape=(900, 900)), (192, 192), (16, 16), TWO_CORES)
    assert [one.value for one in huge] == [[1200, 512], 0.5]


def test_boxes_are_suppressed_by_more_than_they_overlap_and_points_by_distance(tmp_path):
    boxes = take_fingerprint([field(tmp_path, n) for n in range(2)], 1, None)
    values = {one.key.partition(".")[2]: one.value for one in suppression(boxes, None)}
    assert values == {"score_floor": 0.05, "suppression_iou": 0.2, "suppression_distance": 10.0}
    crowded = replace(boxes, objects=replace(boxes.objects, overlap=0.33))
    assert suppression(crowded, None)[1].value == 0.45
    points = take_fingerprint([pointed(field(tmp_path, n)) for n in range(2)], 1, None)
    values = {one.key.partition(".")[2]: one.value for one in suppression(points, 27.0)}
    assert values == {"score_floor": 0.05, "suppression_iou": 1.0, "suppression_distance": 12.2}  # 0.45 of 27


def test_the_rule_of_a_match_follows_from_what_is_annotated(tmp_path):
    points = take_fingerprint([pointed(field(tmp_path, n)) for n in range(2)], 1, None)
    match, primary = judged_by(points, 14.0)
    assert match.value == {"kind": "centre_distance", "distance": 6.3}
    assert primary.value == "f1"
    lesions = take_fingerprint([scan(tmp_path, n) for n in range(2)], 1, None)
    assert [one.value for one in judged_by(lesions, None)[:2]] == [{"kind": "centre_in_lesion"}, "cpm"]
    masked = [replace(field(tmp_path, n), label_map_path=tmp_path) for n in range(2)]
    assert judged_by(take_fingerprint(masked, 1, None), None)[0].value == {"kind": "mask_overlap", "iou": 0.5}
    boxes = take_fingerprint([field(tmp_path, n) for n in range(2)], 1, None)
    assert judged_by(boxes, None)[0].value == {"kind": "box_overlap", "iou": 0.5}


def test_variation_is_as_large_as_it_is_between_scans(tmp_path):
    sizes = [field(tmp_path, 0, size=8), field(tmp_path, 1, size=12)]
    found = take_fingerprint(sizes, 1, None)
    assert found.objects.scan_size_spread == pytest.approx(np.log(12 / 8) / 2)
    left = scaled(found.intensity.scans, {"kind": "window", "lower": 0, "upper": 255})
    window = {"kind": "window", "lower": 0, "upper": 255}
    values = {one.key.partition(".")[2]: one.value for one in augmentation(found, pixels((8, 8)), left, True, window)}
    assert values["scale"] == 0.2  # ln(1.5) / 2
    assert values["flip"] == [0, 1]
    assert values["blur"] == 0.8
    assert values["noise"] == 0.0  # the squares have no grain
    tiny = {one.key: one.value for one in augmentation(found, pixels((3, 3)), left, False, window)}
    assert tiny["augmentation.blur"] == 0.0
    assert tiny["augmentation.rotate90"] is False


def test_turns_bends_stains_and_powers_follow_from_the_modality(tmp_path):
    window, own = {"kind": "window", "lower": 0, "upper": 255}, {"kind": "percentiles"}
    bright = [field(tmp_path, n, channels=3) for n in range(2)]  # objects of 200 on 50: no stain
    for volumes, scaling, stained in ((bright, window, False), (_dark(bright, tmp_path), window, True)):
        found = take_fingerprint(volumes, 3, None)
        left = scaled(found.intensity.scans, window)
        chosen = augmentation(found, pixels((10, 10), large=(30, 30)), left, True, scaling)
        values = {one.key.partition(".")[2]: one.value for one in chosen}
        assert (values["rotation"], values["elastic"], values["gamma"]) == (15.0, 1.5, 0.0)
        assert (values["stain"] > 0) == stained
    lesions = take_fingerprint([scan(tmp_path, n, modality="MR") for n in range(2)], 1, None)
    chosen = augmentation(lesions, pixels((8, 8, 4)), left, True, own)
    values = {one.key.partition(".")[2]: one.value for one in chosen}
    assert (values["rotation"], values["elastic"], values["gamma"], values["stain"]) == (15.0, 0.0, 0.3, 0.0)


def _dark(bright, folder):
    return [
        replace(one, array_path=volume_with(folder, 255 - one.array[...], one.grid, patient=f"d{n}").array_path)
        for n, one in enumerate(bright)
    ]


def test_a_single_scan_does_not_tell_how_scans_differ(tmp_path):
    window = {"kind": "window", "lower": 0, "upper": 255}
    found = take_fingerprint([field(tmp_path, 0)], 1, None)
    chosen = augmentation(found, pixels((8, 8)), scaled(found.intensity.scans, window), True, window)
    values = {one.key.partition(".")[2]: one.value for one in chosen}
    assert (values["contrast"], values["brightness"]) == (0.15, 0.15)  # the middle of 0.05 … 0.25
    assert values["scale"] == pytest.approx(0.175, abs=0.006)  # of 0.1 … 0.25, rounded


def test_a_confluent_lesion_makes_no_scan_dense(tmp_path):
    one = scan(tmp_path, 0, sizes=(2, 2, 2), at=tuple((2 * n, 2 * n, 0) for n in range(15)))
    marks = one.annotations
    upper = marks.boxes.upper.copy()
    upper[0] = [39.5, 39.5, 15.5]
    grown = replace(one, annotations=Annotations.of(Boxes(marks.boxes.lower, upper, one.grid), marks.labels))
    share = take_fingerprint([grown], 1, None).objects.share_of_volume
    assert share == pytest.approx(15 * 8 / (40 * 40 * 16))


def test_a_rare_class_is_shown_and_weighs_more():
    assert balance.sampling({"a": 300, "b": 100}) == balance.sampling({"a": 300}) == balance.weighting({"a": 300}) == []
    assert [(one.key, one.value) for one in balance.weighting({"a": 300, "b": 100})] == [("training.class_weight", 2.0)]
    (shown,), (_, weighs) = balance.sampling({"a": 301, "b": 100}), balance.weighting({"a": 301, "b": 100})
    assert (shown.key, shown.value) == ("sampling.class_balance", 0.5)
    assert (weighs.key, weighs.value) == ("training.class_weighting", "inverse_sqrt")
    assert "a has 3.01 times as many objects as b" in shown.reason


def test_a_measured_step_sets_the_length_of_training(tmp_path):
    found = take_fingerprint([field(tmp_path, n) for n in range(4)], 1, None)
    cost = TENTH.measured(0.2, TWO_CORES, 4)
    assert cost.seconds(TWO_CORES, 4) == pytest.approx(0.2)
    choices = {one.key: one for one in training(found, cost, TWO_CORES, 60, 20, 10**4, 10**5)}
    patches = choices["training.max_epochs"].value * choices["sampling.samples_per_epoch"].value
    assert patches == pytest.approx(6000, rel=0.02)  # 20 minutes of 0.2 s
    assert "at a measured 0.2 s a patch" in choices["sampling.samples_per_epoch"].reason


@pytest.mark.parametrize(
    ("config", "device"),
    [(tiny_2d(), TWO_CORES), (tiny_3d(), TWO_CORES), (tiny_star(), replace(TWO_CORES, bf16=True))],
)
def test_a_step_of_every_kind_of_detector_can_be_timed(config, device):
    assert measured_seconds(config, 2, device) > 0


def test_a_lesion_that_would_hold_many_others_is_matched_by_overlap(tmp_path):
    found = take_fingerprint([scan(tmp_path, n) for n in range(2)], 1, None)
    extent = found.objects.extent
    confluent = replace(found, objects=replace(found.objects, extent=replace(extent, largest=8.1 * extent.p50)))
    assert judged_by(confluent, None)[0].value == {"kind": "box_overlap", "iou": 0.1}


def test_brightness_is_the_spread_of_means_in_the_networks_range():
    from pipeline.planning.intensities import ScanIntensity

    dark, light = (ScanIntensity(0, 255, mean, 50, 2.55) for mean in (51.0, 102.0))
    left = scaled([dark, light], {"kind": "window", "lower": 0, "upper": 255})
    assert left.mean == pytest.approx(0.2)  # -0.6 and -0.2
    assert left.contrast == 0.0
    assert left.grain == pytest.approx(0.02)
    assert scaled([dark, light], {"kind": "percentiles"}).mean == pytest.approx(0.2)


def test_modelled_time_of_shipped_experiments_is_what_two_cores_took():
    from tests.architecture.test_experiments import FOLDER

    # Seconds a patch of the fastest epoch of trainings on two cores, with all that is in it; bfloat16 or not.
    trained = {
        "crc_cells_2d": (True, 0.058),
        "dsb_nuclei_2d": (True, 0.054),
        "lidc_nodules_3d": (True, 0.0455),
        "demo_cells_2d": (False, 0.024),
    }
    for name, (bf16, took) in trained.items():
        config = load_experiment(FOLDER / f"{name}.yaml")
        modelled = cost_of(config).seconds(Device("cpu", 16 * GIB, 2, bf16), config.training.batch_size)
        assert modelled == pytest.approx(took, rel=0.35)


def test_points_on_a_scan_in_millimetres_keep_their_distances(tmp_path):
    points = take_fingerprint([pointed(field(tmp_path, n)) for n in range(2)], 1, None)
    small = replace(points, objects=replace(points.objects, neighbour=None))
    assert judged_by(small, 0.014)[0].value["distance"] == 0.0063  # 14 micrometres
    assert suppression(small, 0.014)[2].value == 0.0063


def test_scans_that_share_a_spacing_are_not_resampled(tmp_path):
    alike = [scan(tmp_path, n, spacing=(0.3515625, 0.3515625, 1.0)) for n in range(3)]
    assert target_spacing(take_fingerprint(alike, 1, None)).value is None
    mixed = [*alike, scan(tmp_path, 3, spacing=(0.5, 0.5, 1.0))]
    value = target_spacing(take_fingerprint(mixed, 1, None)).value
    assert value[0] == pytest.approx(0.3515625, rel=1e-3)  # as near as is not resampled


def test_an_object_without_a_class_makes_no_second_class(tmp_path):
    cells = field(tmp_path, 0)
    some = replace(cells.annotations, labels=(UNLABELLED, *cells.annotations.labels[1:]))
    assert object_facts([replace(cells, annotations=some)]).named == {"cell": 24}
