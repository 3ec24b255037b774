"""Training in phases: fit a head or solve it, fine-tune, prove what moved, record what happened.

Start reading in `phase.py` (one phase as a value) and `trainer.py` (two phases, one after the
other). `phase_training.py` trains one phase: by `fit.py`, with Keras' `fit`, or by
`head_solver.py`, without epochs. `verification.py` compares weights before and after, and
`records.py` holds the results.

Public: what `__init__.pyi` lists.
The package imports `caching` and the packages below it; it draws nothing and measures no accuracy
of its own. `evaluation` and all packages above it import it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
