"""Every error that cellscan raises on purpose.

::

    CellscanError
    ├── ConfigError         an experiment, a setting or a command line that does not hold together
    ├── SourceError         a file or series that cannot be taken as it is (quarantined in a batch)
    │   └── GeometryError   its place in the world is missing or contradicts itself
    ├── StoreError          a folder of cellscan's own, or of results, cannot be written: the fault of no file
    ├── AnnotationError     annotations that cannot be tied to a volume
    ├── DatasetError        too little or unsuitable data for what was asked
    ├── ModelError          a model version that is not there or does not fit
    ├── TrackingError       the tracking server or registry did not do as asked
    └── RunnerError         a cluster, or the Prefect server between, did not do as asked

A message says what was expected, what came, for which series or key, and what to do. It never holds a
patient identifier: name series by digest or by ``SeriesInstanceUID`` hash.
"""


class CellscanError(Exception):
    """Root of all errors raised on purpose."""


class ConfigError(CellscanError):
    """A configuration that does not hold together."""


class SourceError(CellscanError):
    """A file or series that cannot be taken as it is."""


class GeometryError(SourceError):
    """A series whose place in the world is missing or contradicts itself."""


class StoreError(CellscanError):
    """The home folder, or one for results, cannot be written: no space, no permission."""


class AnnotationError(CellscanError):
    """Annotations that cannot be tied to a volume."""


class DatasetError(CellscanError):
    """Too little or unsuitable data for what was asked."""


class ModelError(CellscanError):
    """A model version that is not there or does not fit."""


class TrackingError(CellscanError):
    """The tracking server or registry did not do as asked."""


class RunnerError(CellscanError):
    """A cluster, or the Prefect server between, did not do as asked."""
