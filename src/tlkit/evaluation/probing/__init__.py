"""Linear probes: after which layer of a backbone should a head read?

Start reading in `linear_probe.py`. `sites.py` lists the layers where a head can read,
`fitted_sites.py` runs a backbone and collects their features, `cross_validation.py` measures the
accuracy of a linear head there, and `result.py` chooses a layer. `backbone_search.py` compares
several backbones, which `contenders.py` builds.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
