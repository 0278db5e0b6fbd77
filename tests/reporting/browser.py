"""A headless Chromium driven over the DevTools protocol by a pipe: nothing but the browser has to be installed.

https://chromedevtools.github.io/devtools-protocol — messages are JSON, each ended by a zero byte, read by the browser
from file descriptor 3 and written to 4 (``--remote-debugging-pipe``).
"""

import base64
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
# The pipe's ends become descriptors 3 and 4 in a process of its own, which then becomes the browser.
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_PATIENCE = 30.0


class Browser:
    """One page. ``requests`` are the addresses it asked for; ``complaints`` all that its console and log said."""

    def __init__(self, profile: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        high = [os.dup(to_read), os.dup(to_write)]
        for descriptor in (to_read, to_write):
            os.close(descriptor)
        command = [sys.executable, "-c", _LAUNCH, *(str(one) for one in high), str(CHROMIUM), *_FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in high:
            os.close(descriptor)
        self._rest, self._number, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        targets = self._ask("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._ask(f"{domain}.enable")

    def close(self) -> None:
        self._session = ""
        try:
            self._ask("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, EOFError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def view(self, width: int, height: int, *, zoom: float = 1.0, dark: bool = False) -> None:
        """The window in screen pixels; ``zoom`` as a reader's Ctrl and +: fewer CSS pixels, each larger."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=round(width / zoom),
            height=round(height / zoom),
            deviceScaleFactor=zoom,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme, still])

    def without_script(self, off: bool = True) -> None:
        self._ask("Emulation.setScriptExecutionDisabled", value=off)

    def open(self, path: Path) -> None:
        self.requests.clear()
        self.complaints.clear()
        self._ask("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not self.run(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            time.sleep(0.02)

    def settled(self) -> None:
        """After two frames, all that the last input caused has been drawn (decoding apart: see `until`)."""
        self.run(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 40))))"
        )

    def key(self, key: str, *, shift: bool = False) -> None:
        code = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "Home": 36, "End": 35, "PageUp": 33, "PageDown": 34}
        code |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        press = {
            "key": key,
            "modifiers": 8 if shift else 0,
            "windowsVirtualKeyCode": code.get(key, ord(key.upper()) if len(key) == 1 else 0),
        }
        self._ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **press)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **press)
        self.settled()

    def wheel(self, x: float, y: float, down: float, *, control: bool = False) -> None:
        self.mouse("mouseMoved", x, y)
        self._ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=down, modifiers=2 * control)
        self.settled()

    def drag(self, start: tuple[float, float], end: tuple[float, float], *, shift: bool = False) -> None:
        self.mouse("mousePressed", *start, shift=shift)
        self.mouse("mouseMoved", *end, shift=shift, held=True)
        self.mouse("mouseReleased", *end, shift=shift)
        self.settled()

    def pinch(self, x: float, y: float, apart: float, to: float) -> None:
        """Two fingers about a point, first ``apart`` and then ``to`` pixels from each other, side by side."""
        for kind, wide in (("touchStart", apart), ("touchMove", to)):
            points = [{"x": x + sign * wide / 2, "y": y, "id": number} for number, sign in enumerate((-1, 1))]
            self._ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        self._ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settled()

    def print_view(self, on: bool = True) -> None:
        """As on paper, for a reader whose screen is dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark"}
        self._ask("Emulation.setEmulatedMedia", media="print" if on else "", features=[scheme])

    def click(self, selector: str) -> None:
        """Scroll there and click the middle of it."""
        x, y = self.middle(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)
        self.settled()

    def middle(self, selector: str) -> tuple[float, float]:
        element = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.settled()  # the page is told of its scrolling a frame later
        box = self.run(
            f"(() => {{ const r = {element}.getBoundingClientRect(); "
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        return box[0], box[1]

    def mouse(self, kind: str, x: float, y: float, *, shift: bool = False, held: bool = False) -> None:
        pressed = kind != "mouseMoved" or held
        self._ask(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="left" if pressed else "none",
            buttons=int(kind != "mouseReleased" and pressed),
            clickCount=int(kind != "mouseMoved"),
            modifiers=8 if shift else 0,
        )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        shot = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer}"
                return dict(answer["result"])
            self._listen(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._read], [], [], _PATIENCE)[0]:
                raise TimeoutError("the browser says nothing")
            got = os.read(self._read, 1 << 20)
            if not got:
                raise EOFError("the browser has ended")
            self._rest += got
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))

    def _listen(self, event: dict[str, Any]) -> None:
        name, said = event.get("method", ""), event.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif name == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif name == "Runtime.consoleAPICalled":
            self.complaints.append(str(said["args"]))
        elif name == "Log.entryAdded":
            self.complaints.append(f"{said['entry']['level']}: {said['entry']['text']}")
