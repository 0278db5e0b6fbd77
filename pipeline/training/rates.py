"""Which weights learn, and how fast: frozen stages and layer-wise rates of transfer learning."""

from typing import Any

from torch import nn

from pipeline.config.training import TrainingConfig
from pipeline.detectors.detector import Detector
from pipeline.errors import ModelError


def frozen_parts(network: Detector, stages: int) -> list[nn.Module]:
    """The modules of the first ``stages`` of the backbone, which from now on do not learn.

    Raises:
        ModelError: the backbone has fewer stages.
    """
    parts = network.backbone.parts()
    if stages > len(parts):
        raise ModelError(f"training.frozen_stages must be at most the backbone's {len(parts)} stages, got {stages}")
    frozen = [module for part in parts[:stages] for module in part]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def parameter_groups(network: Detector, training: TrainingConfig) -> list[dict[str, Any]]:
    """What learns, with its rate: full in decoder and heads, ``layer_decay`` times less with each stage below.

    As in fine-tuning of pretrained networks (ELECTRA, arXiv 2003.10555; BEiT, arXiv 2106.08254).
    """
    parts = network.backbone.parts()
    learning = {id(one): one for one in network.parameters() if one.requires_grad}
    groups = []
    for number, part in enumerate(parts):
        own = [learning.pop(id(one)) for module in part for one in module.parameters() if id(one) in learning]
        rate = training.learning_rate * training.layer_decay ** (len(parts) - number)
        groups.append({"params": own, "lr": rate})
    groups.append({"params": list(learning.values()), "lr": training.learning_rate})
    return [group for group in groups if group["params"]]
