"""Every public function, called rightly but for one argument.

A call ends in success, or in a `TlkitError` that names the argument or the file. In CI the cases
are always the same; `TLKIT_FUZZ_CASES=20000 pytest tests/fuzz` draws as many others, and
`tools/fuzz.py` lists all faults at once.
"""

import inspect
import os
from types import FunctionType

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.fuzz.calls import FUNCTIONS, INTERNAL, METHODS, OWN, RESULTS
from tests.fuzz.running import Case, call, cases, classes, is_quick, run_case
from tests.fuzz.world import World
from tests.test_public import public_callables

from tlkit._internal.optional import installed
from tlkit._internal.signatures import check_arguments
from tlkit.errors import ConfigError

CHOSEN = os.environ.get("TLKIT_FUZZ_CASES")
fuzz = settings(
    max_examples=int(CHOSEN or 1000),
    derandomize=not CHOSEN,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_every_public_callable_is_fuzzed() -> None:
    known = {*FUNCTIONS, *INTERNAL, *RESULTS}
    public = {name.removeprefix("tlkit.") for name in public_callables()}
    assert {each for each in public if not each.startswith("errors.")} - known == set()
    assert {*INTERNAL, *RESULTS} <= public


def test_every_public_method_with_arguments_is_fuzzed() -> None:
    public = {
        f"{owner}.{name}"
        for owner, kind in classes().items()
        if f"{kind.__module__}.{owner}".removeprefix("tlkit.") not in INTERNAL
        for name, value in vars(kind).items()
        if not name.startswith("_") and isinstance(value, FunctionType | classmethod)
        if set(inspect.signature(getattr(kind, name)).parameters) - {"self"}
    }
    known = {*METHODS, *OWN, *(".".join(name.split(".")[-2:]) for name in FUNCTIONS)}
    assert public - known == set()


NEEDED = {"from_huggingface": "datasets", "audit": "cleanlab", "tuner.tune": "optuna"}
"""The package of an extra that calls with such a name need to be called rightly."""


def can_run(case: Case) -> bool:
    """Return whether the extra that a call needs is installed."""
    return all(installed(package) for name, package in NEEDED.items() if name in case.call)


@fuzz
@given(case=st.sampled_from([case for case in cases() if is_quick(case) and can_run(case)]))
def test_a_wrong_argument_is_named(world: World, case: Case) -> None:
    assert run_case(world, case) is None


def test_the_fuzzer_sees_other_errors_and_wrong_values_that_are_accepted() -> None:
    def fail() -> None:
        raise KeyError("x")

    def refuse() -> None:
        raise ConfigError("`other` must be a number.")

    assert "KeyError" in str(call(fail, named=("size",)))
    assert "does not name size" in str(call(refuse, named=("size",)))
    assert call(refuse, named=("other",)) is None
    assert call(lambda: None, named=("size",), must_fail=True) == "accepted"


def test_a_hint_that_is_imported_for_type_checkers_only_is_not_checked() -> None:
    @check_arguments
    def take(model: "nowhere.Model | None", count: int) -> int:  # noqa: F821
        return count

    assert take(3, count=2) == 2
    with pytest.raises(ConfigError, match="`count` must be a whole number, got 'a'"):
        take(3, count="a")
