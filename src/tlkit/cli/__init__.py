"""The command `tlkit`: its options, what each command does, and its exit codes.

Start reading in `app.py` (the list of commands, exit codes), then `experiment_commands.py` and
`classifier_commands.py` (one function a command). The options are the fields of
`experiments.Experiment`, and those in `options.py`.

Public: `main`. The package imports all others, and nothing imports it but `python -m tlkit`.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
