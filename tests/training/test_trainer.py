import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit import Phase, TwoPhaseTrainer, freezing, train_phase
from tlkit.errors import TrainingError

DATA = make_noise()

HEAD = Phase(epochs=2, learning_rate=1e-2, batch_size=8)
TAIL = Phase(epochs=2, learning_rate=1e-3, batch_size=8, freeze=freezing.first(6))


def _weights(layer: keras.Layer) -> dict[str, np.ndarray]:
    return {weight.path: np.array(weight) for weight in layer.weights}


def _moved(before: dict[str, np.ndarray], layer: keras.Layer) -> set[str]:
    after = _weights(layer)
    return {path for path, value in before.items() if not np.array_equal(value, after[path])}


def test_the_head_phase_leaves_the_backbone_bit_identical(model: keras.Model) -> None:
    backbone = tlkit.models.backbone_of(model)
    before, head = _weights(backbone), _weights(model.get_layer("logits"))
    run = TwoPhaseTrainer(head=HEAD, seed=0).fit(model, DATA, verbose=False)
    assert _moved(before, backbone) == set()
    assert _moved(head, model.get_layer("logits")) == set(head)
    assert run.phases[0].movement.moved == len(head)
    assert run.phases[0].movement.untouched == len(before)


@pytest.mark.parametrize("policy", ["frozen", "train", "reestimate"])
def test_fine_tuning_moves_the_chosen_layers_and_no_others(model: keras.Model, policy: str) -> None:
    backbone = tlkit.models.backbone_of(model)
    phase = Phase(
        epochs=1, learning_rate=1e-3, batch_size=8, freeze=freezing.first(6), batchnorm=policy
    )
    chosen = set()
    for layer in backbone.layers[6:]:
        norm = isinstance(layer, keras.layers.BatchNormalization)
        chosen |= {weight.path for weight in layer.weights if not norm or policy != "frozen"}
    before = _weights(backbone)
    train_phase(model, phase, DATA, seed=0, verbose=False)
    assert _moved(before, backbone) == chosen
    assert chosen


def test_a_frozen_statistic_stays_although_keras_was_told_to_train_the_backbone(
    model: keras.Model,
) -> None:
    """Keras' guide on transfer learning, taken literally, moves them."""
    backbone = tlkit.models.backbone_of(model)
    norms = freezing.find_batchnorm(backbone)
    before = [np.array(norm.moving_mean) for norm in norms]
    phase = Phase(epochs=1, batch_size=8, freeze=freezing.nothing)
    train_phase(model, phase, DATA, seed=0, verbose=False)
    for old, norm in zip(before, norms, strict=True):
        np.testing.assert_array_equal(old, norm.moving_mean)
    model.trainable = True
    for norm in norms:
        norm.trainable = True
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*DATA, verbose=0)
    assert any(not np.array_equal(o, n.moving_mean) for o, n in zip(before, norms, strict=True))


def test_it_equals_plain_keras(small_backbone: keras.Model) -> None:
    twin = keras.models.clone_model(small_backbone)
    twin.set_weights(small_backbone.get_weights())
    ours = small_classifier(small_backbone)
    plain = small_classifier(twin)
    plain.set_weights(ours.get_weights())
    images, labels = DATA
    run = TwoPhaseTrainer(head=HEAD, fine_tune=TAIL, seed=5).fit(
        ours, (images, labels), verbose=False
    )

    losses = []
    for phase, seed, frozen in [(HEAD, 5, len(twin.layers)), (TAIL, 6, 6)]:
        for index, layer in enumerate(twin.layers):
            norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = index >= frozen and not norm
        keras.utils.set_random_seed(seed)
        plain.compile(keras.optimizers.Adam(phase.learning_rate), "sparse_categorical_crossentropy")
        fit = plain.fit(images, labels, batch_size=8, epochs=phase.epochs, verbose=0)
        losses += fit.history["loss"]
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-6)
    for one, other in zip(ours.weights, plain.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_seeded_phase_does_not_depend_on_what_ran_before_it(
    model: keras.Model, tmp_path: Path
) -> None:
    TwoPhaseTrainer(head=HEAD, seed=3).fit(model, DATA, verbose=False)
    tlkit.save(model, tmp_path / "head.keras")
    alone = tlkit.load(tmp_path / "head.keras")
    first = train_phase(model, TAIL, DATA, seed=4, verbose=False)
    np.random.default_rng().random(10)
    again = train_phase(alone, TAIL, DATA, seed=4, verbose=False)
    assert first.history["loss"] == again.history["loss"]


def test_one_history_over_both_phases(model: keras.Model) -> None:
    trainer = TwoPhaseTrainer(head=HEAD, fine_tune=TAIL, seed=0)
    run = trainer.fit(model, DATA, validation_data=make_noise(9, seed=1), verbose=False)
    history = run.history
    assert history["epoch"] == [1, 2, 3, 4]
    assert history["phase"] == ["head", "head", "fine_tune", "fine_tune"]
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert len(history[name]) == 4
    rates = run.history["learning_rate"]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])
    assert json.loads(json.dumps(run.history)) == run.history
    assert tlkit.evaluate(model, make_noise(9, seed=1)).loss == pytest.approx(
        run.history["val_loss"][-1], rel=1e-5
    )
    assert run.seconds == sum(phase.seconds for phase in run.phases)


def test_labels_may_be_one_hot_and_data_a_dataset(model: keras.Model) -> None:
    start = model.get_weights()
    images, labels = DATA
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(24)
    results = []
    for data in [(images, labels), (images, np.eye(3, dtype="float32")[labels]), dataset]:
        model.set_weights(start)
        phase = Phase(epochs=2, batch_size=24)  # one batch: no order of images to differ by
        run = train_phase(model, phase, data, validation_data=data, seed=0, verbose=False)
        results.append(run.history["loss"])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5)


def test_early_stopping_goes_back_to_the_best_weights(model: keras.Model) -> None:
    class Kept(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            kept.append(self.model.get_weights())

    kept: list[list[np.ndarray]] = []
    phase = Phase(epochs=30, learning_rate=0.3, batch_size=8, patience=1, callbacks=(Kept(),))
    run = train_phase(
        model, phase, DATA, validation_data=make_noise(9, seed=1), seed=0, verbose=False
    )
    losses = run.history["val_loss"]
    assert len(losses) < 30
    assert run.best_epoch == int(np.argmin(losses)) + 1 != len(losses)
    for have, best in zip(model.get_weights(), kept[run.best_epoch - 1], strict=True):
        np.testing.assert_array_equal(have, best)


def test_class_weights_losses_metrics_and_optimizers_reach_keras(model: keras.Model) -> None:
    phase = Phase(
        epochs=1,
        loss=keras.losses.SparseCategoricalCrossentropy(name="mine"),
        metrics=(keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2"),),
        class_weight={0: 1.0, 1: 0.0, 2: 0.0},
        optimizer=keras.optimizers.SGD(1e-3, momentum=0.9),
        batch_size=24,
    )
    images, labels = DATA
    before = model.predict(images, verbose=0)
    run = train_phase(model, phase, (images, labels), seed=0, verbose=False)
    weighted = np.where(labels == 0, -np.log(before[np.arange(24), labels]), 0).mean()
    assert run.history["loss"][0] == pytest.approx(weighted, rel=1e-4)
    assert "top2" in run.history
    assert isinstance(model.optimizer, keras.optimizers.SGD)


def test_reestimated_statistics_are_what_validation_sees(model: keras.Model) -> None:
    phase = Phase(
        epochs=1, learning_rate=1e-3, batch_size=8, freeze=freezing.nothing, batchnorm="reestimate"
    )
    run = train_phase(
        model, phase, DATA, validation_data=make_noise(9, seed=1), seed=0, verbose=False
    )
    kept = {norm.name: np.array(norm.moving_mean) for norm in _norms(model)}
    assert tlkit.evaluate(model, make_noise(9, seed=1)).loss == pytest.approx(
        run.history["val_loss"][-1], rel=1e-5
    )
    batches = (images for images, _ in tlkit.data.batches.batches(DATA, 8))
    tlkit.training.batchnorm.reestimate(model, _norms(model), batches)
    for norm in _norms(model):
        np.testing.assert_allclose(norm.moving_mean, kept[norm.name], atol=1e-6)


def _norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return freezing.find_batchnorm(tlkit.models.backbone_of(model))


def test_a_frozen_weight_that_changes_is_an_error(model: keras.Model) -> None:
    class Meddler(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            weight = tlkit.models.backbone_of(self.model).get_layer("stem").weights[0]
            weight.assign(weight + 1e-6)

    phase = Phase(epochs=1, callbacks=(Meddler(),))
    with pytest.raises(TrainingError, match="Frozen weights changed .*: .*stem/kernel"):
        train_phase(model, phase, DATA, seed=0, verbose=False)


def test_a_frozen_moving_statistic_that_changes_is_an_error(model: keras.Model) -> None:
    class Meddler(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            norm = tlkit.models.backbone_of(self.model).get_layer("top_bn")
            norm.moving_mean.assign(norm.moving_mean + 1)

    phase = Phase(epochs=1, freeze=freezing.first(6), callbacks=(Meddler(),))
    with pytest.raises(TrainingError, match="Frozen weights changed .*: .*moving_mean"):
        train_phase(model, phase, DATA, seed=0, verbose=False)


def test_a_trained_layer_that_does_not_change_is_an_error(model: keras.Model) -> None:
    class Undo(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
            self.layer = tlkit.models.backbone_of(self.model).get_layer("top_conv")
            self.before = self.layer.get_weights()

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.layer.set_weights(self.before)

    phase = Phase(epochs=1, freeze=freezing.first(6), callbacks=(Undo(),))
    with pytest.raises(TrainingError, match="did not change .*: top_conv"):
        train_phase(model, phase, DATA, seed=0, verbose=False)


def test_a_phase_that_diverges_warns_and_restores_weights(model: keras.Model) -> None:
    phase = Phase(epochs=2, optimizer="sgd", learning_rate=1e30, freeze=freezing.nothing)
    with pytest.warns(
        UserWarning, match="'wild' diverged: its loss was nan in epoch .*from before"
    ):
        run = train_phase(model, phase, DATA, name="wild", seed=0, verbose=False)
    assert run.diverged == run.num_epochs
    assert run.best_epoch == 0


def test_what_was_assumed_of_the_files_is_said(
    model: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = DATA
    data = replace(
        tlkit.sources.from_arrays(images, labels, class_names=["0", "1", "2"]),
        notices=("24 files of 16 bits with values up to 4,095: read as 12 bits",),
    )
    TwoPhaseTrainer(head=tlkit.SolvedHead()).fit(model, data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "data: 24 files of 16 bits with values up to 4,095: read as 12 bits"


def test_progress_is_written_unless_switched_off(
    model: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    TwoPhaseTrainer(head=HEAD, seed=0).fit(model, DATA, verbose=False)
    assert capsys.readouterr().out == ""
    TwoPhaseTrainer(head=HEAD, seed=0).fit(model, DATA)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "data: 24 images of 9 x 9, 8-bit grey, 0 to 255; 3 classes"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["head:", "caching"],
        ["train:", "stores"],
        ["train:", "ran"],
        ["head:", "training"],
        ["head", "1/2"],
        ["head", "2/2"],
    ]


def test_a_diverged_phase_stops_at_once(model: keras.Model) -> None:
    class Count(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            begun.append(epoch)

    begun: list[int] = []
    settings = {"optimizer": "sgd", "learning_rate": 1e30, "freeze": freezing.nothing}
    with pytest.warns(UserWarning, match="diverged"):
        phase = Phase(epochs=50, callbacks=(Count(),), **settings)
        train_phase(model, phase, DATA, seed=0, verbose=False)
    assert len(begun) < 5
