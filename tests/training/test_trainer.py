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
from tlkit.errors import ConfigError, DataError, TrainingError

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


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ((DATA[0], DATA[1][:5]), "`data` must have one label for each of the 24 images"),
        ((DATA[0][:0], DATA[1][:0]), "`data` must hold at least one image"),
        ((DATA[0], DATA[1] + 1), "`data` labels must be from 0 to 2 for 3 classes, got 3"),
        ((DATA[0] * 1.5, DATA[1]), r"`data` pixels must lie in \[0, 255\]"),
        ((DATA[0] / 255, DATA[1]), r"`data` pixels lie in \[0, 1\], but"),
        ((DATA[0] * np.nan, DATA[1]), "`data` images must be finite"),
        (DATA[0], r"`data` must be an ImageDataset, a pair \(images, labels\), or a dataset"),
    ],
)
def test_bad_data_is_named(model: keras.Model, train: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        TwoPhaseTrainer(head=HEAD).fit(model, train, verbose=False)


def test_bad_settings_are_named(model: keras.Model) -> None:
    with pytest.raises(ConfigError, match="`fine_tune` must leave some of the backbone to train"):
        TwoPhaseTrainer(head=HEAD, fine_tune=Phase(epochs=1))
    with pytest.raises(ConfigError, match="`seed` must be a whole number of at least 0"):
        TwoPhaseTrainer(head=HEAD, seed=-1)
    with pytest.raises(
        ConfigError, match="`patience` needs `validation_data`, because it watches 'val_"
    ):
        train_phase(model, Phase(epochs=1, patience=2), DATA, verbose=False)
    with pytest.raises(ConfigError, match="`freeze` must leave weights of small_backbone to train"):
        phase = Phase(epochs=1, freeze=freezing.first(11))
        train_phase(model, phase, DATA, verbose=False)
    with pytest.raises(ConfigError, match="`count` must be at most .*, got 100"):
        phase = Phase(epochs=1, freeze=freezing.first(100))
        train_phase(model, phase, DATA, verbose=False)


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


def test_the_second_phase_is_checked_before_the_first_starts(model: keras.Model) -> None:
    before = model.get_weights()
    for fine_tune in (
        Phase(epochs=1, freeze=freezing.first(99)),
        Phase(epochs=1, freeze=freezing.first(11)),
        Phase(epochs=1, freeze=freezing.first(6), patience=1),
        Phase(epochs=1, freeze=freezing.first(6), class_weight={"cat": 2.0}),
    ):
        with pytest.raises(ConfigError):
            TwoPhaseTrainer(head=HEAD, fine_tune=fine_tune).fit(model, DATA, verbose=False)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_class_weights_must_be_of_known_classes(model: keras.Model) -> None:
    with pytest.raises(ConfigError, match="`class_weight` must have class indices from 0 to 2"):
        train_phase(model, Phase(epochs=1, class_weight={3: 1.0}), DATA, verbose=False)


def test_validation_labels_have_the_form_of_the_training_labels(model: keras.Model) -> None:
    images, labels = DATA
    with pytest.raises(DataError, match="form of the training labels, one-hot, got integers"):
        train_phase(model, HEAD, (images, np.eye(3)[labels]), validation_data=(images, labels))


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


def test_what_a_later_phase_lacks_is_told_before_the_first(small_backbone: keras.Model) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    images = np.zeros((12, 16, 16, 3), "uint8")
    train = tensorflow.data.Dataset.from_tensor_slices((images, np.arange(12) % 3)).batch(4)
    unknown = train.filter(lambda images, labels: True)
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
    before = model.get_weights()
    tail = Phase(schedule="cosine", learning_rate=1e-3, freeze=freezing.first(3))
    with pytest.raises(DataError, match="`data` must have a length for `schedule` or `warmup`"):
        TwoPhaseTrainer(head=Phase(), fine_tune=tail).fit(model, unknown, verbose=False)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
