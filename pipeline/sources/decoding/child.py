"""The process that decodes untrusted files: it reads jobs, writes replies, and may die without harm.

Messages are JSON, each after its length (8 bytes, big endian), on stdin and on what was stdout at the start; whatever
a native decoder prints goes nowhere. Arrays travel as files of the store's format that the parent names.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import warnings
from typing import Any, BinaryIO

from pipeline.errors import AnnotationError, CellscanError, GeometryError, SourceError, StoreError
from pipeline.sources.decoding.jobs import Job, Reply, do

MEMORY_BYTES = 16 << 30
_PR_SET_PDEATHSIG = 1


def serve() -> None:
    """Answer jobs until stdin ends."""
    replies = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    _limit_memory()
    _end_with_parent()
    warnings.simplefilter("ignore")  # decoders warn with header values in the text
    while (job := receive(sys.stdin.buffer)) is not None:
        send(replies, answer(job))


def answer(job: Job) -> Reply:
    """Do one job; a fault becomes ``{"error": kind, "message": …}``."""
    try:
        return do(job)
    except CellscanError as error:
        reply = {"error": type(error).__name__, "message": str(error)}
        path = getattr(error, "path", None)
        return reply if path is None else {**reply, "path": path}
    except MemoryError:
        return {"error": "SourceError", "message": "reading needs more memory than is allowed"}
    except BaseException as error:  # a Rust panic in a decoder is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return {"error": "SourceError", "message": f"cannot be read ({type(error).__name__}): damaged or cut"}


def error_of(reply: Reply) -> CellscanError | None:
    """The fault that a reply reports, as the error that it was."""
    if "error" not in reply:
        return None
    kinds = {kind.__name__: kind for kind in (SourceError, GeometryError, AnnotationError, StoreError)}
    return kinds.get(reply["error"], SourceError)(reply["message"])


def send(stream: BinaryIO, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message, or `None` at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    data = stream.read(int.from_bytes(head, "big"))
    return json.loads(data)


def _end_with_parent() -> None:
    """A child that hangs in a decoder does not see that its parent was killed: the kernel tells it (Linux)."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    serve()
