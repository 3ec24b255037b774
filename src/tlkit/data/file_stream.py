"""Read image files in batches, one batch ahead, and continue after damaged files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit._internal import regular_files, system
from tlkit.data import decoding, naming
from tlkit.data.decoding import UnreadableImageError
from tlkit.data.threads import map_ahead

Outcome = np.ndarray | str
"""The pixels of a file, or why it can't be read."""

_EIGHT_BITS = {".bmp", ".gif", ".jpeg", ".jpg", ".webp"}


def read_batches(
    files: Iterable[Path], read: Callable[[Path], np.ndarray], *, batch_size: int
) -> Iterator[list[tuple[Path, Outcome]]]:
    """Yield files in batches, each file with its pixels or why it can't be read.

    While a batch is used, threads read the next one; memory holds two.

        files: The image files.
        read: Returns the pixels of a file.
        batch_size: The number of files in a batch.
    """
    return map_ahead(lambda file: _try_reading(file, read), files, batch_size=batch_size)


def find_white(files: Sequence[Path]) -> int | None:
    """Return the value of white in the 16-bit files among these; None without 16-bit files.

    Only the headers of other files are read, and files whose format has only 8 bits are skipped.

    Args:
        files: The image files.
    """
    candidates = [file for file in files if file.suffix.lower() not in _EIGHT_BITS]
    with ThreadPoolExecutor(system.count_cores(), thread_name_prefix="tlkit-stream") as pool:
        brightest = max(pool.map(_find_brightest, candidates), default=0)
    return decoding.find_white(brightest) if brightest else None


def _try_reading(file: Path, read: Callable[[Path], np.ndarray]) -> Outcome:
    fault = naming.find_fault(str(file))
    if fault:
        return fault
    try:
        return read(file)
    except UnreadableImageError as error:
        return error.reason


def _find_brightest(file: Path) -> int:
    """Return the largest value in a grey file of 16 bits, 0 for all other files."""
    try:
        with regular_files.open_regular(file) as source, Image.open(source) as opened:
            deep = decoding.find_form(opened) == "16-bit grey"
            return int(np.asarray(opened).max()) if deep else 0
    except Exception:  # a damaged file: reading it later reports why
        return 0
