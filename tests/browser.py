"""A headless Chromium, driven by its own DevTools protocol over a pipe: nothing to install but the browser."""

import base64
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_BROWSER = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome is installed"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--blink-settings=preferredColorScheme=1",
)
SECONDS = 60  # that a page may take for one thing


class Tab:
    """One page: what it asks for, what it complains about, and what it answers."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.requests: list[str] = []
        """Addresses that were asked for, blob: and data: included."""
        self.complaints: list[str] = []
        """Console errors and warnings, exceptions, and violations of the content security policy."""
        self.answers: dict[str, bytes] = {}
        """Beginnings of foreign addresses that are answered here -> the content, by what follows the last slash."""
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.send(method, self._session, **parameters)

    def close(self) -> None:
        self.send("Page.close")

    def evaluate(self, code: str) -> Any:
        """The value of an expression in the page, awaited."""
        found = self.send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, code: str) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(code):
            assert time.monotonic() < end, f"never true: {code}; {self.complaints}"
            time.sleep(0.02)

    def open(self, address: str) -> None:
        self.requests.clear()
        self.complaints.clear()
        self.send("Page.navigate", url=address)
        self.wait_for(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def resize(self, width_px: int, height_px: int, scale: float = 1.0, dark: bool = False) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=scale,
            mobile=width_px < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def answer(self, addresses: dict[str, bytes]) -> None:
        """Answer these addresses with these bytes instead of asking the network."""
        self.answers = addresses
        self.send("Fetch.enable", patterns=[{"urlPattern": address} for address in addresses])

    def heard(self, method: str, about: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(json.dumps(about["entry"]))
        elif method == "Audits.issueAdded" and about["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.complaints.append(json.dumps(about["issue"]))


class Browser:
    def __init__(self, profile: Path) -> None:
        # Chromium reads commands from descriptor 3 and answers on 4. No name but this machine's own address resolves.
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        lent = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]  # above 3 and 4
        hosts = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        self._process = os.posix_spawn(
            str(BROWSER),
            [str(BROWSER), *FLAGS, hosts, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            os.environ,
            file_actions=[
                *((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)),
                *((os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(lent, start=3)),
            ],
        )
        for end in (theirs_in, theirs_out, *lent):
            os.close(end)
        self._reader, self._writer = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        self._rest = b""
        self._count = 0
        self._tabs: dict[str, Tab] = {}

    def close(self) -> None:
        self.send("Browser.close")
        os.waitpid(self._process, 0)
        self._reader.close()
        self._writer.close()

    def tab(self) -> Tab:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._tabs[session] = Tab(self, session)
        return self._tabs[session]

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Do one thing and wait for its result; what is heard meanwhile goes to the tabs."""
        number = self._write(method, session, parameters)
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        tab = self._tabs.get(message.get("sessionId", ""))
        if tab is None or "method" not in message:
            return
        if message["method"] == "Fetch.requestPaused":
            self._answer(tab, message["sessionId"], message["params"])
        tab.heard(message["method"], message["params"])

    def _answer(self, tab: Tab, session: str, about: dict[str, Any]) -> None:
        content = tab.answers[about["request"]["url"]]
        kind = "text/javascript" if about["request"]["url"].endswith("js") else "application/wasm"
        headers = {"content-type": kind, "access-control-allow-origin": "*"}
        self._write(
            "Fetch.fulfillRequest",
            session,
            {
                "requestId": about["requestId"],
                "responseCode": 200,
                "responseHeaders": [{"name": name, "value": value} for name, value in headers.items()],
                "body": base64.b64encode(content).decode(),
            },
        )

    def _write(self, method: str, session: str | None, parameters: dict[str, Any]) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._writer.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        self._writer.flush()
        return self._count

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._reader.fileno(), 1 << 20)
            assert more, "the browser is gone"
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    made = Browser(profile)
    try:
        yield made
    finally:
        made.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder on a static server, as by `python -m http.server`: its address."""
    handler: Callable[..., Any] = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
