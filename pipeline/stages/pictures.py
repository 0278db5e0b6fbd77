"""Pictures of a version: its figures, and what its network sees."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.evaluation import Evaluation
from pipeline.inference.windows import pad_to, plan_windows
from pipeline.reporting.features import feature_maps
from pipeline.reporting.figures import save_figures
from pipeline.tracking.run import TrackedRun
from pipeline.transforms.preprocessing import prepare


@torch.inference_mode()
def seen_by_network(bundle: Bundle, case: Case) -> bytes:
    """Feature maps of the first window of a case, from the finest resolution to the coarsest, as PNG."""
    image = prepare(case.array, case.grid, bundle.config.preprocessing).image
    network = bundle.network
    plan = plan_windows(tuple(image.shape[1:]), bundle.config.inference.window, 0.0, network.coarsest_stride)
    padded = pad_to(image.to(dtype=torch.float32), plan.padded)
    region = tuple(slice(first, first + size) for first, size in zip(plan.starts[0], plan.size, strict=True))
    window = padded[(slice(None), *region)].to(next(network.parameters()).device)
    features = [feature[0].float().cpu().numpy() for feature in network.features(window[None])]
    finest = np.array(features[0].shape[1:])
    names = [f"1/{round(float((finest / np.array(f.shape[1:])).max()))}" for f in features]
    return feature_maps(dict(zip(names, features, strict=True)), window.cpu().numpy())


def metrics_picture(evaluation: Evaluation) -> bytes:
    """Every figure with its interval, as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        return save_figures(evaluation, Path(folder))[0].read_bytes()


def log_pictures(run: TrackedRun, bundle: Bundle, case: Case) -> None:
    run.log_image("figures/feature_maps.png", seen_by_network(bundle, case))
