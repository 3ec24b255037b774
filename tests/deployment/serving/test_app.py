"""What a server answers: each request goes to a process of its own, over loopback."""

import base64
import json
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deployment.images import (
    encode,
    make_picture,
    make_png_header,
    make_tiff_of_five_channels,
)
from tests.deployment.serving.conftest import NAMES, RunningServer, read_answer

from tlkit.deployment import Limits, Predictor, create_app
from tlkit.deployment.serving import app as serving_app
from tlkit.errors import ConfigError, MissingExtraError

httpx = pytest.importorskip("httpx")

PNG = encode(make_picture())
FILES = {
    "a.png": PNG,
    "b.jpg": encode(make_picture(size=(300, 200)), "JPEG"),
    "alpha.webp": encode(make_picture("RGBA"), "WEBP"),
    "grey.tif": encode(make_picture("L", (9, 200)), "TIFF"),
    "ü &.gif": encode(make_picture("P"), "GIF"),
}


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def _as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _as_files(contents: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (name, content)) for name, content in contents.items()]


def _check(answer: Any, predictor: Predictor, contents: list[bytes], top: int = 3) -> None:
    """Compare an answer with what the file predicts in this process."""
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    for got, expected in zip(found, predictor.predict(contents), strict=True):
        wanted = expected.to_dict(top)
        assert [each["class"] for each in got["classes"]] == [
            each["class"] for each in wanted["classes"]
        ]
        np.testing.assert_allclose(
            [each["probability"] for each in got["classes"]],
            [each["probability"] for each in wanted["classes"]],
            atol=1e-6,
        )
        assert got["ood_score"] == pytest.approx(wanted["ood_score"], abs=1e-6)
        assert got["is_unlike"] == wanted["is_unlike"]


def test_every_kind_of_request_gets_what_the_file_predicts(
    server: RunningServer, predictor: Predictor
) -> None:
    url, contents = f"{server.url}/predict", list(FILES.values())
    answer = httpx.post(url, files=_as_files(FILES))
    _check(answer, predictor, contents)
    assert [each["name"] for each in answer.json()["predictions"]] == list(FILES)
    coded = [_as_base64(content) for content in contents]
    coded[1] = f"data:image/jpeg;base64,{coded[1]}"
    coded[2] = "\n".join(re.findall(".{1,76}", coded[2]))
    answer = httpx.post(url, json={"images": coded})
    _check(answer, predictor, contents)
    assert {each["name"] for each in answer.json()["predictions"]} == {None}
    answer = httpx.post(f"{url}?top=1", content=PNG, headers={"content-type": "image/png"})
    _check(answer, predictor, [PNG], top=1)
    assert len(httpx.post(f"{url}?top=99", files=_as_files(FILES)).json()["predictions"]) == 5


def _json(values: Any) -> dict[str, Any]:
    content = values if isinstance(values, bytes) else json.dumps(values).encode()
    return {"content": content, "headers": {"content-type": "application/json"}}


def _raw(content: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"content": content, "headers": {"content-type": kind}}


def _beside(content: bytes, name: str = "wrong.dat") -> dict[str, Any]:
    return {"files": _as_files({"a.png": PNG, name: content})}


WRONG: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "text": (_beside(b"hello"), 422, "not_an_image", "Image 2 of 2, 'wrong.dat', can't be read"),
    "no bytes": (_beside(b""), 422, "not_an_image", "it is empty"),
    "cut short": (_beside(PNG[:200]), 422, "not_an_image", "can't be read"),
    "100 megapixels": (
        _beside(make_png_header(10_000, 10_001)),
        413,
        "image_too_large",
        "at most 50,000,000 pixels, got 10,000 x 10,001",
    ),
    "3,600 megapixels": (_beside(make_png_header(60_000, 60_000)), 413, "image_too_large", "more"),
    "five channels": (_beside(make_tiff_of_five_channels()), 422, "not_an_image", "format"),
    "postscript": (_beside(POSTSCRIPT), 422, "not_an_image", "format"),
    "2,000 files": (
        {"files": [("images", (f"{at}.png", PNG)) for at in range(2000)]},
        413,
        "too_many_images",
        "at most 64 images, got more than 64",
    ),
    "2,000 texts": (
        _json({"images": ["aGk="] * 2000}),
        413,
        "too_many_images",
        "at most 64 images, got 2,000",
    ),
    "a large file": (_raw(bytes(10_000_001)), 413, "image_too_large", "at most 10 MB, got 10.0 MB"),
    "a large request": (_raw(bytes(33_000_000)), 413, "request_too_large", "at most 32 MB"),
    "without a length": (
        {
            "content": (bytes(1_000_000) for _ in range(33)),
            "headers": {"content-type": "image/png"},
        },
        413,
        "request_too_large",
        "at most 32 MB",
    ),
    "a form of texts": (
        {"data": {"a": "b"}},
        415,
        "unsupported_media_type",
        "got the content type 'application/x-www-form-urlencoded'",
    ),
    "no content type": ({"content": PNG}, 415, "unsupported_media_type", "got no content type"),
    "no boundary": (_raw(PNG, "multipart/form-data"), 400, "invalid_multipart", "boundary"),
    "no multipart": (
        _raw(PNG, "multipart/form-data; boundary=x"),
        400,
        "invalid_multipart",
        "can't be read",
    ),
    "text in a form": (
        {"files": {"a": (None, "hello")}},
        400,
        "invalid_multipart",
        "got text in 'a'",
    ),
    "no file": (
        _raw(b"--x--\r\n", "multipart/form-data; boundary=x"),
        422,
        "no_images",
        "got none",
    ),
    "no JSON": (_json(b"{'a': 1}"), 400, "invalid_json", "got invalid JSON"),
    "no UTF-8": (_json(b"\xff\xfe\xfa"), 400, "invalid_json", "got invalid JSON"),
    "deep JSON": (_json(b"[" * 200_000), 400, "invalid_json", "got invalid JSON"),
    "a list": (_json([]), 400, "invalid_json", "got list"),
    "another key": (_json({"image": "aGk="}), 400, "invalid_json", "got the keys ['image']"),
    "numbers": (_json({"images": [1]}), 400, "invalid_json", 'such as {"images": ["<base64>"'),
    "no texts": (_json({"images": []}), 422, "no_images", "at least one image, got none"),
    "broken base64": (
        _json({"images": [_as_base64(PNG), "aGk=!"]}),
        422,
        "invalid_base64",
        "Image 2 of 2 must be in base64, got 'aGk=!'",
    ),
    "base64 of text": (_json({"images": ["aGk="]}), 422, "not_an_image", "The image can't be read"),
}


@pytest.mark.parametrize(("request_", "status", "code", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_answered_clearly(
    server: RunningServer, request_: dict[str, Any], status: int, code: str, message: str
) -> None:
    answer = httpx.post(f"{server.url}/predict", timeout=30, **request_)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert message in error["message"]
    if "Image 2" in message:
        assert error["image"] == 1


@pytest.mark.parametrize("top", ["0", "-1", "x", "1.5", ""])
def test_a_wrong_number_of_classes_is_refused(server: RunningServer, top: str) -> None:
    answer = httpx.post(f"{server.url}/predict?top={top}", files=_as_files(FILES))
    assert answer.status_code == 422
    assert "top must be a whole number of at least 1" in answer.json()["error"]["message"]


def test_a_client_that_sends_all_before_it_reads_gets_its_answer(server: RunningServer) -> None:
    with socket.create_connection((server.host, server.port), timeout=20) as connection:
        for kind, size, status in (("image/png", 40, 413), ("text/plain", 20, 415)):
            head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: "
            body = bytes(1_000_000 * size)
            connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
            answer = read_answer(connection)
            assert (answer.status, b'"error"' in answer.read()) == (status, True)


def test_what_is_not_there_is_said(server: RunningServer) -> None:
    missing, wrong = httpx.get(f"{server.url}/nothing"), httpx.get(f"{server.url}/predict")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


def test_programs_can_ask_what_the_server_is(server: RunningServer, predictor: Predictor) -> None:
    about = httpx.get(f"{server.url}/metadata").json()
    assert about["class_names"] == list(NAMES)
    assert about == json.loads(predictor.metadata.to_json())
    assert httpx.get(f"{server.url}/ready").json() == {"status": "ready"}
    before = httpx.get(f"{server.url}/health").json()
    httpx.post(f"{server.url}/predict", files=_as_files(FILES))
    after = httpx.get(f"{server.url}/health").json()
    assert after["status"] == "ok"
    assert [after[key] - before[key] for key in ("requests", "images", "batches")] == [1, 5, 1]
    described = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert set(described) == {"/predict", "/health", "/ready", "/metadata"}
    answers = described["/predict"]["post"]["responses"]
    assert {str(status) for _, status, _, _ in WRONG.values()} <= answers.keys()
    codes = {code for _, _, code, _ in WRONG.values()}
    assert all(any(code in each["description"] for each in answers.values()) for code in codes)


def test_the_pages_name_no_other_host() -> None:
    for name in ("try.html", "docs.html"):
        assert not re.search(r"(?:https?:)?//\w", serving_app.read_page(name))


def _send_half(server: RunningServer) -> socket.socket:
    """Begin a request, and return its connection."""
    connection = socket.create_connection((server.host, server.port), timeout=20)
    head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: "
    connection.sendall(f"{head}{len(PNG)}\r\n\r\n".encode() + PNG[:100])
    return connection


def test_a_slow_upload_ends_and_a_full_server_says_so(start: Callable[..., RunningServer]) -> None:
    server = start("--max-requests", "1", "--timeout", "1", "--stop-delay", "60")
    with _send_half(server) as connection:
        time.sleep(0.3)
        busy = httpx.post(f"{server.url}/predict", files=_as_files(FILES))
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert busy.json()["error"]["code"] == "overloaded"
        late = read_answer(connection)
    assert (late.status, b"must arrive within 1 s" in late.read()) == (408, True)
    free = httpx.post(f"{server.url}/predict", files=_as_files(FILES))
    assert free.status_code == 200
    with _send_half(server):
        pass  # the client goes away
    time.sleep(0.2)
    assert httpx.post(f"{server.url}/predict", files=_as_files(FILES)).status_code == 200
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert httpx.get(f"{server.url}/health").status_code == 200
    begun = time.monotonic()
    assert server.stop() == 0  # by a second signal
    assert time.monotonic() - begun < 20
    assert "Traceback" not in server.errors()


def _test_client(app: Any) -> Any:
    from starlette.testclient import TestClient

    return TestClient(app, raise_server_exceptions=False)


def test_a_slow_or_broken_network_gets_an_answer(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Predictor(exported)
    run, gate = slow.run, threading.Event()

    def run_slowly(images: np.ndarray) -> np.ndarray:
        gate.wait(20)
        return run(images)

    monkeypatch.setattr(slow, "run", run_slowly)
    gate.set()
    with _test_client(create_app(slow, limits=Limits(timeout=2))) as client:
        gate.clear()
        answer = client.post("/predict", files=_as_files(FILES))
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "prediction_timeout")
        gate.set()
        assert client.post("/predict", files=_as_files(FILES)).status_code == 200
        monkeypatch.setattr(np, "stack", None)  # whatever goes wrong
        answer = client.post("/predict", files=_as_files(FILES))
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "failed")
        assert "NoneType" not in answer.text


def test_a_wrong_argument_is_refused(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="`max_images` must be a whole number of at least 1"):
        Limits(max_images=0)
    with pytest.raises(ConfigError, match="`timeout` must be a number above 0"):
        Limits(timeout=0)
    with pytest.raises(ConfigError, match="no such file"):
        create_app(exported.with_name("missing.tflite"))
    four = Predictor(exported)
    values = {**four.metadata.to_dict(), "input_shape": (None, 20, 24, 4)}
    monkeypatch.setattr(four, "metadata", type(four.metadata)(**values))
    with pytest.raises(ConfigError, match="images of 1 or 3 channels, got 4"):
        create_app(four)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[serve\]'"):
        create_app(exported)


def test_it_needs_no_keras(exported: Path, run_python: Callable[..., str]) -> None:
    code = f"""
import sys
for name in ("imagehash", "joblib", "keras", "matplotlib", "rich", "scipy", "sklearn",
             "tensorflow", "wrapt", "pooch", "jinja2", "cyclopts"):
    sys.modules[name] = None
from tlkit.deployment import create_app
print(create_app({str(exported)!r}).title)
"""
    assert run_python(code).split()[-1] == "tlkit"
