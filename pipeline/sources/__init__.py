"""Archives in: files → scans → the catalog and the store. The way of a file, in order:

===================  ==========================================================================================
`network`            scans from DICOMweb servers and C-STORE senders become files
`walk`, `archives`   what lies in a folder, and in zip and tar files
`dicom`, `images`    one reader a kind; each takes the files of one unit and gives `scan.LoadedScan`
`units`              which files are read together
`decoding`           the child processes that read untrusted files, and may die of it
`taking`             what was read → volumes in the store, rows for the catalog
`annotations`        what humans said of scans → annotations on the volumes' own grids
`catalog`            what became of every file, in SQL tables
`ingest`             all of these, for an archive; `read` without catalog and store
`deidentification`   the same files without their patients
===================  ==========================================================================================

Nothing is imported here: the processes that decode start with what they need alone.
"""
