import io

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.config.detector import EfficientNetLite
from pipeline.detectors.bundle import seeded_network
from pipeline.explanation.features import choose_channels, seen_window
from pipeline.explanation.receptive import output_receptive_field, receptive_fields
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Grid
from pipeline.stages.pictures import features_png
from tests.experiments import tiny_2d, tiny_3d
from tests.phantoms import awkward_grid, blob


def test_receptive_fields_by_hand():
    """Two 3 x 3 filters see 5; at the next stride the first of two adds 2 and the second 4, then 4 and 8."""
    network = seeded_network(tiny_2d())
    assert receptive_fields(network) == [(5, 5), (11, 11), (23, 23)]
    # The decoder adds a 3 x 3 filter at stride 4 and two at stride 2.
    assert output_receptive_field(network) == (39, 39)


def test_receptive_fields_of_anisotropic_strides():
    assert receptive_fields(seeded_network(tiny_3d())) == [(5, 5, 5), (11, 11, 9)]


def test_receptive_fields_of_efficientnet_are_those_of_its_kernels_and_strides():
    """Stem 3 at stride 2, depthwise 3 | 3/2, 3 | 5/2, 5 | 3/2, 3, 3, 5, 5, 5: (kernel - 1) * jump added up."""
    raw = tiny_2d().model_dump()
    raw["preprocessing"]["channels"] = 3
    raw["detector"] |= {"backbone": EfficientNetLite(pretrained=False).model_dump(), "output_level": 0}
    fields = receptive_fields(seeded_network(type(tiny_2d()).model_validate(raw)))
    expected = [1 + 2 + 4]
    expected.append(expected[0] + 2 * 2 + 2 * 4)
    expected.append(expected[1] + 4 * 4 + 4 * 8)
    expected.append(expected[2] + 2 * 8 + 2 * 2 * 16 + 3 * 4 * 16)
    assert fields == [(n, n) for n in expected]


def test_of_channels_that_show_the_same_one_is_chosen():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 8, 8))
    maps = np.stack([np.zeros((8, 8)), a, 3 * a + 5, -2 * a, 0.5 * b])
    assert choose_channels(maps, 2).tolist() == [2, 4]
    assert choose_channels(maps, 5).tolist() == [2, 4, 3, 1, 0]
    assert choose_channels(maps, 9).tolist() == [2, 4, 3, 1, 0]


def test_stages_of_a_volume_are_cut_at_the_slice_of_the_point():
    grid, config = awkward_grid((40, 12, 10)), tiny_3d()
    image = blob(grid.shape, np.array([20.0, 6.0, 5.0]))[None]
    scan, network = NetworkScan.of(image, grid, config), seeded_network(config).eval()
    at = scan.grid.to_voxel(grid.to_world(np.array([[20.0, 6.0, 5.0]])))[0]
    seen = seen_window(network, config, scan, at.tolist())
    assert [stage.stride for stage in seen.stages] == [(1, 1, 1), (2, 2, 1)]
    assert seen.stages[1].caption == (
        "stride 2 × 2 × 1, receptive field 11 × 11 × 9 voxels (2 × 2 × 2 and 11 × 11 × 18 mm)"
    )
    assert seen.image.shape[0] == 1
    brightest = np.unravel_index(int(seen.image[0].argmax()), seen.image.shape[1:])
    assert np.abs(np.array(brightest) - at[:2]).max() <= 1
    picture = Pillow.open(io.BytesIO(features_png(seen)))
    assert picture.size[0] > 800


@pytest.mark.parametrize("spot", [(150, 260), (3, 40), (299, 299)])
def test_of_a_wide_window_the_part_about_the_point_is_shown(spot):
    raw = tiny_2d().model_dump()
    raw["inference"]["window"] = [320, 320]
    config = type(tiny_2d()).model_validate(raw)
    image = np.zeros((1, 300, 300), dtype=np.uint8)
    image[(0, *spot)] = 160
    grid = Grid.of_pixels((300, 300))
    seen = seen_window(seeded_network(config).eval(), config, NetworkScan.of(image, grid, config), spot)
    assert seen.image.shape == (1, 192, 192)
    assert [stage.maps.shape[1:] for stage in seen.stages] == [(192, 192), (96, 96), (48, 48)]
    # The grid says where the marked pixel is shown.
    at = seen.grid.to_voxel(grid.to_world(np.array([spot], dtype=float)))[0]
    assert np.unravel_index(int(seen.image[0].argmax()), (192, 192)) == tuple(at)


@pytest.mark.parametrize("point", [(0, 0), (63, 63), (31.5, 20)])
def test_every_point_of_a_scan_lies_in_the_window_that_is_shown(trained, point):
    seen = seen_window(trained.bundle.network, trained.config, trained.scan, point)
    world = trained.scan.grid.to_world(np.array([point], dtype=float))
    assert seen.grid.contains(seen.grid.to_voxel(world)).all()
