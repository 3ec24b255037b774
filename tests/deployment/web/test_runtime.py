"""How the page's runtime is found, with an npm that answers what the test wants."""

import base64
import hashlib
import sys
import tarfile
from pathlib import Path

import pooch
import pytest
from tests.samples import skip_without

from tlkit.deployment.web import runtime
from tlkit.deployment.web.runtime import BINARY, SCRIPT, find_runtime
from tlkit.errors import ConfigError, DownloadError


def _put(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in (SCRIPT, BINARY):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("place", ["", "dist", "package/dist", "node_modules/onnxruntime-web/dist"])
def test_a_folder_of_the_users_is_taken(place: str, tmp_path: Path) -> None:
    folder = _put(tmp_path / "given" / place)
    (folder.parent / "package.json").write_text('{"version": "9.8.7"}')
    found = find_runtime(tmp_path / "given")
    assert (found.folder, found.version) == (folder, "9.8.7")


def test_a_folder_without_the_runtime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`web_runtime` must be a folder with .*npm install onn"):
        find_runtime(tmp_path)


def test_the_licences_come_from_the_python_package(tmp_path: Path) -> None:
    skip_without("onnx")
    licenses = find_runtime(_put(tmp_path / "given")).licenses
    assert "MIT License" in licenses["LICENSE"]
    assert len(licenses["ThirdPartyNotices.txt"]) > 1000


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that an npm of the test's own packs, and an empty cache."""
    if sys.platform == "win32":
        pytest.skip("the npm of this test is a shell script")
    package = _put(tmp_path / "package" / "dist").parent
    (package / "package.json").write_text("{}")
    packed = tmp_path / "package.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(package, "package")
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncp {packed} .\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    digest = hashlib.sha512(packed.read_bytes()).digest()
    monkeypatch.setattr(runtime, "_INTEGRITY", base64.b64encode(digest).decode())
    return script


def test_npm_is_asked_once_for_the_pinned_version(npm: Path, tmp_path: Path) -> None:
    for _ in range(2):
        found = find_runtime()
        assert (found.folder / SCRIPT).read_text() == SCRIPT
        assert (found.folder / BINARY).read_text() == BINARY
        assert found.version == runtime.VERSION
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].startswith(f"pack onnxruntime-web@{runtime.VERSION} --ignore-scripts")


def test_a_package_with_another_hash_is_not_kept(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_INTEGRITY", "another")
    with pytest.raises(DownloadError, match="has another hash than the package.*npm install"):
        find_runtime()
    assert not list((tmp_path / "cache" / "tlkit" / "web").iterdir())


def test_an_npm_that_fails_is_quoted(npm: Path) -> None:
    npm.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    with pytest.raises(DownloadError, match="npm said 'no network'. Run `npm install onnx"):
        find_runtime()


def test_without_npm_the_remedy_is_said(npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    message = "npm is not installed. Run `npm install .* and pass it as `web_runtime`$"
    with pytest.raises(DownloadError, match=message):
        find_runtime()
