"""One archive for all tests of the sample."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.sample.archive import SampleSummary, write_sample


@dataclass(frozen=True)
class Archive:
    root: Path
    summary: SampleSummary

    @property
    def boxes(self) -> list[dict[str, Any]]:
        return json.loads((self.root / "annotations" / "boxes.json").read_text())["scans"]

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.root / "annotations" / name, keep_default_na=False)


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives") / "sample"
    return Archive(root, write_sample(root, seed=0))
