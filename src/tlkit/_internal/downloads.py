"""Downloads by pooch that fail within seconds if there is no network."""

import threading
import types
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pooch
import rich.console
import rich.progress

from tlkit._internal.keras_private import keras_home
from tlkit.errors import DownloadError

SECONDS = 12.0
"""How long to wait for a host's answer, and for the next bytes of a transfer."""

_CHUNK_BYTES = 2**14
_LOCK = threading.RLock()
_NAMES: tuple[str, ...] = ("get_file", "file_utils")  # the names that Keras' modules import


@contextmanager
def bounded_downloads(
    function: Callable[..., Any], what: str, *, remedy: str, seconds: float = SECONDS
) -> Iterator[list[Path]]:
    """Let a function of Keras that downloads a file fail early if the host does not answer.

    Keras' constructors call `get_file` with URLs that only they know, and `get_file` waits without
    a limit. Inside the block, the module of the function calls this module's `get_file` instead;
    other modules of Keras are unchanged. The block receives a list, to which the paths of the
    downloaded files are added. Only one thread at a time can be inside such a block.

    Args:
        function: The constructor, or the function that loads a data set.
        what: The name of the download in the error message, such as "the MNIST data set".
        remedy: What the user can do instead, as a sentence.
        seconds: How long to wait for an answer, and for the next bytes.

    Raises:
        DownloadError: The file can't be downloaded.
    """
    module = function.__globals__
    files: list[Path] = []
    bounded = partial(get_file, what=what, remedy=remedy, seconds=seconds, files=files)
    with _LOCK:
        before = {name: module[name] for name in _NAMES if name in module}
        for name, value in before.items():
            is_module = isinstance(value, types.ModuleType)
            whole = types.SimpleNamespace(**{**vars(value), "get_file": bounded})
            module[name] = whole if is_module else bounded
        try:
            yield files
        finally:
            module.update(before)


def get_file(
    fname: str,
    origin: str,
    *,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    extract: bool = False,
    what: str,
    remedy: str,
    seconds: float = SECONDS,
    files: list[Path] | None = None,
) -> str:
    """Return the path of a file in Keras' cache, like `keras.utils.get_file`.

    The file is downloaded if it is missing or has a different hash.

    Args:
        fname: The file's name.
        origin: Its URL.
        file_hash: Its MD5 or SHA-256 digest in hexadecimal; None skips the check.
        cache_subdir: The subfolder of Keras' cache.
        extract: Whether the file is a tar archive, which is unpacked into a folder `fname`.
        what: As for `bounded_downloads`.
        remedy: As for `bounded_downloads`.
        seconds: As for `bounded_downloads`.
        files: A list to which the path is added.

    Raises:
        DownloadError: The host does not answer, the transfer fails, or the hash differs.
    """
    folder = Path(keras_home()).expanduser() / cache_subdir
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    algorithm = "md5" if file_hash is not None and len(file_hash) == 32 else "sha256"
    try:
        path = pooch.retrieve(
            origin,
            known_hash=None if file_hash is None else f"{algorithm}:{file_hash}",
            fname=f"{fname}_archive" if extract else fname,
            path=folder,
            processor=pooch.Untar(extract_dir=fname) if extract else None,
            downloader=partial(_download, seconds=seconds),
        )
        path = folder / fname if extract else path
        if files is not None:
            files.append(Path(path))
        return str(path)
    except (OSError, ValueError) as error:  # pooch raises a ValueError for a wrong hash
        reason = str(error).strip(" .")
        if (folder / fname).is_file():
            remedy = f"{str(folder / fname)!r} is damaged: it has another hash. {remedy}"
        for created in missing:
            with suppress(OSError):  # the folder is not empty
                created.rmdir()
        raise DownloadError(f"Can't download {what}: {reason}. {remedy}") from error


class _Progress:
    """Receives the progress of pooch's downloader: draws a bar, and notes when a byte arrives."""

    def __init__(self, bar: rich.progress.Progress) -> None:
        self.total = 0
        self.answered = threading.Event()
        self._bar, self._task = bar, bar.add_task("", total=None)

    def update(self, count: int) -> None:
        self.answered.set()
        self._bar.update(self._task, total=self.total or None, advance=count)

    def reset(self) -> None:
        self._bar.reset(self._task)

    def close(self) -> None:
        self._bar.stop()


def _download(url: str, output: str, _: Any, *, seconds: float) -> None:
    """Download a file, and fail if nothing arrives for this many seconds.

    A socket's timeout ends a connection that is refused silently or stalls. It ends neither a slow
    name lookup nor a series of attempts at several addresses. So the download runs in a daemon
    thread, which this function abandons if the first byte does not arrive in time.
    """
    failures: list[Exception] = []
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        progress = _Progress(bar)
        download = pooch.HTTPDownloader(
            progressbar=progress, chunk_size=_CHUNK_BYTES, timeout=seconds
        )

        def run() -> None:
            try:
                download(url, output, None)
            except Exception as error:
                failures.append(error)
            finally:
                progress.answered.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        if not progress.answered.wait(seconds + 1):  # the socket's own error is more precise
            host = urllib.parse.urlsplit(url).hostname
            raise TimeoutError(f"{host} did not answer in {seconds:.0f} s")
        thread.join()
    if failures:
        raise ConnectionError(_reason(failures[0])) from failures[0]


def _reason(error: BaseException) -> str:
    """Return the message of the innermost error, which requests wraps in its own errors."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
