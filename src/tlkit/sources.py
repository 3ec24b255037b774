"""A short path to `tlkit.data.sources`."""

from tlkit.data.sources import *  # noqa: F403
