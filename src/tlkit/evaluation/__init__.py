"""How good a classifier is: metrics, calibration, linear probes, label audit, significance.

Start reading in `evaluator.py`, which predicts probabilities, and `metrics.py`, which compares them
with the labels, by `single_label.py` or `multi_label.py`; `bootstrap.py` and `reliability.py`
compute some of the metrics. `calibration.py`, `label_audit.py`, `significance.py` and `probing`
each hold one idea.

Public: what `__init__.pyi` lists.
The package imports `training` and the packages below it, and does not draw; `plotting`, `reports`,
`experiments` and `cli` import it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
