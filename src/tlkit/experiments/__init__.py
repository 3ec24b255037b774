"""Whole experiments: settings with a name, a run from images to report, the folder it writes.

Start reading in `experiment.py`: the fields of an `Experiment` are the options of the command line
and the content of a run's `config.json`. `recipe.py` and `recipes.py` are the training settings,
`runner.py` runs an experiment in a folder that `run_state.py` holds for it, `reporting.py`
describes it, and `run_folder.py` writes and reads its folder.

Public: what `__init__.pyi` lists, and `tlkit.recipes`.
The package imports every package but `cli`, and knows no terminal; only `cli` imports it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
