"""``python -m pipeline.cli`` is ``cellscan``."""

from pipeline.cli import main

main()
