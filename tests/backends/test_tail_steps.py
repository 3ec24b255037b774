"""The steps that a cluster's workers compute together train what Keras trains."""

import keras
import numpy as np
import pytest
from tests.samples import make_stripes, small_classifier

from tlkit import freezing
from tlkit.caching.plan import set_trainable
from tlkit.distributed import tail
from tlkit.distributed.tail_steps import TailSteps
from tlkit.models.flat_graph import Part
from tlkit.training import Phase
from tlkit.training.fit import compile_phase
from tlkit.training.phase import plan_freezing

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "jax", reason="workers of a cluster run Keras on JAX"
)


def _build() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((9, 9, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="top")(x)
    x = keras.layers.BatchNormalization(name="top_bn")(x)
    return small_classifier(keras.Model(image, x, name="small"))


@pytest.mark.parametrize(
    "phase",
    [
        Phase(freeze=freezing.first(3), class_weight=(1, 2, 1), global_clipnorm=1.0),
        Phase(freeze=freezing.first(3), label_smoothing=0.1, layer_decay=0.5, optimizer="sgd"),
        Phase(freeze=freezing.nothing, batchnorm="train", optimizer="sgd", weight_decay=1e-3),
    ],
)
def test_steps_are_those_of_keras(phase: Phase) -> None:
    images, labels = make_stripes(48, contrast=120)
    found, expected = _build(), _build()
    frozen = tail.check(found, phase)
    cut = tail.cut_tail(found, frozen, images[:1])
    trunk = Part(
        cut.trunk, cut.graph.inputs, cut.tensors, input_dtype=found.inputs[0].dtype, name="trunk"
    )
    features = [np.asarray(each) for each in trunk(images)]
    weights = phase.weigh_classes(3) or dict.fromkeys(range(3), 1.0)
    steps = TailSteps(
        found,
        cut,
        frozen.plan(found),
        phase,
        num_steps=3,
        class_weight=np.array([weights[index] for index in range(3)]),
    )
    steps.push()
    batches = [np.arange(start, start + 16) for start in (0, 16, 32)]
    whole = np.ones(16, bool)
    losses = [
        steps.train([([each[rows] for each in features], labels[rows], whole)]) for rows in batches
    ]
    steps.pull()

    set_trainable(expected, plan_freezing(expected, phase))
    compile_phase(expected, phase, plan_freezing(expected, phase), (images, labels))
    for rows, (loss, _, count) in zip(batches, losses, strict=True):
        how = {"class_weight": phase.weigh_classes(3), "return_dict": True}
        wanted = expected.train_on_batch(images[rows], labels[rows], **how)["loss"]
        assert loss / count == pytest.approx(float(wanted), rel=1e-5)
    for weight, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-6)


def test_images_that_fill_a_batch_have_no_part_in_it() -> None:
    images, labels = make_stripes(16, contrast=120)
    phase = Phase(freeze=freezing.everything, optimizer="sgd", learning_rate=0.1)
    results = []
    for rows in (np.arange(10), np.arange(16)):
        model = _build()
        frozen = tail.check(model, phase)
        cut = tail.cut_tail(model, frozen, images[:1])
        trunk = Part(
            cut.trunk, cut.graph.inputs, cut.tensors, input_dtype=model.inputs[0].dtype, name="t"
        )
        features = [np.asarray(each) for each in trunk(images[rows])]
        steps = TailSteps(
            model, cut, frozen.plan(model), phase, num_steps=1, class_weight=np.ones(3)
        )
        steps.push()
        sums = steps.train([(features, labels[rows], rows < 10)])
        steps.pull()
        results.append((sums, steps.evaluate([(features, labels[rows], rows < 10)]), model))
    for one, other in zip(results[0][:2], results[1][:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    for weight, other in zip(results[0][2].weights, results[1][2].weights, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-7)
