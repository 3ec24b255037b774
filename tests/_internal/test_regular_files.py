"""Files that would be read for ever, or that are none."""

import os
import re
import socket
from pathlib import Path

import pytest

from tlkit._internal import regular_files


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "it is a folder"),
        (os.mkfifo if hasattr(os, "mkfifo") else None, "it is a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
        (lambda path: path.symlink_to("/dev/null"), "it is a device"),
        (_make_socket, "it is a socket"),
        (lambda path: path.symlink_to(path), "Too many levels"),
        (lambda path: None, "No such file"),
        (lambda path: path.write_bytes(b"a" * 101), "it is larger than 100 bytes"),
        (lambda path: path.write_bytes(b"ab\xff"), "it is not UTF-8: byte 2 is 0xff"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_text_is_refused_at_once(tmp_path, monkeypatch, make, reason) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    make(Path("file"))
    with pytest.raises(OSError, match=".") as caught:
        regular_files.read_text(Path("file"), max_bytes=100)
    assert re.match(reason, regular_files.reason(caught.value))


def test_a_name_with_nul_is_an_error_of_the_file() -> None:
    with pytest.raises(OSError, match="its name has a NUL character"):
        regular_files.read_bytes(Path("a\0b"))


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf" + b"a" * 97)
    assert regular_files.read_text(tmp_path / "a", max_bytes=100) == "a" * 97
