"""The catalog: what became of every file of every archive, in SQL tables. SQLite by default, PostgreSQL by URL."""

from pipeline.sources.catalog.catalog import Catalog
from pipeline.sources.catalog.engine import open_engine
from pipeline.sources.catalog.records import (
    AnnotationRecord,
    FileOutcome,
    FileRecord,
    ItemKind,
    Outcome,
    VolumeRecord,
)

__all__ = [
    "AnnotationRecord",
    "Catalog",
    "FileOutcome",
    "FileRecord",
    "ItemKind",
    "Outcome",
    "VolumeRecord",
    "open_engine",
]
