"""A model version as MLflow sees it: the bundle's own files and this module's name. Nothing is pickled.

MLflow imports this module, calls `_load_pyfunc` with the bundle folder and asks the result to ``predict``, so that
``mlflow.pyfunc.load_model("models:/<name>@champion")`` works wherever cellscan is installed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.detections.table import columns, to_frame
from pipeline.errors import SourceError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from pipeline.inference.detect import VolumeDetector
    from pipeline.sources.decoding.decoders import Decoders

BUNDLE = "bundle"


class DetectionModel:
    """Paths of scans in, one row a detection out."""

    def __init__(self, detector: "VolumeDetector", threshold: float) -> None:
        self._detector = detector
        self._threshold = threshold

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Detect on each path.

        Args:
            model_input: a table with a column ``path``, or a list of paths. A path is a DICOM file or folder (one
                or more series), a NIfTI, PNG, JPEG or TIFF file, or a folder of these.
            params: ``threshold``: the lowest score to give back; by default the one chosen in validation.

        Returns:
            The columns of `pipeline.detections.table` after ``path``; a scan with no finding has no row.

        Raises:
            SourceError: a path cannot be read; the message says which and why.
        """
        from pipeline.sources.decoding.decoders import Decoders

        threshold = float((params or {}).get("threshold", self._threshold))
        with Decoders(1) as decoders:
            frames = [frame for path in _paths(model_input) for frame in self._detect(path, threshold, decoders)]
        full = [frame for frame in frames if len(frame)]
        return pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=["path", *columns()])

    def _detect(self, path: str, threshold: float, decoders: "Decoders") -> list[pd.DataFrame]:
        from pipeline.sources.read import read_scans

        frames = []
        for scan in read_scans(Path(path), decoders):
            detections = self._detector.detect(scan.image[...], scan.grid, scan.volume_id).above(threshold)
            frame = to_frame(detections)
            frame.insert(0, "path", path)
            frames.append(frame)
        return frames


def _load_pyfunc(data_path: str) -> DetectionModel:
    from pipeline.detectors.bundle import Bundle
    from pipeline.inference.detect import VolumeDetector

    bundle = Bundle.load(Path(data_path))
    return DetectionModel(VolumeDetector(bundle, Settings.from_environment().device), bundle.threshold)


def save_model(bundle_folder: Path, folder: Path, threshold: float) -> None:
    """Write an MLflow model: the bundle copied to ``data/bundle``, ``MLmodel`` and its requirements.

    Args:
        bundle_folder: what `Bundle.save` wrote, under the name ``bundle``.
        folder: where the model is written; it must not exist.
        threshold: the default of the parameter of the same name, shown in the signature.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    from pipeline.tracking.provenance import code_tags

    mlflow.pyfunc.save_model(
        path=str(folder),
        loader_module=__name__,
        data_path=str(bundle_folder),
        # Given with the model, and not as an argument: MLflow then asks for no example, which would be a scan.
        mlflow_model=Model(signature=signature(threshold)),
        pip_requirements=[f"cellscan=={code_tags()['cellscan.version']}"],
        metadata={"input": "path: DICOM file or folder, NIfTI, PNG, JPEG or TIFF", "output": "one row a detection"},
    )
    copied = folder / "data" / bundle_folder.name
    if copied.name != BUNDLE:
        raise ValueError(f"the staged bundle folder must be called {BUNDLE!r}, got {copied.name!r}")


def signature(threshold: float) -> "ModelSignature":
    """Written by hand: an inferred one would freeze what the example happened to be.

    The input has one column of strings and no name, because MLflow gives a plain list of paths no column name and
    refuses it where the signature has one; a table with the column ``path`` fits as well.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    text = {"path", "volume_id", "label", "unit"}
    outputs = [ColSpec("string" if name in text else "double", name) for name in ["path", *columns()]]
    return ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema(list(outputs)),
        params=ParamSchema([ParamSpec("threshold", "double", threshold)]),
    )


def _paths(model_input: Any) -> list[str]:
    if isinstance(model_input, pd.DataFrame):
        column = "path" if "path" in model_input.columns else model_input.columns[0]
        values = model_input[column].tolist()
    else:
        values = [model_input] if isinstance(model_input, str | Path) else list(model_input)
    for value in values:
        if not isinstance(value, str | Path):
            raise SourceError(f"predict takes paths of scans as text, got {value!r:.80}")
    return [str(value) for value in values]
