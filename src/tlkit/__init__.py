"""Transfer learning for image classification on Keras 3."""

from importlib.metadata import version

from tlkit import (
    backbones,
    batchnorm,
    data,
    datasets,
    engines,
    experiments,
    explaining,
    freezing,
    plotting,
    recipes,
    reliability,
    reports,
    runs,
    sources,
    splits,
    starter,
    store,
    trackers,
)
from tlkit.audit_grids import audit_grid
from tlkit.auditing import Audit, audit
from tlkit.building import build_classifier
from tlkit.cache import Cache, TrunkRun
from tlkit.calibration import Calibration, calibrate
from tlkit.classifier import backbone_of, class_names
from tlkit.comparing import ComparedRecipe, Comparison, compare
from tlkit.errors import (
    ConfigError,
    DataError,
    DownloadError,
    EngineError,
    MissingExtraError,
    StoreError,
    TlkitError,
    TrainingError,
)
from tlkit.evaluation import Evaluation, evaluate, predict
from tlkit.history import PhaseRun, Run
from tlkit.layers import ClassProbabilities, GrayToRGBResize
from tlkit.paired import McNemar, mcnemar
from tlkit.phases import Phase
from tlkit.probed import Probe, Reading
from tlkit.probing import probe
from tlkit.rate_finding import LearningRates, find_learning_rate
from tlkit.saving import load, save
from tlkit.training import TwoPhaseTrainer, train_phase

__version__ = version("tlkit")

__all__ = [
    "Audit",
    "Cache",
    "Calibration",
    "ClassProbabilities",
    "ComparedRecipe",
    "Comparison",
    "ConfigError",
    "DataError",
    "DownloadError",
    "EngineError",
    "Evaluation",
    "GrayToRGBResize",
    "LearningRates",
    "McNemar",
    "MissingExtraError",
    "Phase",
    "PhaseRun",
    "Probe",
    "Reading",
    "Run",
    "StoreError",
    "TlkitError",
    "TrainingError",
    "TrunkRun",
    "TwoPhaseTrainer",
    "__version__",
    "audit",
    "audit_grid",
    "backbone_of",
    "backbones",
    "batchnorm",
    "build_classifier",
    "calibrate",
    "class_names",
    "compare",
    "data",
    "datasets",
    "engines",
    "evaluate",
    "experiments",
    "explaining",
    "find_learning_rate",
    "freezing",
    "load",
    "mcnemar",
    "plotting",
    "predict",
    "probe",
    "recipes",
    "reliability",
    "reports",
    "runs",
    "save",
    "sources",
    "splits",
    "starter",
    "store",
    "trackers",
    "train_phase",
]
