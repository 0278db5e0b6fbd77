"""The command that takes scans which others push."""

import signal
import threading
from typing import Annotated

import typer

from pipeline.cli.options import AsJson, Home, Verbose
from pipeline.cli.screen import Screen, expected
from pipeline.settings import Settings


def listen(
    port: Annotated[int, typer.Option(help="TCP port.")] = 11112,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    ae_title: Annotated[str, typer.Option("--ae-title", help="This application entity's title.")] = "CELLSCAN",
    calling: Annotated[
        list[str] | None, typer.Option("--calling", help="Only these application entities may push (repeatable).")
    ] = None,
    quiet: Annotated[float, typer.Option(help="Ingest a study when nothing came for so many seconds.")] = 30.0,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Take scans that are pushed here (DICOM C-STORE; C-ECHO answers), until Ctrl-C.

    An instance is acknowledged when it is safely on disk. A study is ingested when it has been quiet for a while;
    what was not ingested when the command ended is ingested when it starts again. DICOM's protocol has neither
    encryption nor passwords: listen on 0.0.0.0 in a network that you trust only, and name who may push.
    With --json one JSON object a study is printed, each on a line.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import ingest_lines
        from pipeline.sources.network.listener import Listener, ListenerOptions
        from pipeline.stages.listen import listen as listen_for_scans

        def opened(listener: Listener) -> None:
            screen.note(f"{ae_title} listens at {host}:{listener.port}; Ctrl-C ends it")

        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):  # both are how it is meant to end
            signal.signal(number, lambda *_: ended.set())
        options = ListenerOptions(host, port, ae_title, tuple(calling or ()), quiet)

        def failed(error: Exception) -> None:
            screen.note(f"not ingested, tried again in {quiet:.0f} s: {expected(error) or type(error).__name__}")

        for summary in listen_for_scans(
            Settings.from_environment(), options, opened, screen.progress, lambda: not ended.is_set(), failed
        ):
            screen.say(*ingest_lines(summary))
            screen.give_line(summary)
