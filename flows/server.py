"""Prefect's server as a child that never outlives its parent, however that one ends.

Run as ``python -m flows.server PORT``. The parent keeps the other end of standard input; when it is gone, for
whatever reason, the kernel closes it, and the server ends.
"""

import os
import signal
import sys
import threading
import time

_SECONDS_TO_END = 10


def serve(port: int) -> None:
    """Serve the API on 127.0.0.1 until told to stop."""
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os._exit(1)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
