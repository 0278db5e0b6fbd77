"""Starter models that are made by hand, on a shelf of their own."""

from datetime import datetime
from pathlib import Path

from pipeline.config import ExperimentConfig
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.starters import shelf as shelves
from pipeline.starters.shelf import CARD, Starter, digest_of


def empty_shelf(tmp_path, monkeypatch) -> Path:
    """The folder in which starters are looked for from here on."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setattr(shelves, "SHELF", folder)
    return folder


def put_starter(
    shelf: Path, name: str, config: ExperimentConfig, threshold: float = 0.5, volumes: tuple[str, ...] = ()
) -> Starter:
    """An untrained network as starter ``name``, made from ``volumes``."""
    folder = shelf / name
    Bundle(config, seeded_network(config), threshold, Seen(volumes=frozenset(volumes))).save(folder, half=True)
    (folder / CARD).write_text(f"# starter/{name}\n")
    made = Starter(
        name=name,
        folder=folder,
        digest=digest_of(folder),
        finds=f"{config.data.dims}D detection of discs",
        tested="F1 0.812 [0.750, 0.870] on 9 test cases of 9 patients",
        data="drawn discs",
        licence="CC0 1.0",
        credit="nobody",
        cellscan="0.1.0",
        made_at=datetime(2026, 11, 23, 12, 30),
    )
    made.write()
    return made
