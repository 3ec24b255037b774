"""A short path to `tlkit.experiments.recipes`."""

from tlkit.experiments.recipes import *  # noqa: F403
