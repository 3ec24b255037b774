"""The demo as its Space's own process, looked at in a browser, and what it refuses."""

import base64
import csv
import json
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.accessibility import find_barriers
from tests.browser import DESKTOP, PHONE, open_browser, run_server
from tests.samples import skip_without

import tlkit
from tlkit._internal.optional import installed
from tlkit.errors import ConfigError, MissingExtraError
from tlkit.experiments.demo_subject import load_subject
from tlkit.experiments.experiment import Experiment

pytestmark = pytest.mark.skipif(not installed("gradio"), reason="Gradio is not installed")


@pytest.fixture(scope="module")
def space(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Space."""
    return tlkit.experiments.write_space(
        trained, tmp_path_factory.mktemp("spaces") / "space", examples=2, title="Digits <b>0 to 2"
    )


@pytest.fixture(scope="module")
def site(space: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any, Path]]:
    """The address of the Space's own process, a browser, and a file of its connections."""
    connections = tmp_path_factory.mktemp("server") / "connections.txt"
    with (
        open_browser() as browser,
        run_server(space / "app.py", connections=connections) as (address, _),
    ):
        yield address, browser, connections


@pytest.fixture(scope="module")
def page(site: tuple[str, Any, Path]) -> Any:
    """The page; `page.requests` is a list of what it has loaded."""
    address, browser, _ = site
    opened = browser.new_page(viewport={"width": DESKTOP, "height": 900})
    opened.set_default_timeout(30_000)
    opened.requests = []
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#result")
    return opened


def drop(page: Any, file: Path) -> str:
    """Give the page an image, and return what it says of it."""
    page.reload()
    page.wait_for_selector("#result .tl-hint")
    page.set_input_files("#image input[type=file]", str(file))
    page.wait_for_selector("#result .tl-verdict, #result .tl-problem")
    return " ".join(page.inner_text("#result").split())


def test_the_page_shows_the_class_and_probability_that_predict_returns(
    page: Any, trained: Path, photos: Path, tmp_path: Path
) -> None:
    model = tlkit.load(trained / "model.keras")
    names = tlkit.models.class_names(model)
    noise = np.random.default_rng(0).integers(0, 60_000, (40, 50)).astype("uint16")
    deep = tmp_path / "deep.png"
    Image.fromarray(noise).save(deep)
    upright = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(next((photos / "digit 1").iterdir())).convert("RGB").save(upright, exif=exif)
    for file in (next((photos / "digit 2").iterdir()), deep, upright):
        [shares] = tlkit.predict(model, file)
        text = drop(page, file)
        assert text.startswith(names[shares.argmax()])
        values = page.eval_on_selector_all("#result td data", "all => all.map(d => d.value)")
        assert sorted(map(float, values)) == pytest.approx(sorted(shares), abs=1e-6)
        [score] = tlkit.ood_scores(model, file)
        assert f"{score:.2f}, {'above' if score > 0.95 else 'below'} the threshold" in text


@pytest.mark.slow  # on a busy machine the page may not listen yet
def test_an_image_can_be_dropped_and_taken_away_again(page: Any, photos: Path) -> None:
    page.reload()
    page.wait_for_selector("#result .tl-hint")
    content = base64.b64encode(next((photos / "digit 2").iterdir()).read_bytes()).decode()
    dropped = page.evaluate_handle(
        """content => {
          const bytes = Uint8Array.from(atob(content), each => each.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
          return transfer;
        }""",
        content,
    )
    page.dispatch_event("#image button", "drop", {"dataTransfer": dropped})
    page.wait_for_selector("#result .tl-verdict >> text=digit 2")
    page.click("#image [aria-label='Remove Image'], #image [aria-label='Clear']")
    page.wait_for_selector("#result .tl-hint")
    assert not page.is_visible("#flag") and not page.is_visible("#overlay")


@pytest.mark.slow
def test_a_picture_of_the_webcam_is_classified(site: tuple[str, Any, Path]) -> None:
    address, browser, _ = site
    context = browser.new_context(permissions=["camera"])
    opened = context.new_page()
    opened.goto(address)
    opened.wait_for_selector("#result .tl-hint")
    opened.click("#image [aria-label='Capture from camera']")
    opened.click("text=Click to Access Webcam")
    opened.wait_for_function("document.querySelector('#image video')?.currentTime > 0.2")
    opened.click("#image [aria-label='capture photo']")
    opened.wait_for_selector("#result .tl-verdict")
    assert "none of these" in opened.inner_text("#result")
    context.close()


def test_the_server_sends_no_file_of_its_own(site: tuple[str, Any, Path], page: Any) -> None:
    address, _, _ = site
    events = page.request.get(f"{address}config").json()["dependencies"]
    [predict] = [each["id"] for each in events if each["api_name"] == "predict"]
    file = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    answer = page.request.post(
        f"{address}gradio_api/run/predict",
        data={"data": [file], "fn_index": predict, "session_hash": "a"},
    )
    assert answer.status == 500 and "was not uploaded by a user" in answer.text()


def test_it_shows_what_counts_for_the_class(page: Any, photos: Path) -> None:
    drop(page, next((photos / "digit 0").iterdir()))
    picture = page.wait_for_selector("#overlay img")
    page.wait_for_function("document.querySelector('#overlay img').naturalWidth == 480")
    assert picture.is_visible()
    assert "the more it counts for digit 0" in page.inner_text("#overlay")


def test_a_wrong_prediction_is_flagged_into_a_folder_to_train_on(
    page: Any, photos: Path, space: Path
) -> None:
    file = next((photos / "digit 2").iterdir())
    drop(page, file)
    page.get_by_text("Is the prediction wrong?").click()
    page.click("#flag")
    page.wait_for_selector("#answer .tl-problem >> text=Choose the right class first")
    page.click("#right input")
    page.get_by_role("option", name="digit 1").click()
    page.click("#flag")
    page.wait_for_selector("#answer .tl-done >> text=Kept as digit 1")
    [kept] = (space / "flagged" / "digit 1").iterdir()
    assert kept.read_bytes() == file.read_bytes()
    with (space / "flagged" / "flagged.csv").open(newline="") as opened:
        [row] = csv.DictReader(opened)
    assert (row["path"], row["label"]) == (f"digit 1/{kept.name}", "digit 1")
    for added in (space / "flagged", space / "flagged" / "flagged.csv"):
        experiment = Experiment(str(photos), add=(str(added),), image_size=32)
        with_it = tlkit.experiments.load_images(experiment)
        assert with_it.counts["digit 1"] == len(list((photos / "digit 1").iterdir())) + 1


def test_what_is_no_image_gets_an_answer_in_the_page(page: Any, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    for content, reason in (
        (b"", "it is empty"),
        (b"hello", "its image format is unknown"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "its image format is unknown"),
        (huge, "it has 10,000 x 10,000 pixels"),
    ):
        file = tmp_path / "image.png"
        file.write_bytes(content)
        text = drop(page, file)
        assert text.startswith(f"This is no image to classify: {reason}")
        assert "/tmp" not in text and "tlkit" not in text  # no path of the server
        assert not page.is_visible("#flag")


def test_an_example_is_classified_with_a_click(page: Any) -> None:
    page.reload()
    page.wait_for_selector("#result .tl-hint")
    page.locator(".gallery-item, .gallery button, button.gallery-item").first.click()
    page.wait_for_selector("#result .tl-verdict")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_follows_the_colour_scheme(
    site: tuple[str, Any, Path], photos: Path, scheme: str
) -> None:
    address, browser, _ = site
    context = browser.new_context(viewport={"width": PHONE, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    opened.goto(address)
    opened.wait_for_selector("#result .tl-hint")
    assert opened.inner_text("h1") == "Digits <b>0 to 2"
    drop(opened, next((photos / "digit 2").iterdir()))
    assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE
    style = "getComputedStyle(document.querySelector('SELECTOR')).PROPERTY"
    ink = opened.evaluate(style.replace("SELECTOR", ".tl-verdict").replace("PROPERTY", "color"))
    brightness = sum(map(float, re.findall(r"[\d.]+", ink)[:3])) / 3
    assert brightness > 200 if scheme == "dark" else brightness < 80
    assert find_barriers(opened, exclude=".gallery") == []  # Gradio's examples have no names
    context.close()


def test_nothing_is_loaded_from_or_sent_to_elsewhere(
    page: Any, site: tuple[str, Any, Path]
) -> None:
    address, _, connections = site
    kinds = (address, "data:", "blob:")
    assert len(page.requests) > 10
    assert [url for url in page.requests if not url.startswith(kinds)] == []
    assert not connections.exists(), connections.read_text()


def test_the_space_says_what_it_needs_and_names_no_place_of_this_machine(
    space: Path, trained: Path, photos: Path
) -> None:
    readme = (space / "README.md").read_text("utf-8")
    front = readme.split("---\n")[1]
    assert 'title: "Digits <b>0 to 2"\n' in front
    assert "sdk: gradio\n" in front and "app_file: app.py\n" in front
    assert re.search(r"^sdk_version: \d+\.\d+\.\d+$", front, flags=re.M)
    first, *pinned = (space / "requirements.txt").read_text().splitlines()
    assert first.startswith("tlkit[demo]")
    assert [line.split("==")[0] for line in pinned] == ["keras", "tensorflow"]
    names = {path.relative_to(space).as_posix() for path in space.rglob("*") if path.is_file()}
    assert names - {"flagged/flagged.csv"} >= {
        "app.py",
        "examples/1.png",
        "examples/2.png",
        "model/config.json",
        "model/metrics.json",
        "model/model.keras",
    }
    assert (space / "model" / "model.keras").read_bytes() == (trained / "model.keras").read_bytes()
    for file in (*space.glob("*.*"), *(space / "model").glob("*.json")):
        assert str(photos.parent) not in file.read_text("utf-8")
        assert str(trained.parent) not in file.read_text("utf-8")
    assert (
        json.loads((space / "model" / "config.json").read_text())["experiment"]["fit"] == "squash"
    )


def test_an_exported_file_has_a_demo_without_grad_cam(trained: Path, tmp_path: Path) -> None:
    skip_without("litert")
    model = tlkit.load(trained / "model.keras")
    file = tlkit.export(model, tmp_path / "digits.tflite").path
    space = tlkit.experiments.write_space(file, tmp_path / "space")
    assert "litert" in (space / "requirements.txt").read_text()
    assert 'HERE / "model/digits.tflite"' in (space / "app.py").read_text().replace("'", '"')
    subject = load_subject(space / "model" / "digits.tflite")
    image = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), "uint8")).save(image)
    found = subject.predict(image)
    [shares] = tlkit.predict(model, image)
    assert [share for _, share in found.classes] == pytest.approx(sorted(shares)[::-1], abs=1e-4)
    assert found.ood_score is not None and subject.ood_threshold == 0.95
    with pytest.raises(ConfigError, match="Grad-CAM needs a classifier of Keras"):
        subject.explain(image, found.label)


def test_flagged_images_are_listed_as_in_the_table_of_the_run(
    trained: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    for settings, columns in (
        (
            {"path_column": "file", "label_separator": ";"},
            {"path_column": "file", "label_column": "label", "label_separator": ";"},
        ),
        (
            {"label_columns": ["a", "b"]},
            {"path_column": "path", "label_column": "label", "label_separator": None},
        ),
    ):
        changed = {**config, "experiment": {**config["experiment"], **settings}}
        (run / "config.json").write_text(json.dumps(changed))
        tlkit.experiments.verify_run(run, accept=True)
        assert load_subject(run).columns == columns
        assert load_subject(run / "model.keras").columns == columns


def test_gradio_is_asked_for_before_a_classifier_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr("tlkit.deployment.demo.installed", lambda name: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[demo\]'"):
        tlkit.experiments.create_demo(tmp_path / "no run")


def test_wrong_arguments_are_refused_before_anything_is_written(
    trained: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(trained, tmp_path / "moved")
    (moved / "config.json").unlink()
    for call, message in (
        (lambda: tlkit.experiments.create_demo(tmp_path), "it has no model.keras"),
        (
            lambda: tlkit.experiments.create_demo(trained, top=0),
            "`top` must be a whole number of at least 1",
        ),
        (
            lambda: tlkit.experiments.create_demo(moved, examples=2),
            "`run` must be a run that `tlkit train` wrote",
        ),
        (
            lambda: tlkit.experiments.write_space(
                trained / "model.keras", tmp_path / "a", examples=1
            ),
            "`examples` needs a run with test images",
        ),
        (lambda: tlkit.experiments.write_space(trained, trained), "must be new or empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()
    assert not (tmp_path / "a").exists()
