"""Leave out of the log what TensorFlow advises on functions that tlkit compiles on purpose."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_ADVICE = "triggered tf.function retracing"


class _OtherLines:
    """Lets all lines of a log pass but TensorFlow's advice."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is kept."""
        return _ADVICE not in str(record.msg)


@contextmanager
def hide_retracing() -> Iterator[None]:
    """Hide in the block that functions are traced again.

    TensorFlow counts by name, so the fifth model of a process causes it, although each model is
    traced once.
    """
    log, filtering = logging.getLogger("tensorflow"), _OtherLines()
    log.addFilter(filtering)
    try:
        yield
    finally:
        log.removeFilter(filtering)
