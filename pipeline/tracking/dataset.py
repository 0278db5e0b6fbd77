"""A set of cases as MLflow knows it: a digest, counts and rows, and nothing that leads to a patient or a path."""

from dataclasses import dataclass

import pandas as pd
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT


class ArchiveSource(DatasetSource):
    """Cases of an ingested archive; known by digest, because a path may name a patient."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    @staticmethod
    def _get_source_type() -> str:
        return "cellscan_archive"

    def load(self, **options: object) -> None:
        raise NotImplementedError("cases are read from the catalog (cellscan ingest), not from MLflow")

    @staticmethod
    def _can_resolve(raw_source: object) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: object) -> "ArchiveSource":
        raise NotImplementedError

    def to_dict(self) -> dict[str, str]:
        return {"digest": self._digest}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "ArchiveSource":
        return cls(source_dict["digest"])


@dataclass(frozen=True, eq=False)
class CaseTable:
    """``rows``: one a case, keyed by digests. ``context``: training, validation or test."""

    name: str
    digest: str
    context: str
    rows: pd.DataFrame

    @property
    def dataset_name(self) -> str:
        # A run holds a name and digest once, so that each part of the data needs a name of its own.
        return f"{self.name}-{self.context}"

    @property
    def dataset_digest(self) -> str:
        return self.digest[:36]  # all that MLflow keeps

    def as_input(self) -> DatasetInput:
        # MLflow warns of every integer column.
        counts = self.rows.select_dtypes("integer").columns
        rows = self.rows.astype(dict.fromkeys(counts, "float64"))
        dataset = PandasDataset(rows, ArchiveSource(self.digest), name=self.dataset_name, digest=self.dataset_digest)
        entity = dataset._to_mlflow_entity()
        return DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, self.context)])
