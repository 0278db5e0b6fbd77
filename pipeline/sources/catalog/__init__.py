"""The catalog: what became of every file of every archive, in SQL tables. SQLite by default, PostgreSQL by URL."""

from pipeline.sources.catalog.catalog import Catalog, FileOutcome, FileRecord, ItemKind, Outcome, open_engine

__all__ = ["Catalog", "FileOutcome", "FileRecord", "ItemKind", "Outcome", "open_engine"]
