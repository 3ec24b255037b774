from typing import Any

import keras
import pytest
from tests.samples import small_classifier

from tlkit import Phase, SolvedHead, freezing
from tlkit.reports.phase_settings import describe_settings
from tlkit.training.phase import plan_freezing

FROZEN = "frozen layers of the backbone"


@pytest.mark.parametrize(
    ("phase", "name", "words"),
    [
        (Phase(), "optimizer", "Adam"),
        (Phase(weight_decay=0.1, optimizer="adamw"), "optimizer", "AdamW, weight decay 0.1"),
        (Phase(batch_size=1024), "batch size", "1,024"),
        (Phase(), "loss", "categorical cross-entropy"),
        (Phase(label_smoothing=0.1), "loss", "categorical cross-entropy, label smoothing 0.1"),
        (Phase(loss="mean_squared_error"), "loss", "mean squared error"),
        (Phase(learning_rate=1e-5), "learning-rate schedule", "constant, 1e-05"),
        (
            Phase(epochs=2, learning_rate=0.01, schedule="cosine", warmup=0.5),
            "learning-rate schedule",
            "falls from 0.01 to 0 along a cosine, after rising from 0 in 0.5 epochs",
        ),
        (Phase(batchnorm="reestimate"), "BatchNormalization", "estimated again at the end"),
        (Phase(), FROZEN, "all "),
        (Phase(freeze=freezing.first(2)), FROZEN, "2 of "),
        (Phase(freeze=freezing.nothing), FROZEN, "none of "),
        (SolvedHead(), "solver", "L-BFGS"),
        (SolvedHead(solver="ridge"), "solver", "ridge regression"),
    ],
)
def test_a_setting_is_described_in_words(
    phase: Any, name: str, words: str, small_backbone: keras.Model
) -> None:
    plan = plan_freezing(small_classifier(small_backbone), phase)
    assert words in describe_settings(phase, plan)[name]


def test_a_multi_label_classifier_has_another_loss(small_backbone: keras.Model) -> None:
    plan = plan_freezing(small_classifier(small_backbone), Phase())
    assert describe_settings(Phase(), plan, multi_label=True)["loss"] == "binary cross-entropy"
