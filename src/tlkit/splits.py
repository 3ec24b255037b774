"""A short path to `tlkit.data.splits`."""

from tlkit.data.splits import *  # noqa: F403
