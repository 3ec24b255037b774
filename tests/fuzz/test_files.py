"""Every file that tlkit reads, damaged: it is read, or refused by a `TlkitError`.

In CI the cases are always the same; `TLKIT_FUZZ_CASES=20000 pytest tests/fuzz` draws others.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.test_functions import CHOSEN, fuzz
from tests.fuzz.world import World

pytest.importorskip("yaml", reason="the extra 'yaml' is not installed")

from tests.fuzz.files import FORMATS, run_case


@pytest.mark.parametrize("name", FORMATS)
def test_an_undamaged_file_is_read(world: World, name: str) -> None:
    FORMATS[name].read(world, FORMATS[name].make(world))


@settings(fuzz, max_examples=int(CHOSEN or 300))
@given(name=st.sampled_from(sorted(FORMATS)), seed=st.integers(0, 10**9))
def test_a_damaged_file_is_read_or_refused(world: World, name: str, seed: int) -> None:
    assert run_case(world, name, seed) is None
