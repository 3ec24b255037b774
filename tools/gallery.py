"""Make the pictures of the gallery and of the home page, in docs/figures/gallery.

    python -m tools.gallery

They show scikit-learn's digits and the starter weights, which everyone has. The script needs the
extras `audit` and `onnx`, Playwright, Chromium, and npm for the web page's runtime. The pictures
have few colours, so that the repository stays small.
"""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tools.run_docs import empty_folder

import tlkit

TARGET = Path(__file__).parent.parent / "docs" / "figures" / "gallery"
FIGURES = ("confusion", "grad_cam", "features", "ood", "portfolio")
NUM_WRONG = 12
OPTIONS = ("--image-size", "32", "--channels", "1", "--weights", "starter")
_THREE = [(0.3, 0.24), (0.5, 0.16), (0.68, 0.28), (0.62, 0.42), (0.48, 0.48)]
_THREE += [(0.64, 0.54), (0.72, 0.68), (0.56, 0.84), (0.3, 0.78)]


def main() -> None:
    """Make all pictures in an empty folder, and put them into the documentation."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with empty_folder() as folder:
        _write_digits(Path("digits"))
        _write_digits(Path("mislabelled"), num_wrong=NUM_WRONG)
        for data, out in (("digits", "run"), ("mislabelled", "wrong")):
            _tlkit(
                "train",
                data,
                *OPTIONS,
                "--out",
                out,
            )
        _tlkit("audit", "wrong", "mislabelled", "--out", "audit.png")
        _tlkit("export", "run", "--format", "web")
        _draw_probe(Path("probe.png"))
        for figure in FIGURES:
            shutil.copy(f"run/{figure}.png", f"{figure}.png")
        with _open_browser() as browser:
            _show_report(browser, folder)
            _show_web_page(browser, folder)
        for picture in sorted(folder.glob("*.png")):
            _shrink(picture, TARGET / picture.name)
    sizes = [path.stat().st_size for path in TARGET.iterdir()]
    print(f"{len(sizes)} pictures, {sum(sizes) / 1e3:,.0f} kB")


def _write_digits(folder: Path, *, num_wrong: int = 0) -> None:
    """Write 1,000 digits as PNG files, a folder for each class, some in the next class's folder."""
    digits = tlkit.datasets.digits().train
    wrong = set(np.random.default_rng(0).choice(len(digits.labels), num_wrong, replace=False))
    for number, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        name = f"digit {(label + (number in wrong)) % 10}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype("uint8")).save(folder / name / f"{number}.png")


def _tlkit(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "tlkit", *words], check=True)  # noqa: S603


def _draw_probe(path: Path) -> None:
    digits = tlkit.datasets.digits()
    model = tlkit.build_classifier(
        "mobilenet_v2",
        num_classes=10,
        weights="starter",
        input_shape=(8, 8, 1),
        value_range=digits.train.value_range,
    )
    tlkit.plotting.probe_curves(tlkit.probe(model, digits.train)).savefig(path)


@contextlib.contextmanager
def _open_browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))))
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _show_report(browser: Any, folder: Path) -> None:
    """Take a picture of the beginning of the report, to the captions of its first two figures."""
    for scheme in ("light", "dark"):
        screen = {"width": 800, "height": 720}
        tab = browser.new_page(viewport=screen, color_scheme=scheme, device_scale_factor=1.5)
        tab.goto((folder / "run" / "report.html").as_uri())
        boxes = [tab.locator(".figures figure").nth(at).bounding_box() for at in (0, 1)]
        height = max(box["y"] + box["height"] for box in boxes)
        area = {"x": 0, "y": 0, "width": screen["width"], "height": height}
        tab.screenshot(path=folder / f"report-{scheme}.png", clip=area, full_page=True)
        tab.close()


def _show_web_page(browser: Any, folder: Path) -> None:
    """Draw a three on the web page, on a phone."""
    tab = browser.new_page(viewport={"width": 390, "height": 800}, device_scale_factor=2)
    tab.goto((folder / "run" / "exports" / "web" / "standalone.html").as_uri())
    tab.wait_for_selector("html.ready", state="attached")
    box = tab.locator("#pad").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in _THREE]
    tab.mouse.move(*at[0])
    tab.mouse.down()
    for point in at[1:]:
        tab.mouse.move(*point, steps=6)
    tab.mouse.up()
    tab.wait_for_selector("#classes li")
    tab.wait_for_timeout(1000)
    tab.screenshot(path=folder / "web-page.png")
    tab.close()


def _shrink(source: Path, target: Path, *, width: int = 1200) -> None:
    """Save a picture with 128 colours, and at most as wide as the pages show it on fine screens."""
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((width, 4000), Image.Resampling.LANCZOS)
    picture.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
