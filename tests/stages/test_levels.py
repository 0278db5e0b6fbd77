import dataclasses

import numpy as np
import pytest

from pipeline.config import ExperimentConfig
from pipeline.geometry import Grid
from pipeline.stages.detect import suited
from pipeline.stages.levels import nearest_levels
from tests.experiments import tiny_2d
from tests.phantoms import volume_with


def config_at(um, in_pixels=False):
    raw = tiny_2d().model_dump()
    raw["preprocessing"]["spacing"] = None if um is None else [um / 1000] * 2
    raw["data"]["in_pixels"] = in_pixels
    return ExperimentConfig.model_validate(raw)


@pytest.fixture
def level(tmp_path):
    def make(number, um, size, more="", series="s", modality="SM"):
        grid = Grid.of_pixels((size, size)) if um is None else Grid((size, size), np.diag([um / 1000, um / 1000, 1]))
        volume = volume_with(
            tmp_path, np.zeros((1, size, size), np.uint8), grid, patient=f"{number} {um} {more} {series}"
        )
        part = f"level {number}" + ("" if um is None else f", {um} um per pixel") + more
        return dataclasses.replace(
            volume, modality=modality, series=series, attributes={"part": part}, name=f"{series}{more} {number}"
        )

    return make


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (0.25, 0),
        (0.1, 0),  # none is so fine
        (0.5, 0),
        (0.94, 1),  # 1.0 is 6 % coarser
        (0.9, 0),  # 1.0 is 11 % coarser
        (1.0, 1),
        (2.0, 1),
        (3.99, 2),
        (100.0, 2),
    ],
)
def test_the_coarsest_level_that_is_fine_enough_is_taken(level, wanted, taken):
    levels = [level(0, 0.25, 64), level(1, 1.0, 16), level(2, 4.0, 4)]
    fit, left = nearest_levels(config_at(wanted), levels[::-1])
    assert fit == [levels[taken]]
    assert sorted(left) == sorted(one.name for n, one in enumerate(levels) if n != taken)
    assert f"level {taken}, {[0.25, 1, 4][taken]} um per pixel, is nearest to the version's {wanted:.4g} um" in min(
        left.values()
    )


def test_pixels_that_are_not_square_must_be_fine_enough_along_both_axes(level):
    config = config_at(1.0)
    narrow = dataclasses.replace(level(1, 1.0, 16), grid=Grid((16, 8), np.diag([0.001, 0.002, 1])))
    fine = level(0, 0.5, 32)
    assert nearest_levels(config, [narrow, fine])[0] == [fine]


@pytest.mark.parametrize("in_pixels", [False, True])
def test_a_version_that_works_in_pixels_takes_level_0(level, in_pixels):
    levels = [level(1, 1.0, 16), level(0, 0.25, 64)]
    fit, left = nearest_levels(config_at(None, in_pixels), levels)
    assert fit == [levels[1]]
    assert left == {levels[0].name: "the version takes pixels as they are: level 0 is taken, the finest"}


def test_each_slide_optical_path_and_focal_plane_is_detected_on_once(level):
    paths = [f", optical path {n} of 2" for n in (1, 2)]
    volumes = [level(n, um, size, path) for path in paths for n, um, size in ((0, 0.25, 64), (1, 1.0, 16))]
    volumes += [level(1, 1.0, 16, series="t"), level(0, 0.25, 64, series="t")]
    fit, left = nearest_levels(config_at(1.0), volumes)
    assert [volume.name for volume in fit] == [f"s{path} 1" for path in paths] + ["t 1"]
    assert len(left) == 3


def test_what_is_no_slide_stays(level):
    volumes = [level(0, 0.25, 64, modality="OT"), level(1, 1.0, 16, modality="OT")]
    assert nearest_levels(config_at(1.0), volumes) == (volumes, {})


def test_levels_without_a_pixel_size_are_not_compared(level):
    volumes = [level(0, None, 64), level(1, 1.0, 16)]
    fit, left = nearest_levels(config_at(1.0), volumes)
    assert fit == volumes[:1]
    assert left == {volumes[1].name: "not every level states its pixel size: level 0 is taken, the finest"}


def test_a_slide_without_a_pixel_size_is_not_for_a_version_that_needs_one(level):
    volume = level(0, None, 64)
    reason = "the version works at 0.5 um per pixel, and the slide states no pixel size"
    assert suited(config_at(0.5), [volume]) == ([], {volume.name: reason})
    assert suited(config_at(None), [volume]) == ([volume], {})
