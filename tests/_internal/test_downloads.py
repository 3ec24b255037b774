import contextlib
import hashlib
import http.server
import io
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from tlkit._internal import downloads
from tlkit.errors import ConfigError, DownloadError

CONTENT = bytes(range(256)) * 8


class Site(http.server.ThreadingHTTPServer):
    """A server on this machine that keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []
        self.over = threading.Event()


class Answer(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under any name, but for "missing", "short", "stalled" and "silent"."""

    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.endswith("missing"):
            self.send_error(404, "Not Found")
            return
        if self.path.endswith("silent"):
            self.server.over.wait(5)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path.endswith("short"):
            self.wfile.write(CONTENT[:100])
        elif self.path.endswith("stalled"):
            self.wfile.write(CONTENT[:100])
            self.server.over.wait(5)
        else:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        """Keep quiet."""


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def fetch(url: str, folder: Path, *, seconds: float = 1, file_hash: str | None = None) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloads, "keras_home", lambda: str(folder))
        found = downloads.get_file(
            "file.bin",
            url,
            file_hash=file_hash,
            cache_subdir="",
            what="the test file",
            remedy="Put it there by hand.",
            seconds=seconds,
        )
    return Path(found)


def refusal(url: str, folder: Path, *, within: float, file_hash: str | None = None) -> str:
    """The words of the DownloadError that comes `within` seconds, with nothing left on disk."""
    started = time.perf_counter()
    with pytest.raises(DownloadError) as caught:
        fetch(url, folder, file_hash=file_hash)
    assert time.perf_counter() - started < within
    assert list(folder.iterdir()) == []
    words = str(caught.value)
    assert words.startswith("Can't download the test file: ")
    assert words.endswith(". Put it there by hand.")
    assert caught.value.__cause__ is not None
    return words


def address(site: Site, name: str = "file.bin") -> str:
    return f"http://127.0.0.1:{site.server_address[1]}/{name}"


def test_a_host_that_answers_is_downloaded_from(site: Site, tmp_path: Path) -> None:
    assert fetch(address(site), tmp_path).read_bytes() == CONTENT
    assert site.asked == ["/file.bin"]


def test_a_port_that_nobody_listens_on_is_given_up_at_once(
    closed_port: int, tmp_path: Path
) -> None:
    words = refusal(f"http://127.0.0.1:{closed_port}/file.bin", tmp_path, within=0.9)
    assert "Connection refused" in words


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_lookup_that_hangs_is_given_up_in_time(
    scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    over = threading.Event()

    def hang(*args: object, **kwargs: object) -> list[object]:
        over.wait(5)
        raise socket.gaierror("the test is over")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        words = refusal(f"{scheme}://data.invalid/file.bin", tmp_path, within=3)
    finally:
        over.set()
    assert "data.invalid did not answer in 1 s" in words


def test_a_server_that_never_answers_is_given_up_in_time(site: Site, tmp_path: Path) -> None:
    assert "timed out" in refusal(address(site, "silent"), tmp_path, within=3)


def test_a_transfer_that_stalls_is_given_up_in_time(site: Site, tmp_path: Path) -> None:
    assert "timed out" in refusal(address(site, "stalled"), tmp_path, within=3)


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "Not Found"), ("short", "IncompleteRead")]
)
def test_a_failed_transfer_tells_the_reason(
    name: str, reason: str, site: Site, tmp_path: Path
) -> None:
    assert reason in refusal(address(site, name), tmp_path, within=1)


@pytest.mark.parametrize("digest", [hashlib.sha256, hashlib.md5])
def test_a_file_with_the_right_hash_is_used_without_a_network(
    site: Site, closed_port: int, tmp_path: Path, digest: Callable[..., Any]
) -> None:
    right = digest(CONTENT).hexdigest()
    assert fetch(address(site), tmp_path, file_hash=right).read_bytes() == CONTENT
    nowhere = f"http://127.0.0.1:{closed_port}/file.bin"
    assert fetch(nowhere, tmp_path, file_hash=right).read_bytes() == CONTENT


def test_a_download_with_another_hash_is_refused_and_a_damaged_file_replaced(
    site: Site, tmp_path: Path
) -> None:
    assert "does not match" in refusal(address(site), tmp_path, within=1, file_hash="0" * 64)
    (tmp_path / "file.bin").write_bytes(b"damaged")
    right = hashlib.sha256(CONTENT).hexdigest()
    assert fetch(address(site), tmp_path, file_hash=right).read_bytes() == CONTENT


def test_an_error_being_handled_is_not_taken_for_the_reason(
    closed_port: int, tmp_path: Path
) -> None:
    try:
        raise KeyError("something else")
    except KeyError:
        words = refusal(f"http://127.0.0.1:{closed_port}/file.bin", tmp_path, within=0.9)
    assert "Connection refused" in words


def test_a_damaged_file_on_disk_is_named_where_it_can_not_be_downloaded_again(
    closed_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "keras_home", lambda: str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "file.bin").write_bytes(CONTENT[:100])
    with pytest.raises(DownloadError, match=r"models/file.bin' is damaged: it has another hash"):
        downloads.get_file(
            "file.bin",
            f"http://127.0.0.1:{closed_port}/file.bin",
            file_hash=hashlib.sha256(CONTENT).hexdigest(),
            cache_subdir="models",
            what="weights",
            remedy="Put it there by hand.",
        )


@pytest.mark.parametrize("error", [None, KeyError("a"), ConfigError("wrong")])
def test_only_the_module_of_the_function_downloads_in_another_way_and_only_inside_the_block(
    error: Exception | None,
) -> None:
    weights, digits = keras.applications.MobileNetV2, keras.datasets.mnist.load_data
    file_utils, get_file = weights.__globals__["file_utils"], keras.utils.get_file
    with (
        pytest.raises(type(error)) if error else contextlib.nullcontext(),
        downloads.bounded_downloads(weights, "weights", remedy="Do."),
        downloads.bounded_downloads(digits, "digits", remedy="Do."),
    ):
        assert weights.__globals__["file_utils"].get_file.func is downloads.get_file
        assert weights.__globals__["file_utils"].exists is file_utils.exists
        assert digits.__globals__["get_file"].func is downloads.get_file
        assert file_utils.get_file is get_file is keras.utils.get_file
        assert keras.applications.ResNet50.__globals__["file_utils"] is file_utils
        assert socket.getdefaulttimeout() is None
        if error:
            raise error
    assert weights.__globals__["file_utils"] is file_utils
    assert digits.__globals__["get_file"] is get_file


@pytest.mark.parametrize("scheme", ["http://", "http://user:word@", ""])
def test_a_proxy_is_tried_instead_of_the_host(
    scheme: str,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{site.server_address[1]}")
    assert fetch("http://data.invalid/file.bin", tmp_path).read_bytes() == CONTENT
    assert site.asked == ["http://data.invalid/file.bin"]


def test_a_proxy_that_is_down_is_given_up_even_where_the_host_is_up(
    site: Site,
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port}")
    assert "Connection refused" in refusal(address(site), tmp_path, within=0.9)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetch(address(site), tmp_path).read_bytes() == CONTENT


@pytest.mark.slow
def test_without_a_network_nothing_waits_long(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    try:
        subprocess.run(["unshare", "-rn", "true"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("this machine does not let a user make a namespace without a network")
    told = run_python(
        "import time, tlkit\n"
        "from functools import partial\n"
        "weights = partial(tlkit.models.backbones.create, 'mobilenet_v2', image_size=32)\n"
        "for fetch in (tlkit.datasets.mnist, weights):\n"
        "    started = time.perf_counter()\n"
        "    try:\n"
        "        fetch()\n"
        "    except tlkit.errors.DownloadError as error:\n"
        "        assert time.perf_counter() - started < 15\n"
        "        print(error)\n",
        prefix=("unshare", "-rn"),
        KERAS_HOME=str(tmp_path),
    )
    assert "Can't download the MNIST data set: " in told
    assert "--data path/to/mnist.npz" in told
    assert "Can't download imagenet weights: " in told
    assert "use weights='starter'" in told


def test_an_archive_is_unpacked_into_a_folder(tmp_path: Path, site: Site) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("inner/data")
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloads, "keras_home", lambda: str(tmp_path))
        patch.setitem(globals(), "CONTENT", packed.getvalue())
        for _ in range(2):  # the second time it is there
            folder = downloads.get_file(
                "set", f"http://127.0.0.1:{site.server_port}/a", extract=True, what="", remedy=""
            )
    assert (Path(folder) / "inner" / "data").read_bytes() == CONTENT
    assert folder == str(tmp_path / "datasets" / "set")
    assert len(site.asked) == 1


def test_a_failed_download_leaves_no_empty_folder(tmp_path: Path, closed_port: int) -> None:
    def fail() -> None:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(DownloadError):
            patch.setattr(downloads, "keras_home", lambda: str(tmp_path / "home" / "keras"))
            url = f"http://127.0.0.1:{closed_port}/a"
            downloads.get_file("a", url, what="it", remedy="", seconds=1)

    fail()
    assert list(tmp_path.iterdir()) == []
    kept = tmp_path / "home" / "keras" / "datasets" / "kept"
    kept.parent.mkdir(parents=True)
    fail()
    assert kept.parent.is_dir()  # a folder of the user's, though empty, stays
