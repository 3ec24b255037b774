"""Transfer learning for image classification on Keras 3."""

from importlib.metadata import version

from tlkit import backbones, batchnorm, data, datasets, freezing, plotting, recipes, runs, starter
from tlkit.classifier import backbone_of, build_classifier, class_names
from tlkit.errors import ConfigError, DataError, DownloadError, TlkitError, TrainingError
from tlkit.evaluation import Evaluation, evaluate
from tlkit.history import PhaseRun, Run
from tlkit.layers import ClassProbabilities, GrayToRGBResize
from tlkit.phases import Phase
from tlkit.saving import load, save
from tlkit.training import TwoPhaseTrainer, train_phase

__version__ = version("tlkit")

__all__ = [
    "ClassProbabilities",
    "ConfigError",
    "DataError",
    "DownloadError",
    "Evaluation",
    "GrayToRGBResize",
    "Phase",
    "PhaseRun",
    "Run",
    "TlkitError",
    "TrainingError",
    "TwoPhaseTrainer",
    "__version__",
    "backbone_of",
    "backbones",
    "batchnorm",
    "build_classifier",
    "class_names",
    "data",
    "datasets",
    "evaluate",
    "freezing",
    "load",
    "plotting",
    "recipes",
    "runs",
    "save",
    "starter",
    "train_phase",
]
