"""Distribute work over the machines of a Ray cluster: features, heads and fine-tuning.

Start reading in `extraction.py`, which runs the frozen part of a classifier over a table of image
files. It divides the table into parts (`manifest.py`), connects to a cluster and checks its
machines (`cluster.py`, `environment.py`), and distributes the parts (`dispatch.py`), which each
device runs (`worker.py`). Features are written as Parquet files (`feature_files.py`), on a disk or
in a bucket (`storage.py`). `head.py` solves a head for such features. `fine_tuning.py` trains the
tail of a classifier on them (`tail_training.py`): it starts workers (`tail_group.py`), which read
their share of the files (`lanes.py`, `tail_rows.py`) and make each step together
(`tail_worker.py`, `tail_steps.py`).

Public: what `__init__.pyi` lists. All of it needs the extra `ray`, fine-tuning
also `jax`.
The package imports `evaluation` and the packages below it, and does not use the command line;
`experiments` and `cli` import it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
