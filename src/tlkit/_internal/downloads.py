"""A download that gives up in time where there is no network."""

import contextlib
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

from tlkit.errors import DownloadError

SECONDS = 12.0


class _ReachableFirst(urllib.request.BaseHandler):
    """Tries to reach the host within the limit before urllib waits for it without one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Return the request where its host, or the proxy before it, answers in time."""
        url = _proxy(request) or request.full_url
        parts = urllib.parse.urlsplit(url if "://" in url else f"{request.type}://{url}")
        port = parts.port or (80 if parts.scheme == "http" else 443)
        _connect(parts.hostname or "", port, self.seconds)
        return request

    https_request = http_request


@contextlib.contextmanager
def in_time(what: str, *, remedy: str, seconds: float = SECONDS) -> Iterator[None]:
    """Run a urllib download (Keras' are) that fails within `seconds` where no host answers.

    A stalled transfer is given up after the same time without a byte. While it runs, urllib's
    opener and the socket timeout are changed for the whole process.

    Args:
        what: What is fetched, for the message: "the MNIST data set".
        remedy: What the user can do instead, a sentence.
        seconds: How long to wait for a host.

    Raises:
        DownloadError: The host can't be reached, or the transfer failed.
    """
    before, timeout = urllib.request._opener, socket.getdefaulttimeout()  # type: ignore[attr-defined]  # no public getter
    urllib.request.install_opener(urllib.request.build_opener(_ReachableFirst(seconds)))
    socket.setdefaulttimeout(seconds)
    try:
        yield
    except Exception as error:
        if _is_from_the_network(error):
            raise DownloadError(f"Can't download {what}: {_reason(error)}. {remedy}") from error
        raise
    finally:
        urllib.request.install_opener(before)
        socket.setdefaulttimeout(timeout)


def _connect(host: str, port: int, seconds: float) -> None:
    """Open and close a connection, giving up after `seconds` even while the name is looked up."""
    failures: list[OSError] = []

    def attempt() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise urllib.error.URLError(TimeoutError(f"{host} did not answer in {seconds:.0f} s"))
    if failures:
        raise urllib.error.URLError(failures[0])


def _proxy(request: urllib.request.Request) -> str | None:
    if urllib.request.proxy_bypass(request.host):
        return None
    return urllib.request.getproxies().get(request.type)


def _is_from_the_network(error: Exception) -> bool:
    """Tell whether urllib failed; Keras wraps that in a bare Exception with these words."""
    failed = isinstance(error, urllib.error.URLError | TimeoutError | ConnectionError)
    return failed or str(error).startswith("URL fetch failure")


def _reason(error: Exception) -> str:
    return str(error).rpartition(" -- ")[2].strip(" .") or type(error).__name__
