"""``cellscan demo``."""

from pipeline.cli.options import AsJson, Home, Verbose


def demo(as_json: AsJson = False, home: Home = None, verbose: Verbose = False) -> None:
    """Do the whole way once, on generated scans: archive, two versions in 2D and in 3D, comparison, report."""
    raise NotImplementedError
