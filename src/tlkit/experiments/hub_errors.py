"""Errors of the Hugging Face Hub as errors of tlkit, which say what the user can do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DownloadError, TlkitError

_ACTIONS = {
    401: "the access token is missing or wrong: run `hf auth login`, or set HF_TOKEN",
    403: "the access token may not do this: make one that may write",
    404: "there is no such repository, or your access token may not see it: run `hf auth login`",
    409: "the repository was changed meanwhile: try again",
    413: "a file is too large for the Hub: remove large exports from the run's folder",
    429: "too many requests were sent: try again later",
}

_HTTP = ("httpx", "httpcore", "requests", "urllib3")


@contextmanager
def translate(repo: str) -> Iterator[None]:
    """Raise errors of tlkit in place of those of huggingface_hub.

    Args:
        repo: The repository that the messages name.
    """
    try:
        yield
    except TlkitError:
        raise
    except Exception as error:  # huggingface_hub raises its own and those of its HTTP library
        raise _describe(error, repo) from error


def _describe(error: Exception, repo: str) -> TlkitError:
    chain = list(_follow(error))
    for each in chain:
        kind = type(each).__name__
        if kind in ("HFValidationError", "HfUriError"):
            return ConfigError(
                Argument("repo"), f" must be a repository such as 'me/flowers', got {show(repo)}."
            )
        if kind == "RevisionNotFoundError":
            return ConfigError(
                Argument("revision"), f" must be a branch, tag or commit of {repo!r}: no such one."
            )
        if kind == "OfflineModeIsEnabled":
            return DownloadError(f"Can't reach {repo!r}: HF_HUB_OFFLINE is set.")
        status = getattr(getattr(each, "response", None), "status_code", None)
        if status is not None and status < 500:
            said = getattr(each, "server_message", None)
            reason = _ACTIONS.get(status, f"the Hub answers with status {status}")
            return ConfigError(
                Argument("repo"),
                f" can't be used, got {show(repo)}: {reason}."
                + (f" The Hub says: {said}" if said else ""),
            )
        if status is not None:
            return DownloadError(f"Can't use {repo!r}: the Hub answers with status {status}.")
    last = chain[-1]
    reason = next(iter(str(last).splitlines()), "") or type(last).__name__
    if isinstance(last, OSError) or type(last).__module__.startswith(_HTTP):
        return DownloadError(f"Can't reach {repo!r}: {reason}. Check the network, and try again.")
    return DownloadError(f"The Hub refuses {repo!r}: {reason}")


def _follow(error: BaseException) -> Iterator[Any]:
    """Yield an error and its causes, the outermost first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__
