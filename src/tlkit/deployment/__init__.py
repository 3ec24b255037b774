"""Export a classifier to the formats of other runtimes, prove each file, and predict with it.

Start reading in `exporter`. A format is one module in `formats`; a module that is added there is
found by itself. `proof` compares a file with `predict` in a process without Keras. `predictor` runs
a file; with `metadata` and `runtimes` it needs NumPy, Pillow and one runtime alone. `serving` is a
server of it.

Public: `export`, `Export`, `Proof`, `Metadata`, `Predictor`, `Prediction`, `Predictions` and
`formats`. Imports `evaluation` and below; knows no run folders. `experiments` and `cli` may import
it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
