import shutil

import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detectors import compiled as module
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.compiled import compiled
from pipeline.errors import ConfigError
from pipeline.geometry import Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.half import agreement_of
from tests.experiments import tiny_2d

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="there is no C++ compiler"
)


@needs_compiler
def test_a_compiled_network_finds_the_same():
    raw = tiny_2d().model_dump()
    raw["inference"]["score_floor"] = 1e-6  # so that first weights find something
    config = ExperimentConfig.model_validate(raw)
    bundle = Bundle(config, seeded_network(config).eval(), 0.5)
    image = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)).mul(255).byte().numpy()
    grid = Grid.of_pixels((64, 64))
    plain, quick = (
        VolumeDetector(bundle, "cpu", compile_network=wanted).detect(image, grid, "v") for wanted in (False, True)
    )
    agreement = agreement_of(plain, quick, 0.0)
    assert agreement.matched == agreement.counted == len(plain) + len(quick) > 100


def test_without_a_compiler_it_is_said_what_is_needed(monkeypatch):
    def refused(values):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(module, "_inverse", refused)
    with pytest.raises(ConfigError, match=r"expected a C\+\+ compiler, g\+\+ or clang\+\+"):
        compiled(seeded_network(tiny_2d()))
