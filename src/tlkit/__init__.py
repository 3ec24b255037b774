"""Transfer learning for image classification on Keras 3."""

from tlkit import backbones, data, freezing
from tlkit.classifier import build_classifier, class_names
from tlkit.layers import ClassProbabilities, GrayToRGBResize
from tlkit.phases import Phase
from tlkit.saving import load, save
from tlkit.training import TwoPhaseTrainer
