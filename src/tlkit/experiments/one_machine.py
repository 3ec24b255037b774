"""Refuse an experiment that names a cluster, where the work runs on one machine."""

from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment


def require_one_machine(experiment: Experiment, work: str) -> None:
    """Raise an error if an experiment names a cluster, for work that does not use it.

    Args:
        experiment: The settings.
        work: The work, such as "`tlkit probe`".

    Raises:
        ConfigError: It names a cluster.
    """
    if experiment.cluster is not None:
        raise ConfigError(
            Argument("cluster"),
            f" must be left out, got {experiment.cluster!r}: {work} runs on one machine. Only "
            "`tlkit train` and `experiments.run` use a cluster.",
        )
