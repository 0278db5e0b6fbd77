"""Archives in: files → scans → the catalog and the store.

``ingest.ingest`` reads an archive, ``catalog.Catalog`` tells what became of it, ``read.read_scans`` reads scans without
either. Nothing is imported here: the processes that decode start with what they need alone.
"""
