"""A short path to `tlkit.models.freezing`."""

from tlkit.models.freezing import *  # noqa: F403
