"""The steps that a cluster's workers compute together train what Keras trains."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.samples import make_stripes, seeded_classifier

import tlkit
from tlkit import freezing
from tlkit.caching.plan import set_trainable
from tlkit.distributed import tail, tail_rows
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.feature_files import Described
from tlkit.distributed.storage import Location
from tlkit.distributed.tail_rows import TailJob
from tlkit.distributed.tail_steps import TailSteps
from tlkit.distributed.tail_worker import TailWorker
from tlkit.models.flat_graph import Part
from tlkit.models.inspection import probabilities_of
from tlkit.training import Phase, precision
from tlkit.training.fit import compile_phase
from tlkit.training.phase import plan_freezing

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "jax", reason="workers of a cluster run Keras on JAX"
)


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
    found, expected = seeded_classifier(), seeded_classifier()
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


def test_a_phase_in_16_bits_is_near_one_in_32_bits() -> None:
    images, labels = make_stripes(16, contrast=120)
    results = {}
    for name in ("float32", "bfloat16"):
        phase = Phase(freeze=freezing.first(3), optimizer="sgd", learning_rate=0.1, precision=name)
        model = seeded_classifier()
        frozen = tail.check(model, phase)
        cut = tail.cut_tail(model, frozen, images[:1])
        trunk = Part(
            cut.trunk, cut.graph.inputs, cut.tensors, input_dtype=model.inputs[0].dtype, name="t"
        )
        features = [np.asarray(each) for each in trunk(images)]
        with precision.compute_in(model, phase.precision):
            steps = TailSteps(
                model, cut, frozen.plan(model), phase, num_steps=2, class_weight=np.ones(3)
            )
            steps.push()
            batch = (features, labels, np.ones(16, bool))
            losses = [float(steps.train([batch])[0]) for _ in range(2)]
            steps.pull()
        assert {weight.dtype for weight in model.weights} == {"float32"}
        results[name] = (losses, model)
    (losses, model), (others, other) = results["float32"], results["bfloat16"]
    assert losses == pytest.approx(others, rel=0.02)
    assert losses != pytest.approx(others, rel=1e-6)
    for weight, near in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(weight, near, atol=2e-3)


def _start_worker(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[TailWorker, list[str]]:
    """Return a worker that is alone, and the names of the files that it reads."""
    images, labels = make_stripes(48, contrast=120)
    names, files = ("a", "b", "c"), list[str]()
    phase = Phase(
        freeze=freezing.first(3), optimizer="sgd", learning_rate=0.1, batch_size=16, **settings
    )
    model = seeded_classifier()
    probabilities_of(model).temperature = 2.0
    tlkit.save(model, folder / "model.keras")
    frozen = tail.check(model, phase)
    cut = tail.cut_tail(model, frozen, images[:1])
    trunk = Part(
        cut.trunk, cut.graph.inputs, cut.tensors, input_dtype=model.inputs[0].dtype, name="t"
    )
    features = np.concatenate([np.asarray(each).reshape(48, -1) for each in trunk(images)], axis=1)
    described = Described(
        paths=[""] * 48,
        labels=[names[label] for label in labels],
        digests=np.zeros((48, 2), "uint64"),
        contents=np.random.default_rng(0).integers(0, 2**64, (48, 2), "uint64"),
    )
    split = DrawnSplit(test=0, validation=0.25, seed=0)
    drawn = split.divide(described.contents)

    def read(file: Location) -> tuple[np.ndarray, Described]:
        files.append(file.name)
        return features, described

    monkeypatch.setattr(tail_rows, "read_file", read)
    job = TailJob(
        model=Location(str(folder / "model.keras")),
        states=Location(str(folder)),
        files=(Location("/0.parquet"),),
        counts={
            part: np.array([(drawn == number).sum()])
            for number, part in enumerate(("train", "validation"))
        },
        split=split,
        names=names,
        frozen=frozen,
        image=images.shape[1:],
        image_dtype=str(images.dtype),
        num_features=features.shape[1],
        dtype="float32",
        phase=phase,
        class_weight=np.ones(3),
        seed=0,
    )
    worker = TailWorker(job, 0, 1)
    worker.start("", 0)
    return worker, files


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_worker_reads_all_images_before_the_first_step(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, files = _start_worker(tmp_path, monkeypatch, precision=name)
    assert files == ["0.parquet"]
    first = worker.evaluate()
    losses = [worker.train(epoch)["loss"] for epoch in range(3)]
    assert worker.evaluate()["val_loss"] < first["val_loss"]
    assert losses[2] < losses[0]
    assert files == ["0.parquet"]
    assert probabilities_of(worker._model).temperature == 1


def test_images_that_fill_a_batch_have_no_part_in_it() -> None:
    images, labels = make_stripes(16, contrast=120)
    phase = Phase(freeze=freezing.everything, optimizer="sgd", learning_rate=0.1)
    results = []
    for rows in (np.arange(10), np.arange(16)):
        model = seeded_classifier()
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
