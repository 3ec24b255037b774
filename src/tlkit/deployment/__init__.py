"""Export a classifier to the formats of other runtimes, prove each file, and predict with it.

Start reading in `exporter`. Each format is one module in `formats`, and a new module there is found
automatically. `proof` compares a file with `tlkit.predict`, in a process without Keras. `predictor`
predicts with a file; with `metadata` and `runtimes` it needs only NumPy, Pillow and one runtime.
`serving` serves a file over HTTP.

Public: `export`, `Export`, `Proof`, `Metadata`, `Predictor`, `Prediction`, `Predictions` and
`formats`. Imports `evaluation` and the packages below it, and does not use run folders.
`experiments` and `cli` may import it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
