"""The garbage collector waits for Keras, and leaves alone what importing it made."""

import subprocess
import sys

CODE = """
import gc
gc.disable()
from tlkit.cli import collecting
with collecting.after_imports():
    import fractions
    assert not gc.isenabled()
    import keras
    assert gc.isenabled()
    print(gc.get_freeze_count())
"""


def test_garbage_is_collected_once_keras_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) > 100_000


def test_the_process_collects_garbage_again_after_a_command() -> None:
    code = (
        "import gc, sys; from tlkit.__main__ import main; sys.argv = ['tlkit', 'cache', 'where']; "
        "assert main() == 0; assert gc.isenabled(); assert gc.get_freeze_count()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)
