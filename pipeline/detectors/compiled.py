"""A network's kernels written for it: the same answers up to rounding, after some seconds of compiling.

Measure before you use it. Against the network as `pipeline.detectors.fused` leaves it (2 cores with avx512_bf16, torch
2.13), in 32 bits and in bf16: crc_cells_2d 1.16 and 1.10 times as fast, dsb_nuclei_2d 1.10 and 1.01, lidc_nodules_3d
0.98 and 0.90, lidc_retinanet_3d 0.55 in bf16. Every size of window is compiled by itself, in 11 to 21 s; torch gives up
after 8 sizes.
"""

import copy

import torch
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import InductorError

from pipeline.detectors.detector import Detector
from pipeline.errors import ConfigError

_FROZEN = {"freezing": True}  # weights are constants, laid out as each kernel wants them


def compiled(network: Detector) -> Detector:
    """A copy in evaluation form that is compiled when it first sees a window; for inference only.

    Raises:
        ConfigError: nothing can be compiled here.
    """
    device = next(network.parameters()).device
    try:
        _inverse(torch.ones(2, device=device))
    except (BackendCompilerFailed, InductorError, RuntimeError) as error:
        raise ConfigError(
            "the network cannot be compiled (CELLSCAN_COMPILE=1, --compile): expected a C++ compiler, g++ or clang++, "
            f"and on a GPU Triton; got {type(error).__name__}. Install one, or leave this out"
        ) from error
    quick = copy.deepcopy(network).eval()
    quick.compile(dynamic=False, options=_FROZEN)  # kernels for any size take minutes, and are slower
    return quick


@torch.compile
def _inverse(values: torch.Tensor) -> torch.Tensor:
    return 1 / values
