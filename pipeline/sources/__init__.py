"""Archives in: files → scans → the catalog and the store. Start reading at `pipeline.sources.ingest`."""

from pipeline.sources.catalog import Catalog, FileOutcome
from pipeline.sources.ingest import IngestSummary, ingest
from pipeline.sources.read import read_scans
from pipeline.sources.scan import LoadedScan

__all__ = ["Catalog", "FileOutcome", "IngestSummary", "LoadedScan", "ingest", "read_scans"]
