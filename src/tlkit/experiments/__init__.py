"""Whole experiments: from named settings to the folder of a run with classifier and report.

Start reading in `experiment.py`: the fields of an `Experiment` are the options of the command line
and the content of a run's `config.json`. `recipe.py` and `recipes.py` define the training settings,
`runner.py` runs an experiment in a folder that `run_state.py` reserves for it, `reporting.py`
describes the experiment, and `run_folder.py` writes and reads the folder.

Public: what `__init__.pyi` lists, and `tlkit.recipes`.
The package imports every package but `cli`, and does not use a terminal; only `cli` imports it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
