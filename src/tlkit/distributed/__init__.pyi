from .extraction import extract as extract
from .feature_set import FeatureSet as FeatureSet
from .feature_set import WorkerUse as WorkerUse
from .feature_set import open_features as open_features
from .fine_tuning import fine_tune as fine_tune
from .head import solve_head as solve_head
