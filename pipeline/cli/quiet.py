"""Keep the libraries' notices off the user's screen; ``--verbose`` lets them through."""

import logging
import os
import warnings

# Scans must not be talked about: no usage statistics leave the machine, whatever the user wants to see.
_PRIVATE = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
# The libraries read these while they are imported, child processes when they start.
_QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PYTHONWARNINGS": "ignore",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TQDM_DISABLE": "1",
}
TALKATIVE = ("alembic", "lightning", "lightning.pytorch", "matplotlib", "mlflow", "nibabel", "pydicom", "tifffile")


def settle_libraries(verbose: bool) -> None:
    """Set the environment, warnings and loggers; to be called before a library is imported."""
    for name, value in _PRIVATE.items():
        os.environ.setdefault(name, value)
    if verbose:
        logging.basicConfig(level=logging.INFO)
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
