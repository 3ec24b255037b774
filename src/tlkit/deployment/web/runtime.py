"""The software that runs a classifier in a browser: ONNX Runtime Web, from its npm package."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pooch

from tlkit._internal import arguments
from tlkit._internal.files import replace_atomically, to_write_error
from tlkit._internal.optional import require
from tlkit._internal.temporaries import temporary_folder
from tlkit.errors import Argument, ConfigError, DownloadError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
LICENSES = ("LICENSE", "ThirdPartyNotices.txt")
"""Licence files, which the Python package of ONNX Runtime has and its npm package lacks."""

_INTEGRITY = (  # of the package that npm downloads: SHA-512 in Base64
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
_MEMBERS = ("package.json", f"dist/{SCRIPT}", f"dist/{BINARY}")
_SECONDS = 300
_PLACES = ("", "dist", "package/dist", f"node_modules/{PACKAGE}/dist")  # in a user's folder


@dataclass(frozen=True, kw_only=True)
class WebRuntime:
    """The software that a page needs to run a classifier.

    Attributes:
        folder: The folder that holds `SCRIPT` and `BINARY`.
        version: The version of the package; "unknown" if its `package.json` is missing.
    """

    folder: Path
    version: str

    @property
    def licenses(self) -> dict[str, str]:
        """The licence and the notices of other software in the package, by file name."""
        package = Path(str(require("onnxruntime", extra="onnx").__file__)).parent
        found = {}
        for name in LICENSES:
            places = [folder / name for folder in (self.folder, self.folder.parent, package)]
            file = next((place for place in places if place.is_file()), None)
            if file is None:
                raise ConfigError(
                    f"{PACKAGE}'s {name} must go with the page, but it is in none of "
                    f"{sorted({str(place.parent) for place in places})}. Put it into the first."
                )
            found[name] = file.read_text(encoding="utf-8", errors="replace")
        return found


def find_runtime(folder: str | Path | None = None) -> WebRuntime:
    """Return the runtime in a folder; by default npm's download in the user's cache.

    Args:
        folder: A folder in which `npm install onnxruntime-web` was run, or the package's own.

    Raises:
        ConfigError: The folder does not hold the runtime.
        DownloadError: npm is not installed, has no connection, or downloads another file.
    """
    if folder is not None:
        return _find_in(arguments.path("web_runtime", folder))
    cached = Path(pooch.os_cache("tlkit")) / "web" / f"{PACKAGE}-{VERSION}"
    if not all((cached / name).is_file() for name in _MEMBERS):
        _download(cached)
    return WebRuntime(folder=cached / "dist", version=VERSION)


def _find_in(folder: Path) -> WebRuntime:
    for place in _PLACES:
        found = folder / place
        if (found / SCRIPT).is_file() and (found / BINARY).is_file():
            return WebRuntime(folder=found, version=_read_version(found))
    raise ConfigError(
        Argument("web_runtime"),
        f" must be a folder with {SCRIPT} and {BINARY}, such as one in which `npm install "
        f"{PACKAGE}@{VERSION}` was run, got {str(folder)!r}.",
    )


def _read_version(folder: Path) -> str:
    for file in (folder / "package.json", folder.parent / "package.json"):
        if file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8")).get("version", "unknown"))
    return "unknown"


def _download(target: Path) -> None:
    """Download the package by npm, and extract the files that a page needs."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            shutil.rmtree(target)  # it is incomplete
        with temporary_folder(target.parent) as folder:
            packed = _pack(folder)
            _check_hash(packed)
            with replace_atomically(target) as temporary, tarfile.open(packed) as archive:
                for name in _MEMBERS:  # not by `extract`, whose filter Python 3.11.2 lacks
                    content = archive.extractfile(f"package/{name}")
                    if content is not None:
                        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                        (temporary / name).write_bytes(content.read())
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        raise to_write_error(target, error) from error


def _pack(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise _fail("npm is not installed")
    words = ["pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(  # noqa: S603  # constant words
            [npm, *words],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _fail(f"npm took more than {_SECONDS} s") from None
    packed = next(folder.glob("*.tgz"), None)
    if done.returncode or packed is None:
        raise _fail(f"npm said {' '.join(done.stderr.split())[:300] or 'nothing'!r}")
    return packed


def _check_hash(file: Path) -> None:
    digest = hashlib.sha512(file.read_bytes()).digest()
    if base64.b64encode(digest).decode() != _INTEGRITY:
        raise _fail("the downloaded file has another hash than the package")


def _fail(reason: str) -> DownloadError:
    return DownloadError(
        f"Can't download {PACKAGE} {VERSION}, which runs a classifier in a browser: {reason}. Run "
        f"`npm install {PACKAGE}@{VERSION}` on a computer with npm, copy its folder here and pass "
        "it as ",
        Argument("web_runtime"),  # Python's OSError keeps two arguments, so no full stop follows
    )
