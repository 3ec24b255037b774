"""A short path to `tlkit.data.datasets`."""

from tlkit.data.datasets import *  # noqa: F403
