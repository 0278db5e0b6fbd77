"""Orchestration with Prefect: which stage runs when, what is tried again, what is shown. No arithmetic lives here."""

import os

# Prefect reads these while it is imported, which therefore happens after these lines everywhere.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
