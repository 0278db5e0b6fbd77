"""The command ``cellscan``. Commands import what they need when they run, so that ``--help`` answers at once."""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed with a reason, 2 misused, 3 done in part (where a command says so)."""
    from pipeline.cli.app import app

    app(args=None if arguments is None else list(arguments), prog_name="cellscan")
