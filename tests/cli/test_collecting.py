"""The garbage collector pauses while Keras is imported, and leaves alone what that made."""

import subprocess
import sys

CODE = """
import gc, sys
from tlkit.cli import collecting
from tlkit.cli.import_hook import while_importing
paused = []
class Watch:
    def find_spec(self, name, *_):
        paused.append(not gc.isenabled())
with collecting.pause_for_imports():
    import fractions
    assert gc.isenabled() and not gc.get_freeze_count()
    sys.meta_path.insert(1, Watch())
    import keras
    sys.meta_path.pop(1)
    assert gc.isenabled()
assert len(paused) > 1000 and all(paused[1:])
print(gc.get_freeze_count())
"""


def _run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_no_garbage_is_collected_while_keras_is_imported() -> None:
    assert int(_run(CODE)) > 100_000


def test_a_command_that_does_not_import_keras_collects_garbage() -> None:
    code = (
        "import gc, sys; from tlkit import __main__; from tlkit.cli import app; "
        "app.main = lambda: print(gc.isenabled()) or 0; "
        "assert __main__.main() == 0; assert gc.isenabled() and gc.get_freeze_count()"
    )
    assert _run(code) == "True\n"
