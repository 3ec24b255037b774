"""The page in a browser, from a disk and from a server, beside `tlkit.predict`."""

import base64
import functools
import io
import re
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from tests.accessibility import find_barriers
from tests.browser import DESKTOP, PHONE, open_browser
from tests.samples import skip_without

import tlkit
from tlkit import datasets
from tlkit.cli import app
from tlkit.deployment import Predictor
from tlkit.deployment.web.runtime import find_runtime
from tlkit.errors import ConfigError, DownloadError
from tlkit.experiments.exported import is_exported

SIDE = 28
NAMES = [f'<b>"{digit}"&' for digit in range(10)]
PLACES = ("disk", "server")
_CLASSIFY = """async (content) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const found = await tlkit.classify(new Blob([bytes]));
  return [found.probabilities, found.oodScore];
}"""
_DROP = """([content, name, type]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  return transfer;
}"""

_SEND = {
    "drop": """(dataTransfer) => document.getElementById("drop").dispatchEvent(
      new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }))""",
    "paste": """(clipboardData) => document.body.dispatchEvent(
      new ClipboardEvent("paste", { clipboardData, bubbles: true }))""",
}


def _digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    digits = datasets.digits().train
    images = [
        np.asarray(Image.fromarray((digits.images[at] * 15.9).astype("uint8")).resize((SIDE, SIDE)))
        for at in range(count)
    ]
    return np.stack(images)[..., None], np.asarray(digits.labels[:count])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(width, 3, 2, activation="relu") for width in (12, 24)]
    backbone = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])
    made = tlkit.build_classifier(
        backbone, 10, input_shape=(SIDE, SIDE, 1), pixels=(0, 1), class_names=NAMES
    )
    data = _digits(300)
    tlkit.train_phase(made, tlkit.SolvedHead(), data, verbose=False)
    tlkit.fit_ood(made, data)
    return made


@pytest.fixture(scope="module")
def folder(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported page; skipped where npm can't bring its runtime."""
    skip_without("web")
    try:
        find_runtime()
    except DownloadError as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("web") / "page"
    found = tlkit.export(model, path, format="web", test_data=_digits(80), fit="pad")
    assert found.proof.largest_difference < 1e-4
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def addresses(folder: Path) -> Iterator[dict[str, str]]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        disk = (folder / "index.html").as_uri()
        yield {"disk": disk, "server": f"http://127.0.0.1:{server.server_port}/"}
        server.shutdown()


@pytest.fixture
def visit(browser: Any, addresses: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Opens the page at a place, and checks at the end that nothing failed or was fetched."""
    troubles: list[str] = []
    requests: list[str] = []
    contexts = []

    def visit(place: str, width: int = DESKTOP, **how: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **how)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("console", lambda message: troubles.append(f"{message.type} {message.text}"))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(addresses[place])
        tab.wait_for_selector("html.ready", state="attached")
        return tab

    yield visit
    for context in contexts:
        context.close()
    kinds = (addresses["server"], "file:", "blob:")
    assert [url for url in requests if not url.startswith(kinds)] == []
    assert [each for each in troubles if "favicon" not in each and "404" not in each] == []


def _picture(seed: int = 0) -> bytes:
    """A PNG file of a digit, oblong, in colour and with transparent pixels."""
    grey = Image.fromarray(_digits(seed + 1)[0][seed, ..., 0])
    picture = grey.resize((131, 77), Image.Resampling.BICUBIC).convert("RGB")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def _predict(model: keras.Model, *contents: bytes) -> np.ndarray:
    return np.asarray(tlkit.predict(model, list(contents), fit="pad"))


def _read_answer(row: np.ndarray) -> tuple[str, Any]:
    """Return the class and its percentage as the page shows them."""
    return NAMES[row.argmax()], pytest.approx(100 * row.max(), abs=0.06)


def _read_headline(tab: Any) -> tuple[str, float]:
    tab.wait_for_selector("#classes li")
    label, share = re.fullmatch(r"(.*), ([\d.]+)\s%", tab.inner_text("#headline")).groups()
    return label, float(share)


@pytest.mark.parametrize("place", PLACES)
def test_a_file_has_the_probabilities_and_the_score_of_predict(
    place: str, model: keras.Model, visit: Callable[..., Any]
) -> None:
    tab = visit(place)
    assert tab.url.endswith("standalone.html" if place == "disk" else "/")
    contents = [_picture(seed) for seed in range(4)]
    scores = tlkit.ood_scores(model, contents, fit="pad")
    for content, row, score in zip(contents, _predict(model, *contents), scores, strict=True):
        got, got_score = tab.evaluate(_CLASSIFY, base64.b64encode(content).decode())
        np.testing.assert_allclose(got, row, atol=1e-4)
        assert got_score == pytest.approx(score, abs=0.02)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_barrier(scheme: str, visit: Callable[..., Any]) -> None:
    tab = visit("disk", PHONE, color_scheme=scheme)
    assert find_barriers(tab) == []
    tab.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": _picture()})
    tab.wait_for_selector("#details", state="visible")
    tab.get_by_text("About this page").click()
    assert find_barriers(tab) == []


def test_one_file_holds_the_licences_of_all_software_in_it(
    folder: Path, visit: Callable[..., Any]
) -> None:
    tab = visit("disk")
    tab.get_by_text("About this page").click()
    tab.get_by_text("Licences of the software in it").click()
    tab.wait_for_selector("#notices pre:not(:empty)")
    text = (folder / "licenses" / "ThirdPartyNotices.txt").read_text("utf-8")
    assert tab.inner_text("#notices pre").split() == text.split()


def test_a_chosen_a_dropped_and_a_pasted_file_are_shown(
    model: keras.Model, visit: Callable[..., Any]
) -> None:
    tab = visit("server")
    for seed, way in enumerate(("choose", "drop", "paste")):
        content, name = _picture(seed), f"{way}.png"
        if way == "choose":
            file = {"name": name, "mimeType": "image/png", "buffer": content}
            tab.set_input_files("#file", file)
        else:
            data = [base64.b64encode(content).decode(), name, "image/png"]
            transfer = tab.evaluate_handle(_DROP, data)
            tab.evaluate(_SEND[way], transfer)
        tab.wait_for_selector(f"#file-name:text-is('{name}')")
        tab.wait_for_selector("#details", state="visible")
        [row] = _predict(model, content)
        assert _read_headline(tab) == _read_answer(row)
        names = tab.locator("#classes .name").all_inner_texts()
        assert names == [NAMES[at] for at in np.argsort(-row, kind="stable")[:5]]
        assert tab.locator("#preview").is_visible()
        assert "None of these" in tab.inner_text("#unlike")


@pytest.mark.parametrize(("place", "centred"), [("disk", True), ("server", False)])
def test_a_drawn_digit_is_classified_as_its_saved_file(
    place: str, centred: bool, model: keras.Model, visit: Callable[..., Any], tmp_path: Path
) -> None:
    tab = visit(place)
    tab.locator("#centre").set_checked(centred)
    box = tab.locator("#pad").bounding_box()
    corners = [(0.35, 0.2), (0.65, 0.2), (0.5, 0.75)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    for place_ in places[1:]:
        tab.mouse.move(*place_, steps=5)
    tab.mouse.up()
    shown = _read_headline(tab)
    with tab.expect_download() as saved:
        tab.click("#save")
    file = tmp_path / "drawing.png"
    saved.value.save_as(file)
    content = file.read_bytes()
    [row] = _predict(model, content)
    assert shown == _read_answer(row)
    got, _ = tab.evaluate(_CLASSIFY, base64.b64encode(content).decode())
    np.testing.assert_allclose(got, row, atol=1e-4)
    drawn = np.asarray(Image.open(file).convert("L"))
    rows = np.flatnonzero((drawn > 127).any(axis=1))
    assert (rows[0] + rows[-1] == pytest.approx(drawn.shape[0], abs=6)) == centred
    tab.click("#clear")
    assert tab.inner_text("#headline") == "Draw, or choose an image."
    assert not tab.locator("#save").is_enabled()


def test_a_finger_draws(visit: Callable[..., Any]) -> None:
    tab = visit("server", PHONE, has_touch=True, is_mobile=True)
    box = tab.locator("#pad").bounding_box()
    session = tab.context.new_cdp_session(tab)
    for kind, x in (("Start", 0.4), ("Move", 0.45), ("Move", 0.55), ("End", None)):
        y = box["y"] + box["height"] * (0.2 if x is None else x)
        points = [] if x is None else [{"x": box["x"] + box["width"] * x, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    _read_headline(tab)
    assert tab.evaluate("scrollY") == 0


def test_a_file_that_is_no_image_is_refused_and_the_next_is_taken(
    visit: Callable[..., Any],
) -> None:
    tab = visit("server")
    tab.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    tab.wait_for_selector("#headline.error")
    assert "can't read it as an image" in tab.inner_text("#headline")
    assert tab.locator("#classes li").count() == 0
    tab.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": _picture()})
    _read_headline(tab)
    assert tab.locator("#headline.error").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_the_page_fits_a_screen_in_light_and_dark(
    width: int, scheme: str, visit: Callable[..., Any]
) -> None:
    tab = visit("server", width, color_scheme=scheme)
    tab.set_input_files(
        "#file", {"name": f"{'long' * 40}.png", "mimeType": "image/png", "buffer": _picture()}
    )
    _read_headline(tab)
    tab.click("#all")
    assert tab.locator("#classes li").count() == 10
    tab.click("summary")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for kind in ("button", "label"):
        for each in tab.locator(kind).all():
            assert each.bounding_box()["height"] >= 32  # of a finger
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", paper))) / 3
    assert brightness > 240 if scheme == "light" else brightness < 60


def test_everything_is_named_and_reached_by_the_keyboard(visit: Callable[..., Any]) -> None:
    tab = visit("server")
    names = ("Centre", "Dark paper", "Pen", "Choose an image, drop it here or paste it")
    found = [tab.get_by_label(name, exact=True).get_attribute("id") for name in names]
    assert found == ["centre", "dark", "pen", "file"]
    focused = []
    for _ in range(6):
        tab.keyboard.press("Tab")
        focused.append(tab.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert focused == ["clear", "centre", "dark", "pen", "file", "SUMMARY"]
    assert tab.get_by_role("status").inner_text() == "Draw, or choose an image."
    assert tab.title() == "Image classifier"


def test_the_folder_holds_licences_and_loads_nothing_from_elsewhere(folder: Path) -> None:
    names = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    assert names == {
        *("index.html", "standalone.html", "app.js", "file.js", "style.css", "model.onnx"),
        *("onnxruntime-web.js", "onnxruntime-web.wasm"),
        *("licenses/LICENSE", "licenses/ThirdPartyNotices.txt"),
    }
    for name in ("index.html", "app.js", "file.js", "style.css"):
        assert "://" not in (folder / name).read_text("utf-8")
    page = (folder / "standalone.html").read_text("utf-8")
    assert "MIT License" in page
    assert re.search("default-src 'none'.*script-src 'sha256-.*' blob: 'wasm-unsafe-eval'", page)
    assert len(page) < 6_000_000


def test_the_folder_takes_the_place_of_a_file(model: keras.Model, folder: Path) -> None:
    predictor = Predictor(folder)
    images = _digits(9)[0]
    np.testing.assert_allclose(
        predictor.predict(images).probabilities, tlkit.predict(model, images), atol=1e-4
    )
    assert predictor.metadata.format == "web"
    assert is_exported(folder)


def test_what_a_page_cannot_show_is_refused(model: keras.Model, tmp_path: Path) -> None:
    skip_without("web")
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    four = tlkit.build_classifier(backbone, 3, input_shape=(8, 8, 4), pixels=(0, 1))
    for made, settings, message in (
        (four, {}, "A web page takes grey or RGB images; this classifier has 4 channels"),
        (model, {"web_runtime": tmp_path}, "`web_runtime` must be a folder with"),
        (model, {"format": "onnx", "web_runtime": tmp_path}, "must be left out for 'onnx'"),
    ):
        name = "a.onnx" if "format" in settings else "page"
        with pytest.raises(ConfigError, match=message):
            tlkit.export(made, tmp_path / name, **{"format": "web", **settings})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_page_of_a_run_of_photos_predicts_as_the_run(
    trained: Path, photos: Path, browser: Any, tmp_path: Path
) -> None:
    skip_without("web")
    words = ["export", str(trained), "--format", "web", "--out", str(tmp_path / "page")]
    assert app.main(words) == app.DONE
    files = sorted(photos.rglob("*.png"))[::40]
    run = tlkit.load(trained / "model.keras")
    tab = browser.new_page()
    tab.goto((tmp_path / "page" / "index.html").as_uri())
    tab.wait_for_selector("html.ready", state="attached")
    assert tab.locator("#pad").count() == 0
    for row, file in zip(tlkit.predict(run, files), files, strict=True):
        got, _ = tab.evaluate(_CLASSIFY, base64.b64encode(file.read_bytes()).decode())
        np.testing.assert_allclose(got, row, atol=1e-4)
    tab.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["any size", "multi-label"])
def test_the_page_of_another_kind_of_classifier_predicts_the_same(
    kind: str, browser: Any, tmp_path: Path
) -> None:
    skip_without("web")
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    how: dict[str, Any] = {"input_shape": (None, None, 3)}
    if kind == "multi-label":  # and grey without an axis for it, with other values of black
        how = {"input_shape": (20, 16), "value_range": (-1, 1), "multi_label": True}
    made = tlkit.build_classifier(backbone, 7, pixels=(0, 1), **how)
    tlkit.export(made, tmp_path / "page", format="web")
    tab = browser.new_page()
    tab.goto((tmp_path / "page" / "index.html").as_uri())
    tab.wait_for_selector("html.ready", state="attached")
    content = _picture()
    [row] = tlkit.predict(made, [content])
    got, score = tab.evaluate(_CLASSIFY, base64.b64encode(content).decode())
    np.testing.assert_allclose(got, row, atol=1e-4)
    assert score is None
    tab.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": content})
    tab.wait_for_selector("#details", state="visible")
    if kind == "multi-label":
        found = [str(at) for at in np.argsort(-row, kind="stable") if row[at] >= 0.5]
        assert tab.inner_text("#headline") == (", ".join(found) or "No class")
    else:
        assert _read_headline(tab) == (str(row.argmax()), pytest.approx(100 * row.max(), abs=0.06))
    tab.close()
