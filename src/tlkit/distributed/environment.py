"""Compare the installed packages of a cluster's machines with those here, before work starts."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from tlkit._internal.text import join_first
from tlkit.data.digests import describe_decoders
from tlkit.distributed.storage import Location, explain
from tlkit.errors import Argument, ConfigError

PACKAGES = {
    "litert": ("tensorflow", "ai-edge-litert"),
    "onnxruntime": ("onnxruntime", "tf2onnx"),
    "openvino": ("openvino",),
    "keras": (),
}
"""The packages that each engine needs besides Keras and its backend."""

_ADVICE = (
    "Features depend on these versions: install the same ones everywhere, or choose another "
    "`engine`."
)
_ALWAYS = ("tlkit", "keras", "numpy", "pillow", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A description of a machine.

    Attributes:
        name: Its host name.
        versions: The version of each package; "" for a missing package.
        problems: The reasons why files can't be read or written there.
    """

    name: str
    versions: dict[str, str]
    problems: tuple[str, ...] = ()


def list_packages(engine: str, backend: str) -> tuple[str, ...]:
    """Return the packages that compute features, or whose versions change them."""
    return tuple(dict.fromkeys([*_ALWAYS, backend, *PACKAGES[engine]]))


def describe(packages: Sequence[str], readable: Sequence[tuple[str, Location]]) -> Machine:
    """Return a description of this machine.

    Args:
        packages: Distributions, whose versions are found without importing them.
        readable: Files that this machine must be able to read, each with a name for messages.
    """
    versions = {name: _find_version(name) for name in packages}
    decoders = [str(each) for each in describe_decoders()]
    problems = [_find_problem(what, file) for what, file in readable]
    return Machine(
        name=platform.node(),
        versions={**versions, "image decoders": " ".join(decoders)},
        problems=tuple(filter(None, problems)),
    )


def compare(driver: Machine, workers: Sequence[Machine], *, advice: str = _ADVICE) -> None:
    """Check that workers have the same packages as the driver, and can read its files.

    Args:
        driver: This machine, with the versions that all must have.
        workers: The machines of the workers.
        advice: What to do if versions differ.

    Raises:
        ConfigError: A worker differs; the message names it and the difference.
    """
    faults = [fault for worker in workers for fault in _find_faults(driver.versions, worker)]
    if faults:
        raise ConfigError(
            Argument("cluster"),
            f" must have machines with the same packages as this one, got "
            f"{join_first(faults, limit=6, separator='; ')}. {advice}",
        )
    problems = [f"{each.name}: {problem}" for each in workers for problem in each.problems]
    if problems:
        raise ConfigError(
            Argument("cluster"),
            " must have machines that can read the images and share the folder of features, got "
            f"{join_first(problems, limit=6, separator='; ')}.",
        )


def _find_faults(wanted: Mapping[str, str], worker: Machine) -> list[str]:
    return [
        f"{worker.name}: {name} {worker.versions.get(name) or 'is missing'}, here {here}"
        for name, here in wanted.items()
        if here and worker.versions.get(name) != here
    ]


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _find_problem(what: str, file: Location) -> str:
    try:
        return "" if file.stat() is not None else f"{what} {str(file)!r} does not exist there"
    except OSError as error:
        return f"{what} {str(file)!r} can't be read: {explain(error)}"
