"""The training cases as network input, made on first use."""

from collections.abc import Sequence

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import PreparedCase, PreparedStore
from pipeline.progress import Progress
from pipeline.settings import Settings


def prepare_cases(
    config: ExperimentConfig, cases: Sequence[Case], settings: Settings, progress: Progress | None = None
) -> list[PreparedCase]:
    store = PreparedStore(settings.cache, config.preprocessing, config.data.classes)
    prepared = []
    for n, case in enumerate(cases):
        prepared.append(store.get(case))
        if progress:
            progress(n + 1, len(cases), "preparing")
    return prepared
