"""What the versions of one model have made of scans so far, from the ledger."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sql

from pipeline.inference import ledger_tables as tables
from pipeline.inference.ledger_rows import State
from pipeline.inference.ledger_tables import rows as t
from pipeline.settings import Settings
from pipeline.sources.catalog.engine import open_engine, reading
from pipeline.starters.shelf import is_starter


@dataclass(frozen=True)
class Standing:
    """What one version made of one scan; ``spec`` is the version as users write it: ``cells/7``."""

    model: str
    config: str
    state: State
    reason: str
    result: Path
    detections: int
    windows: int = 0
    background: int = 0

    @property
    def spec(self) -> str:
        return spec_of(self.model)

    @property
    def order(self) -> tuple[int, str]:
        """Later versions are greater."""
        number = self.spec.rpartition("/")[2]
        return int(number) if number.isdecimal() else 0, self.model


def spec_of(model: str) -> str:
    """The version that the ledger calls so: ``cells/7-1a2b3c4d`` → ``cells/7``."""
    return model.rpartition("-")[0]


def standings(settings: Settings, model: str) -> dict[str, list[Standing]]:
    """By volume id, what ``model`` and other versions of the same name made of it.

    Args:
        settings: where the ledger is.
        model: as in the ledger: ``cells/7-`` and 8 digits of its bundle's digest. Of a starter model only other
            releases are versions of the same.
    """
    spec = spec_of(model)
    same = f"{spec}-" if is_starter(spec) else f"{spec.rpartition('/')[0]}/"
    wanted = ("volume_id", "model", "config", "state", "reason", "result", "detections", "windows", "background")
    found: dict[str, list[Standing]] = defaultdict(list)
    results = settings.detections
    engine = open_engine(settings.catalog_url)
    try:
        tables.make_tables(engine)
        query = sql.select(*(t.c[name] for name in wanted)).where(t.c.model.startswith(same, autoescape=True))
        with reading(engine) as connection:
            for volume_id, of, config, state, reason, result, *counts in connection.execute(query):
                # LIKE of SQLite knows no capitals, and `nuclei-2d-large` would be one of `nuclei-2d`.
                if of.startswith(same) and (spec_of(of) == spec or not is_starter(spec)):
                    found[volume_id].append(Standing(of, config, state, reason, results / result, *counts))
    finally:
        engine.dispose()
    return found
