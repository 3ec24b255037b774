"""Count how many images were run, and how many had stored features."""

import numpy as np

from tlkit._internal.signatures import check_arguments


class Usage:
    """Counts the different images whose features were needed, and those that were run for them.

    Attributes:
        problem: Why features could not be stored; empty if they were stored.

    Examples:
        >>> usage = Usage()
        >>> usage.add(np.array([[1, 1], [2, 2]], "uint64"))
        >>> usage.add_computed(np.array([[2, 2]], "uint64"))
        >>> print(usage)
        features: ran 1 of 2 images, 1 from the cache
    """

    def __init__(self) -> None:
        self._needed: set[bytes] = set()
        self._computed: set[bytes] = set()
        self.problem = ""

    @check_arguments
    def add(self, digests: np.ndarray) -> None:
        """Count images, by their digests, whose features are needed."""
        self._needed.update(digest.tobytes() for digest in digests)

    @check_arguments
    def add_computed(self, digests: np.ndarray) -> None:
        """Count images, by their digests, that are run."""
        self._computed.update(digest.tobytes() for digest in digests)

    @property
    def num_images(self) -> int:
        """The number of different images whose features were needed."""
        return len(self._needed)

    @property
    def num_computed(self) -> int:
        """The number of different images that were run at least once."""
        return len(self._computed)

    def __str__(self) -> str:
        return (
            f"features: ran {self.num_computed:,} of {self.num_images:,} images, "
            f"{self.num_images - self.num_computed:,} from the cache"
            + (f"; not stored for later: {self.problem}" if self.problem else "")
        )
