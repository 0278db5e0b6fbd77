"""A whole experiment: the root of the configuration, and one YAML file."""

import hashlib
import json

from pydantic import Field, model_validator

from pipeline.config.base import Config
from pipeline.config.data import DataConfig
from pipeline.config.detector import (
    CentreConfig,
    DetectorConfig,
    EfficientNetLite,
    InferenceConfig,
    ResidualUNet,
    ResNet,
    RetinaNetConfig,
    StarOutline,
)
from pipeline.config.evaluation import EvaluationConfig
from pipeline.config.training import TrainingConfig
from pipeline.config.transforms import AugmentationConfig, PreprocessingConfig, SamplingConfig, Window

_MARGIN_OF_ITS_OWN = 0.0  # until policies set it, experiments had one


MODEL_NAME = r"^[a-z][a-z0-9_]*$"


class ExperimentConfig(Config):
    """One experiment: what runs, not where it runs (see `pipeline.settings`)."""

    name: str = Field(pattern=MODEL_NAME, description="also the name of the registered model")
    seed: int = 0
    data: DataConfig
    preprocessing: PreprocessingConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    sampling: SamplingConfig
    detector: DetectorConfig = CentreConfig()
    training: TrainingConfig
    inference: InferenceConfig
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _axes_agree(self) -> "ExperimentConfig":
        dims = self.data.dims
        for what, values in (
            ("sampling.patch", self.sampling.patch),
            ("inference.window", self.inference.window),
            ("preprocessing.spacing", self.preprocessing.spacing),
        ):
            if values is not None and len(values) != dims:
                raise ValueError(f"{what} needs {dims} numbers because data.dims is {dims}, got {list(values)}")
        if self.data.in_pixels and (dims != 2 or self.preprocessing.spacing is not None):
            raise ValueError("data.in_pixels leaves pixels as they are: it needs dims 2 and no preprocessing.spacing")
        if any(axis >= dims or axis < 0 for axis in self.augmentation.flip):
            raise ValueError(f"augmentation.flip must name axes 0 … {dims - 1}, got {list(self.augmentation.flip)}")
        spacing = self.preprocessing.spacing
        if self.augmentation.rotate90 and (
            self.sampling.patch[0] != self.sampling.patch[1] or (spacing is not None and spacing[0] != spacing[1])
        ):
            raise ValueError(
                "augmentation.rotate90 swaps i and j: sampling.patch and preprocessing.spacing must be equal along "
                f"both, got {list(self.sampling.patch)} and {spacing if spacing is None else list(spacing)}"
            )
        return self

    @model_validator(mode="after")
    def _stains_need_colour(self) -> "ExperimentConfig":
        if not self.augmentation.stain:
            return self
        intensity, channels = self.preprocessing.intensity, self.preprocessing.channels
        if channels != 3 or not isinstance(intensity, Window) or intensity.lower != 0:
            raise ValueError(
                "augmentation.stain reads red, green and blue as light let through: it needs preprocessing.channels 3 "
                f"and an intensity window from 0, got {channels} and {intensity.model_dump()}"
            )
        return self

    @model_validator(mode="after")
    def _views_are_trained(self) -> "ExperimentConfig":
        views = self.inference.views
        if views == "flips" and not self.augmentation.flip:
            raise ValueError("inference.views=flips shows the axes of augmentation.flip, and that names none")
        if views == "dihedral" and not self.augmentation.rotate90:
            raise ValueError(
                "inference.views=dihedral needs augmentation.rotate90: the network has seen no turned patch"
            )
        steps = self.detector.backbone.strides if isinstance(self.detector.backbone, ResidualUNet) else ()
        if views == "dihedral" and any(not isinstance(step, int) and step[0] != step[1] for step in steps):
            raise ValueError(
                "inference.views=dihedral swaps i and j: detector.backbone.strides must be equal along both, "
                f"got {list(steps)}"
            )
        return self

    @model_validator(mode="after")
    def _network_holds_together(self) -> "ExperimentConfig":
        backbone = self.detector.backbone
        if isinstance(backbone, EfficientNetLite):
            if self.data.dims != 2 or self.preprocessing.channels != 3:
                raise ValueError("backbone efficientnet_lite0 needs data.dims 2 and preprocessing.channels 3")
        elif isinstance(backbone, ResidualUNet) and len(backbone.strides) != len(backbone.widths) - 1:
            raise ValueError(
                f"detector.backbone.strides needs {len(backbone.widths) - 1} entries, one fewer than widths, "
                f"got {len(backbone.strides)}"
            )
        return self

    @model_validator(mode="after")
    def _shapes_have_every_axis(self) -> "ExperimentConfig":
        dims, detector = self.data.dims, self.detector
        shapes = list(detector.anchor_shapes) if isinstance(detector, RetinaNetConfig) else []
        if any(len(shape) != dims or min(shape) < 1 for shape in shapes):
            raise ValueError(
                f"detector.anchor_shapes needs {dims} edges of at least 1 voxel for each shape because data.dims is "
                f"{dims}, got {[list(shape) for shape in shapes]}"
            )
        first = detector.backbone.first_stride if isinstance(detector.backbone, ResNet) else 1
        if not isinstance(first, int) and len(first) != dims:
            raise ValueError(f"detector.backbone.first_stride needs {dims} numbers, got {list(first)}")
        return self

    @model_validator(mode="after")
    def _stars_lie_in_a_plane(self) -> "ExperimentConfig":
        if isinstance(self.detector.outline, StarOutline) and self.data.dims != 2:
            raise ValueError("detector.outline star needs data.dims 2: use detector.outline.kind=box for volumes")
        return self

    @model_validator(mode="after")
    def _merging_names_one_class(self) -> "ExperimentConfig":
        if self.data.merge_classes and len(self.data.classes) != 1:
            raise ValueError(f"data.merge_classes needs exactly one class, got {list(self.data.classes)}")
        return self

    @property
    def training_seed(self) -> int:
        """Of first weights and patches; ``seed`` alone divides the data, cuts windows and draws bootstrap rounds."""
        return self.seed if self.training.seed is None else self.training.seed

    @property
    def uses_masks(self) -> bool:
        """Whether masks are learnt or judged by, and not boxes alone."""
        return isinstance(self.detector.outline, StarOutline) or self.evaluation.match.kind == "mask_overlap"

    @property
    def epoch_steps(self) -> int:
        """Optimisation steps of an epoch; its last batch may be smaller."""
        return -(-self.sampling.samples_per_epoch // self.training.batch_size)

    def digest(self) -> str:
        """16 hex digits that name this configuration."""
        tree = self.model_dump(mode="json")
        if self.training.seed is None:  # so that experiments from before it could be set keep their name
            del tree["training"]["seed"]
        tree["evaluation"]["promotion_margin"] = _MARGIN_OF_ITS_OWN  # likewise
        text = json.dumps(tree, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
