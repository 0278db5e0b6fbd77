"""Phantoms and fields: what is planted lies where its annotation says, and a threshold does not find it."""

import json

import numpy as np
import pydicom
import pytest
from scipy.ndimage import center_of_mass, find_objects, gaussian_filter, label
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pipeline.sample.blobs import Blob
from pipeline.sample.cells import draw_nuclei
from pipeline.sample.ct import LARGEST_MM, SMALLEST_MM, draw_ct
from pipeline.sample.fluorescence import draw_fluorescence_field
from pipeline.sample.lattice import Lattice, filled
from pipeline.sample.mr import draw_mr
from pipeline.sample.noise import Part, smooth_noise, stream
from pipeline.sample.placement import rotation
from pipeline.sample.staining import Stain, draw_he_field
from pipeline.sample.vessels import Tubes

FIELDS = 8
LATTICE = Lattice((80, 80, 36), np.array([1.0, 1.0, 2.0]))


def ball(centre, semi_axes):
    return Blob(np.array(centre, float), np.array(semi_axes, float), np.eye(3)[:1], np.zeros(1), np.ones(1))


def f1(found, truth, reach):
    """Hits, false and missed centres under the best assignment of pairs within ``reach`` (one, or one a truth)."""
    if not len(found) or not len(truth):
        return 0, len(found), len(truth)
    near = cdist(found, truth) <= np.asarray(reach)
    hits = int(near[linear_sum_assignment(~near)].sum())
    return hits, len(found) - hits, len(truth) - hits


def total_f1(counts):
    hits, wrong, missed = np.sum(counts, axis=0)
    return 2 * hits / (2 * hits + wrong + missed)


def components(mask, smallest):
    numbers, count = label(mask)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    kept = [number for number in range(1, count + 1) if sizes[number] >= smallest]
    return np.array(center_of_mass(mask, numbers, kept)).reshape(-1, mask.ndim)


def best_threshold_f1(images, truths, smallest, reach=6):
    """The best F1 of any global threshold with connected components; ``reach`` in px."""
    levels = np.linspace(min(map(np.min, images)), max(map(np.max, images)), 27)[1:-1]
    scores = []
    for level in levels:
        found = [components(image > level, smallest) for image in images]
        scores.append(total_f1([f1(*pair, reach) for pair in zip(found, truths, strict=True)]))
    return max(scores)


@pytest.fixture(scope="module")
def he_fields():
    stains = [Stain.draw(stream(0, Part.STAINING, index)) for index in range(FIELDS)]
    return [draw_he_field(stream(0, Part.HE, index), stain, 150 + 12 * index) for index, stain in enumerate(stains)]


@pytest.fixture(scope="module")
def fluorescence_fields():
    return [draw_fluorescence_field(stream(0, Part.FLUORESCENCE, index), 80 + 8 * index) for index in range(FIELDS)]


@pytest.fixture(scope="module")
def chests():
    return [draw_ct(stream(5, Part.CT, index), LATTICE, np.array([4.0, 6.0, 9.0, 14.0])) for index in range(5)]


def test_smooth_noise_is_standardised_and_repeatable():
    first, again = (smooth_noise(stream(3, Part.HE, 1), (61, 47), (2.0, 9.0)) for _ in range(2))
    assert (first == again).all()
    assert first.shape == (61, 47)
    assert (float(first.mean()), float(first.std())) == pytest.approx((0, 1), abs=1e-3)


def test_extent_of_an_ellipsoid_is_its_axes():
    lower, upper = ball([10, 20, 30], [5, 4, 3]).extent()
    assert lower == pytest.approx([5, 16, 27], abs=0.05)
    assert upper == pytest.approx([15, 24, 33], abs=0.05)


def test_drawn_blob_has_the_diameter_asked_for():
    lower, upper = Blob.draw(np.random.default_rng(1), 17.0).extent()
    assert (upper - lower).max() == pytest.approx(17.0)


def test_signed_distance_of_a_ball():
    points = np.array([[10.0, 20, 30], [13, 20, 30], [10, 26, 30]])
    assert ball([10, 20, 30], [4, 4, 4]).signed_distance(points) == pytest.approx([-4, -1, 2])


def test_thin_layers_of_a_voxel_lie_symmetrically_about_its_centre():
    lattice = Lattice((4, 4, 3), np.array([1.0, 1.0, 3.0]), slabs=2)
    assert lattice.axes_mm[2].ravel() == pytest.approx([-0.75, 0.75, 2.25, 3.75, 5.25, 6.75])
    assert lattice.fine_index(np.array([[2.0, 1.0, 2.25]]))[0] == pytest.approx([2, 1, 2])


def test_painted_ball_is_scanned_where_its_extent_says():
    lattice = Lattice((40, 40, 20), np.array([0.8, 1.0, 2.0]))
    solid = ball([14.0, 18.0, 20.0], [6, 5, 6])
    window = lattice.window(*solid.extent())
    fine = np.zeros(lattice.fine_shape, dtype=np.float32)
    fine[window] = filled(solid.signed_distance(lattice.points(window)).reshape(fine[window].shape), 0.5)
    edges = find_objects((lattice.scan(fine, 0.0) > 0.5).astype(int))[0]
    lower, upper = (np.array([getattr(cut, end) for cut in edges]) - 0.5 for end in ("start", "stop"))
    assert lower * lattice.spacing == pytest.approx([8, 13, 14], abs=1.01)
    assert upper * lattice.spacing == pytest.approx([20, 23, 26], abs=1.01)


def test_tube_fills_its_axis_and_nothing_beyond_its_radius():
    lattice = Lattice((20, 20, 10), np.array([1.0, 1.0, 2.0]))
    filling = np.zeros(lattice.fine_shape, dtype=np.float32)
    Tubes(np.array([[2.0, 10, 9]]), np.array([[17.0, 10, 9]]), np.array([2.0])).paint(filling, lattice, 0.5)
    assert filling[10, 10, 9:11].tolist() == [1, 1]
    assert filling[10, 13].max() == filling[:, 5].max() == 0


def test_rotation_keeps_lengths_and_turns_the_right_way():
    turned = rotation(2, 90.0) @ np.array([1.0, 0, 0])
    assert turned == pytest.approx([0, 1, 0])
    assert rotation(0, 17.0) @ rotation(0, 17.0).T == pytest.approx(np.eye(3))


def test_chest_without_lesions_has_no_box():
    phantom = draw_ct(stream(0, Part.CT, 0), Lattice((48, 48, 12), np.array([1.0, 1.0, 2.0])), np.zeros(0))
    assert len(phantom) == 0
    assert phantom.lower_mm.shape == (0, 3)


def test_chest_has_air_lung_fat_soft_tissue_and_bone(chests):
    shares = [
        np.mean([((phantom.voxels > low) & (phantom.voxels < high)).mean() for phantom in chests])
        for low, high in ((-1025, -700), (-200, -60), (-20, 120), (300, 1500))
    ]
    assert shares[0] > 0.3
    assert min(shares[1:]) > 0.01


def test_lesions_are_denser_than_the_lung_in_the_middle_of_their_box(chests):
    for phantom in chests:
        middle = np.round((phantom.lower_mm + phantom.upper_mm) / 2 / phantom.spacing).astype(int)
        assert (phantom.voxels[tuple(middle.T)] > -760).all()


def test_archive_has_both_ends_of_the_lesion_sizes(archive):
    sizes = [max(item["size"]) for scan in archive.boxes if scan["frame"] == "lps_mm" for item in scan["objects"]]
    assert min(sizes) == pytest.approx(SMALLEST_MM, abs=0.1)
    assert 0.85 * LARGEST_MM < max(sizes) <= LARGEST_MM + 1e-6


def test_oblique_boxes_come_back_through_the_dicom_header(archive):
    scans = {scan.get("series_instance_uid"): scan for scan in archive.boxes}
    checked = 0
    for name in ("CT003", "CT006", "CT009", "CT002", "CT005"):
        files = [pydicom.dcmread(path) for path in sorted((archive.root / "ct" / name).iterdir())]
        along_i, along_j = np.array(files[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
        normal = np.cross(along_i, along_j)
        heights = [np.dot(normal, np.array(item.ImagePositionPatient, dtype=float)) for item in files]
        for item in scans[files[0].SeriesInstanceUID]["objects"]:
            nearest = files[int(np.argmin(np.abs(heights - np.dot(normal, item["centre"]))))]
            offset = np.array(item["centre"]) - np.array(nearest.ImagePositionPatient, dtype=float)
            row = round(float(offset @ along_j) / nearest.PixelSpacing[0])
            column = round(float(offset @ along_i) / nearest.PixelSpacing[1])
            assert nearest.pixel_array[row, column] + nearest.RescaleIntercept > -760
            checked += 1
    assert checked >= 8


def test_mr_label_map_has_one_connected_piece_a_lesion_brighter_than_its_surroundings():
    phantom = draw_mr(stream(0, Part.MR, 1), Lattice((96, 112, 40), np.array([1.6, 1.6, 3.0])), 4)
    for number in range(1, 5):
        inside = phantom.labels == number
        _, pieces = label(inside, np.ones((3, 3, 3)))
        assert pieces == 1
        window = find_objects(inside.astype(int))[0]
        wider = tuple(slice(max(cut.start - 4, 0), cut.stop + 4) for cut in window)
        around = (phantom.labels[wider] == 0) & (phantom.voxels[wider] > 200)
        assert np.median(phantom.voxels[inside]) > 1.1 * np.median(phantom.voxels[wider][around])


def test_nuclei_touch_and_tumour_nuclei_are_larger():
    nuclei = draw_nuclei(np.random.default_rng(0), 200, np.ones((256, 256)))
    distances = cdist(nuclei.centres, nuclei.centres) + np.diag(np.full(len(nuclei), np.inf))
    reach = nuclei.radii[:, None] + nuclei.radii[None]
    assert (distances < reach).any(axis=1).mean() > 0.5
    assert nuclei.radii[nuclei.tumour].min() > nuclei.radii[~nuclei.tumour].max()


def test_fields_have_120_to_250_cells_of_both_classes(archive):
    counts = {
        scan["file"]: len(scan["objects"]) for scan in archive.boxes if scan.get("file", "").startswith("cells/he")
    }
    filled_fields = [count for count in counts.values() if count]
    assert min(filled_fields) >= 120
    assert max(filled_fields) <= 250
    labels = json.dumps(archive.boxes)
    assert labels.count('"tumour"') > labels.count('"other"') > 1000


def test_he_tumour_nuclei_are_paler_than_others(he_fields):
    means = {"tumour": [], "other": []}
    for field in he_fields:
        for number, kind in enumerate(field.labels, start=1):
            inside = field.instances == number
            if inside.any():
                means[kind].append(field.pixels[inside].mean())
    assert np.mean(means["tumour"]) > np.mean(means["other"]) + 10


def test_boxes_hold_their_nuclei(he_fields):
    for field in he_fields[:3]:
        for number, window in enumerate(find_objects(field.instances), start=1):
            if window is not None:
                lower, upper = (np.array([getattr(cut, end) for cut in window]) - 0.5 for end in ("start", "stop"))
                assert (lower >= field.lower[number - 1] - 1).all()
                assert (upper <= field.upper[number - 1] + 1).all()


def test_threshold_does_not_solve_he_fields_and_an_oracle_does(he_fields):
    truths = [field.centres for field in he_fields]
    for darkness in (lambda pixels: 255.0 - pixels.mean(axis=2), lambda pixels: 255.0 - pixels[..., 0]):
        images = [darkness(field.pixels) for field in he_fields]
        for smallest in (1, 12):
            assert best_threshold_f1(images, truths, smallest) < 0.5
    assert oracle_f1(he_fields) > 0.98


def test_threshold_does_not_solve_fluorescence_fields_and_an_oracle_does(fluorescence_fields):
    images, truths = [field.pixels for field in fluorescence_fields], [field.centres for field in fluorescence_fields]
    for smallest in (1, 12):
        assert best_threshold_f1(images, truths, smallest) < 0.5
    assert oracle_f1(fluorescence_fields) > 0.98


def oracle_f1(fields):
    counts = []
    for field in fields:
        numbers = [value for value in np.unique(field.instances) if value]
        found = np.array(center_of_mass(field.instances > 0, field.instances, numbers))
        counts.append(f1(found, field.centres, 6))
    return total_f1(counts)


def test_threshold_does_not_solve_chests_and_an_oracle_does(chests):
    truths = [(phantom.lower_mm + phantom.upper_mm) / 2 for phantom in chests]
    reaches = [np.maximum((phantom.upper_mm - phantom.lower_mm).max(axis=1) / 2, 1.5) for phantom in chests]
    for smallest in (1, 12):
        for level in np.arange(-800, 101, 75):
            found = [components(phantom.voxels > level, smallest) * phantom.spacing for phantom in chests]
            assert total_f1([f1(*item) for item in zip(found, truths, reaches, strict=True)]) < 0.5
    # The oracle knows the same chest without lesions.
    found = []
    for index, phantom in enumerate(chests):
        healthy = draw_ct(stream(5, Part.CT, index), LATTICE, np.zeros(0))
        added = gaussian_filter(phantom.voxels.astype(float) - healthy.voxels, 0.7) > 130
        found.append(components(added, 4) * phantom.spacing)
    assert total_f1([f1(*item) for item in zip(found, truths, reaches, strict=True)]) > 0.97
