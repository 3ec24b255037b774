"""Headless Chromium for tests, and a server in a process of its own that it looks at."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PHONE, DESKTOP = 375, 1280
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

_FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

# Starts a Python file, and writes to another the addresses that it connects to or looks up, but for
# this machine's.
_WATCH = """
import runpy, sys
log, sys.argv = sys.argv[1], sys.argv[2:]
def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo"):
        target = details[1] if event == "socket.connect" else details[0]
        host = target[0] if isinstance(target, tuple) else target
        if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"):
            with open(log, "a") as file:
                file.write(f"{event} {target}\\n")
sys.addaudithook(watch)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@contextmanager
def open_browser() -> Iterator[Any]:
    """Yield a browser of Playwright; skip the test where it or Chromium is missing."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *_FAKE_CAMERA]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def run_server(
    script: Path, *words: str, connections: Path, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address that a script prints, and its process, which is stopped afterwards.

    Args:
        script: A Python file.
        words: Its arguments.
        connections: The file that gets the addresses of other machines it connects to.
        environment: More environment variables.
    """
    log = connections.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _WATCH, str(connections), str(script), *words],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _wait_for_address(process, log), process
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        text = log.read_text("utf-8", errors="replace")
        found = re.search(r"http://127\.0\.0\.1:\d+/?", text)
        if found:
            return found[0]
        assert process.poll() is None, text
        time.sleep(0.1)
    raise AssertionError(f"no address after a minute: {text}")
