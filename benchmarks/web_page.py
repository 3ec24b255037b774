"""Measure an exported web page in Chromium: its size, and the time to the first prediction.

    python benchmarks/web_page.py run/exports/web image.png

The page is opened from the disk and from a server on this machine in turn, each time in a new
context without a cache. Times are medians in milliseconds, from the start of the visit.
"""

import argparse
import base64
import functools
import shutil
import statistics
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

REPEATS = 5
CHROMIUM = shutil.which("chromium") or shutil.which("chrome")
STEPS = """async (content) => {
  await tlkit.ready;
  const ready = performance.now();
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const file = new Blob([bytes]);
  await tlkit.classify(file);
  const first = performance.now();
  for (let count = 0; count < 10; count++) await tlkit.classify(file);
  return { ready, first, each: (performance.now() - first) / 10 };
}"""


def main() -> None:
    """Print the sizes of the files, then the times at both places."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the folder of the page")
    parser.add_argument("image", type=Path, help="an image file to classify")
    options = parser.parse_args()
    for file in sorted(options.page.iterdir()):
        if file.is_file():
            print(f"{file.name:32}{file.stat().st_size / 1e6:8.3f} MB")
    content = base64.b64encode(options.image.read_bytes()).decode()
    handler = functools.partial(Quiet, directory=str(options.page))
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        places = {
            "disk": (options.page / "standalone.html").resolve().as_uri(),
            "server": f"http://127.0.0.1:{server.server_port}/",
        }
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found: dict[str, list[dict[str, float]]] = {name: [] for name in places}
        for _ in range(REPEATS):
            for name, address in places.items():
                found[name].append(visit(browser, address, content))
        browser.close()
        server.shutdown()
    for name, times in found.items():
        medians = {key: statistics.median(each[key] for each in times) for key in times[0]}
        print(name, ", ".join(f"{key} {value:,.0f} ms" for key, value in medians.items()))


def visit(browser: Any, address: str, content: str) -> dict[str, float]:
    """Return the times of one visit."""
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(address)
    times: dict[str, float] = tab.evaluate(STEPS, content)
    context.close()
    return times


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


if __name__ == "__main__":
    main()
