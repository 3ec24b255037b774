"""Train in phases: fit or solve a head, fine-tune, verify which weights changed, record metrics.

Start reading in `phase.py` (one phase as a value) and `trainer.py` (two phases, one after the
other). `phase_training.py` trains one phase: by `fit.py`, with Keras' `fit`, or by
`head_solver.py`, without epochs. `verification.py` compares weights before and after, and
`records.py` holds the results.

Public: the names in `__init__.pyi`. The package imports `caching` and the packages below it; it
draws no figures and measures no accuracy except Keras' metrics. `evaluation` and all packages above
it import this package.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
