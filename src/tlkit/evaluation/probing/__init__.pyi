from .linear_probe import probe as probe
from .linear_probe import select_features as select_features
from .result import Probe as Probe
from .result import ProbedLayer as ProbedLayer
