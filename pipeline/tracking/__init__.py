"""Stage 8: runs, figures and model versions in MLflow, which nothing outside this folder imports."""

import os

# Read by MLflow while it is imported, which therefore happens after this line everywhere.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
