from . import formats as formats
from .exporter import Export as Export
from .exporter import export as export
from .metadata import Metadata as Metadata
from .predictor import Prediction as Prediction
from .predictor import Predictions as Predictions
from .predictor import Predictor as Predictor
from .proof import Proof as Proof
