"""Odd files among images: pipes, sockets, devices, bombs; each is refused, wherever it is read."""

import io
import os
import resource
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import small_classifier

import tlkit
from tlkit import sources
from tlkit.data import decoding
from tlkit.data.decoding import UnreadableImageError
from tlkit.evaluation import embed_files, predict_files

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")

_SIDE = 60_000  # 3,600 megapixels, by what the header says


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png(*chunks: bytes, side: int = _SIDE) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks) + _chunk(b"IEND", b"")


def _resize(kind: str, before: bytes, after: bytes) -> bytes:
    """Return a small file of this kind, whose header says another size."""
    page = io.BytesIO()
    Image.new("RGB", (7, 5)).save(page, kind)
    content = page.getvalue()
    assert content.count(before) >= 1
    return content.replace(before, after, 1)


def _tiff() -> bytes:
    entries = [(256, 4, 1, _SIDE), (257, 4, 1, _SIDE), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, _SIDE), (279, 4, 1, 9)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)


def _webp() -> bytes:  # the size in a VP8X header is 24 bits each, less one
    size = struct.pack("<I", 16_382)[:3]
    page = io.BytesIO()
    Image.new("RGB", (7, 5)).save(page, "WEBP", lossless=True)
    inner = page.getvalue()[12:]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(inner)) + b"WEBP" + extended + inner


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": lambda: _png(_chunk(b"IDAT", zlib.compress(bytes(10**7)))),
    "gif": lambda: _resize("GIF", struct.pack("<HH", 7, 5), struct.pack("<HH", _SIDE, _SIDE)),
    "bmp": lambda: _resize("BMP", struct.pack("<II", 7, 5), struct.pack("<II", _SIDE, _SIDE)),
    "ppm": lambda: b"P6 60000 60000 255\n" + bytes(1000),
    "jpg": lambda: _resize("JPEG", struct.pack(">HH", 5, 7), struct.pack(">HH", _SIDE, _SIDE)),
    "tif": _tiff,
    "webp": _webp,
    "jp2": lambda: _resize("JPEG2000", struct.pack(">II", 5, 7), struct.pack(">II", _SIDE, _SIDE)),
    "text.png": lambda: _png(
        _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))),
        _chunk(b"IDAT", zlib.compress(b"\0\1\2\3")),
        side=1,
    ),
    "colours.png": lambda: _png(
        _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8))), _chunk(b"IDAT", b""), side=8
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"bomb.{kind}"
    path.write_bytes(BOMBS[kind]())
    assert path.stat().st_size < 300_000
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for picture in (path, path.read_bytes()):
        try:
            decoding.decode(picture, (8, 8))
        except UnreadableImageError as error:
            assert "pixels" in error.reason or kind in ("text.png", "colours.png", "webp")
        else:
            assert kind in ("text.png", "colours.png")
    assert time.perf_counter() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_postscript_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)  # would be a TypeError if called
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    for picture in (path, path.read_bytes()):
        with pytest.raises(UnreadableImageError, match="it is PostScript; save it as a PNG file"):
            decoding.decode(picture, (8, 8))


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of two classes, with a pipe, a socket, a device and more among the images."""
    draw = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "odd" / name).mkdir(parents=True)
        for number in range(3):
            picture = Image.fromarray(draw.integers(0, 256, (9, 9, 3), "uint8"))
            picture.save(tmp_path / "odd" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path / "odd" / "a")  # the name of a socket must be short
    os.mkfifo("pipe.png")
    os.mkfifo("pipe")
    Path("device.png").symlink_to("/dev/zero")
    Path("device").symlink_to("/dev/zero")
    Path("lost.png").symlink_to("nowhere")
    Path("loop.png").symlink_to("loop.png")
    Path("folder.png").mkdir()
    Path(os.fsdecode(b"caf\xe9.png")).write_bytes(Path("0.png").read_bytes())
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        yield tmp_path / "odd"


REASONS = {
    os.fsdecode(b"caf\xe9.png"): "its name is not UTF-8",
    "device.png": "it is a device",
    "loop.png": "Too many levels of symbolic links",
    "lost.png": "o such file",
    "pipe.png": "it is a pipe",
    "socket.png": "it is a socket",
}


def _finish(work: Callable[[], object]) -> object:
    """Return the result of something that must not wait for ever."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return results[0]


def test_odd_files_of_a_class_are_problems_one_by_one(odd: Path) -> None:
    how = {"image_size": 8, "unreadable": "skip", "max_unreadable": 0.9}
    found = _finish(lambda: sources.from_folder(odd, **how))
    assert len(found) == 6
    problems = {Path(each.path).name: each.reason for each in found.problems}
    assert len(problems) == len(REASONS)
    for name, reason in REASONS.items():
        assert reason in problems[name.encode("unicode_escape").decode().replace("\\\\", "\\")]


def test_odd_files_are_predicted_as_rows_with_a_reason(
    odd: Path, small_backbone: keras.Model
) -> None:
    model = small_classifier(small_backbone)
    for read in (predict_files, embed_files):
        for files in (odd, sorted((odd / "a").iterdir())):
            rows = _finish(lambda read=read, files=files: list(read(model, files)))
            problems = {row.path.name: row.problem for row in rows if row.problem}
            assert len(rows) - len(problems) >= 3
            for name, reason in REASONS.items():
                assert reason in problems[name], (name, problems)


def test_an_odd_file_by_itself_is_refused(odd: Path, small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    for name, reason in REASONS.items():
        if "UTF-8" in reason:
            continue

        def predict(name: str = name) -> str:
            with pytest.raises(UnreadableImageError) as caught:
                tlkit.predict(model, odd / "a" / name)
            return caught.value.reason

        assert reason in _finish(predict)
