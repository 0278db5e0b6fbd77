"""Evaluations → figures, overlays and one self-contained page (entry: `pipeline.reporting.report`)."""
