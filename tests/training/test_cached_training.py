"""Training on kept features against plain Keras, on every shape of cut and every setting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.samples import make_stripes

import tlkit
from tlkit import Cache, Phase, TwoPhaseTrainer, freezing, train_phase
from tlkit.caching import tail
from tlkit.errors import DataError
from tlkit.training import Run

DATA = make_stripes(27, contrast=80)

HEAD = Phase(epochs=2, learning_rate=1e-2, batch_size=8)
TAIL = Phase(epochs=2, learning_rate=1e-3, batch_size=8, freeze=freezing.first(6))
Build = Callable[[], keras.Model]


@pytest.fixture
def build(small_backbone: keras.Model, tmp_path: Path) -> Build:
    """Makes the same classifier again and again."""
    first = tlkit.build_classifier(
        small_backbone, 3, input_shape=(9, 9, 1), pixels=(0, 1), dropout=0.2, seed=1
    )
    tlkit.save(first, tmp_path / "first.keras")
    return lambda: tlkit.load(tmp_path / "first.keras")


def _both(
    build: Build, data: Any = None, *, cache: Cache | None = None, **settings: Any
) -> tuple[Run, Run]:
    """Train two copies, with a cache and plainly; the losses and all weights must agree."""
    settings = {"head": HEAD, "fine_tune": TAIL, "seed": 3, **settings}
    validation = settings.pop("validation_data", None)
    runs, models = [], []
    for chosen in (cache or Cache(), None):
        model = build()
        trainer = TwoPhaseTrainer(**settings, cache=chosen)
        runs.append(
            trainer.fit(
                model, DATA if data is None else data, validation_data=validation, verbose=False
            )
        )
        models.append(model)
    fast, plain = runs
    assert all(phase.trunk is not None for phase in fast.phases)
    assert all(phase.trunk is None for phase in plain.phases)
    assert fast.history.keys() == plain.history.keys()
    assert fast.history["phase"] == plain.history["phase"]
    for name in fast.history.keys() - {"phase"}:
        np.testing.assert_allclose(fast.history[name], plain.history[name], rtol=1e-4)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)  # a rounding grows under Adam
    return fast, plain


@pytest.mark.parametrize(
    ("count", "policy"),
    [
        (6, "frozen"),
        (9, "train"),
        (4, "reestimate"),
        *(
            pytest.param(count, policy, marks=pytest.mark.slow)
            for count, policy in [
                *((2, "frozen"), (4, "frozen"), (9, "frozen")),
                *((2, "train"), (4, "train"), (6, "train")),
                *((2, "reestimate"), (6, "reestimate"), (9, "reestimate")),
            ]
        ),
    ],
)
def test_it_equals_plain_keras_wherever_it_is_cut(build: Build, count: int, policy: str) -> None:
    phase = Phase(
        epochs=1,
        learning_rate=1e-3,
        batch_size=8,
        freeze=freezing.first(count),
        batchnorm=policy,
    )
    fast, _ = _both(build, head=Phase(epochs=1, batch_size=8), fine_tune=phase)
    assert fast.phases[0].trunk.num_computed == 27  # one pass for both phases
    assert fast.phases[1].trunk.num_computed == 27


@pytest.mark.parametrize("name", ["block_1_conv", "block_1_add"])
def test_it_equals_plain_keras_at_a_chosen_cut(build: Build, name: str) -> None:
    fast, _ = _both(build, head=TAIL, fine_tune=None, cache=Cache(cut=name))
    assert fast.phases[0].trunk.cut_reason == f"caching after {name}, as `cut` asks"


@pytest.mark.parametrize(
    "changes",
    [
        {
            "batch_size": 32,
            "callbacks": (keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 / (epoch + 1)),),
            "class_weight": {0: 2.0, 1: 0.5, 2: 1.0},
        },
        pytest.param(
            {
                "learning_rate": keras.optimizers.schedules.CosineDecay(1e-2, 8),
                "metrics": (
                    "accuracy",
                    keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2"),
                ),
            },
            marks=pytest.mark.slow,
        ),
        {"optimizer": keras.optimizers.AdamW(clipnorm=0.1, weight_decay=0.01)},
        pytest.param(
            {"optimizer": keras.optimizers.SGD(momentum=0.9), "learning_rate": 1e-2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_setting_works_as_in_plain_keras(build: Build, changes: dict[str, Any]) -> None:
    settings = {"epochs": 2, "learning_rate": 1e-2, "batch_size": 8, **changes}
    _both(
        build,
        head=Phase(**settings),
        fine_tune=Phase(**{**settings, "freeze": freezing.first(6)}),
        validation_data=make_stripes(11, contrast=80, seed=1),
    )


def test_one_hot_labels_and_label_smoothing(build: Build) -> None:
    images, labels = DATA
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    _both(
        build,
        (images, tlkit.data.one_hot(labels, 3)),
        head=Phase(epochs=2, batch_size=8, loss=loss),
        fine_tune=None,
    )


def test_early_stopping_goes_back_to_the_best_weights(build: Build) -> None:
    images, labels = make_stripes(11, contrast=80, seed=1)
    wrong = (images, (labels + 1) % 3)  # the better it learns, the worse the validation
    phase = Phase(epochs=6, learning_rate=1e-2, batch_size=8, patience=1)
    fast, plain = _both(build, head=phase, fine_tune=None, validation_data=wrong)
    assert fast.phases[0].best_epoch == plain.phases[0].best_epoch
    assert fast.phases[0].num_epochs < 6


def test_datasets_keep_their_order_and_their_weights(build: Build) -> None:
    images, labels = DATA
    weights = np.linspace(0.1, 2, 27).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((images, labels, weights)).batch(4)
    _both(build, dataset, validation_data=dataset)


class _Made(keras.utils.PyDataset):
    """Makes its batches when asked, and counts how often it made the last."""

    def __init__(self, *, batch: int = 6) -> None:
        super().__init__()
        self.images, self.labels = DATA
        self.batch, self.made = batch, 0

    def __len__(self) -> int:
        return -(-27 // self.batch)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.made += index == len(self) - 1
        rows = slice(index * self.batch, (index + 1) * self.batch)
        return self.images[rows], self.labels[rows]


@pytest.mark.slow
def test_a_lazy_dataset_is_gone_over_once(build: Build) -> None:
    dataset = _Made()
    TwoPhaseTrainer(head=HEAD, fine_tune=TAIL).fit(build(), dataset, verbose=False)
    assert dataset.made == 1
    _both(build, _Made())


def test_batches_of_different_sizes_are_refused_with_a_way_out(build: Build) -> None:
    images, labels = DATA
    dataset = tf.data.Dataset.from_generator(
        lambda: ((images[:size], labels[:size]) for size in (2, 5, 3)),
        output_signature=(tf.TensorSpec((None, 9, 9, 1)), tf.TensorSpec((None,), tf.int32)),
    )
    with pytest.raises(DataError, match="got sizes from 2 to 5. Batch it evenly, or train with"):
        train_phase(build(), HEAD, dataset, verbose=False)
    assert train_phase(build(), HEAD, dataset, cache=None, verbose=False).num_epochs == 2


def _with_flip(small_backbone: keras.Model) -> keras.Model:
    inputs = keras.Input((9, 9, 1))
    rgb = keras.layers.RandomFlip(seed=1, name="flip")(tlkit.GrayToRGBResize(16)(inputs))
    pooled = keras.layers.GlobalAveragePooling2D()(small_backbone(rgb))
    logits = keras.layers.Dense(3)(pooled)
    return keras.Model(inputs, tlkit.models.ClassProbabilities(["a", "b", "c"])(logits))


def test_augmentation_trains_uncached_and_names_the_layer(
    small_backbone: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_phase(_with_flip(small_backbone), HEAD, DATA)
    assert run.trunk is None
    assert "phase: every epoch runs the whole model: 'flip' is random" in capsys.readouterr().out


def test_views_are_taken_in_turn(small_backbone: keras.Model, tmp_path: Path) -> None:
    """Three epochs over two views that are far apart: the first and the third see the same."""
    model = _with_flip(small_backbone)
    still = Phase(epochs=3, optimizer="sgd", learning_rate=1e-4, batch_size=32)
    images, labels = make_stripes(27, contrast=80)
    images[:, :, :4] = 0  # so that flipping left and right matters
    cache = Cache(views=2, folder=tmp_path)
    train_phase(model, still, (images, labels), cache=cache, seed=0, verbose=False)
    seen: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: seen.append(logs["loss"]))
    still = Phase(epochs=3, optimizer="sgd", learning_rate=1e-4, batch_size=32, callbacks=(watch,))
    run = train_phase(model, still, (images, labels), cache=cache, seed=0, verbose=False)
    assert run.trunk.num_images == 54
    assert run.trunk.num_computed == 0  # the seeds of the views are part of what is kept
    assert abs(seen[0] - seen[2]) < 0.1 * abs(seen[0] - seen[1])


@pytest.mark.slow
def test_dropout_in_the_frozen_part_is_off_and_reported() -> None:
    model = tlkit.build_classifier(
        "efficientnet_b0", 3, input_shape=(9, 9, 1), image_size=32, weights=None
    )
    run = train_phase(model, Phase(epochs=1, batch_size=8), DATA, verbose=False)
    assert run.trunk.disabled_layers[0] == "block2b_drop"


def test_the_second_run_runs_nothing(build: Build, tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path / "features")
    trainer = TwoPhaseTrainer(head=HEAD, fine_tune=TAIL, seed=3, cache=cache)
    first, second = (
        trainer.fit(
            build(), DATA, validation_data=make_stripes(9, contrast=80, seed=1), verbose=False
        )
        for _ in range(2)
    )
    assert first.phases[0].trunk.num_computed == 36
    assert second.phases[0].trunk.num_computed == 0
    assert second.phases[0].trunk.engine_error is None
    assert second.history == first.history


def test_on_disk_it_comes_out_the_same(build: Build) -> None:
    in_memory, _ = _both(build)
    on_disk, _ = _both(build, cache=Cache(memory_limit=0))
    assert not in_memory.phases[0].trunk.on_disk
    assert on_disk.phases[0].trunk.on_disk
    assert on_disk.history["loss"] == in_memory.history["loss"]


def test_half_precision_says_what_it_costs(build: Build) -> None:
    trainer = TwoPhaseTrainer(head=HEAD, seed=3, cache=Cache(dtype="float16"))
    run = trainer.fit(build(), DATA, verbose=False)
    exact = TwoPhaseTrainer(head=HEAD, seed=3).fit(build(), DATA, verbose=False)
    assert 0 < run.phases[0].trunk.float16_error < 2**-11
    assert run.phases[0].trunk.num_bytes == exact.phases[0].trunk.num_bytes / 2
    np.testing.assert_allclose(run.history["loss"][-1], exact.history["loss"][-1], rtol=1e-2)


@pytest.mark.parametrize(
    ("changed", "computed"),
    [("weights", 27), ("image", 1), ("order", 0), ("dtype", 27), ("size", 0)],
)
def test_what_changes_a_feature_is_never_taken_from_before_and_the_rest_is(
    build: Build, tmp_path: Path, changed: str, computed: int
) -> None:
    images, labels = DATA
    settings: dict[str, Any] = {"folder": tmp_path / "features"}
    train_phase(build(), HEAD, (images, labels), cache=Cache(**settings), seed=0, verbose=False)
    model = build()
    if changed == "weights":
        stem = tlkit.models.backbone_of(model).get_layer("stem")
        stem.bias.assign(stem.bias + 1e-3)
    elif changed == "image":
        images = images.copy()
        images[20, 3, 3] += 1
    elif changed == "order":
        images, labels = images[::-1], labels[::-1]
    elif changed == "dtype":
        settings["dtype"] = "float16"
    else:
        images, labels = images[:26], labels[:26]
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    run = train_phase(model, HEAD, (images, labels), cache=Cache(**settings), seed=0, verbose=False)
    assert run.trunk.num_computed == computed
    fresh = train_phase(
        twin,
        HEAD,
        (images, labels),
        cache=Cache(dtype=settings.get("dtype", "float32")),
        seed=0,
        verbose=False,
    )
    assert run.history == fresh.history


def test_labels_are_never_taken_from_before(build: Build, tmp_path: Path) -> None:
    images, labels = DATA
    cache = Cache(folder=tmp_path)
    first = train_phase(build(), HEAD, (images, labels), cache=cache, seed=0, verbose=False)
    again = train_phase(build(), HEAD, (images, labels[::-1]), cache=cache, seed=0, verbose=False)
    assert again.trunk.num_computed == 0
    assert again.history != first.history


def test_a_damaged_shard_is_made_again(build: Build, tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path)
    first = train_phase(build(), HEAD, DATA, cache=cache, seed=0, verbose=False)
    [*shards] = tmp_path.glob("*/*.safetensors")
    assert shards
    for shard in shards:
        raw = bytearray(shard.read_bytes())
        raw[len(raw) // 2] ^= 1
        shard.write_bytes(raw)
    again = train_phase(build(), HEAD, DATA, cache=cache, seed=0, verbose=False)
    assert again.trunk.num_computed == 27
    assert again.history == first.history


def test_a_phase_that_trains_what_a_later_one_keeps_gets_a_pass_of_its_own(build: Build) -> None:
    early = Phase(epochs=1, learning_rate=1e-3, batch_size=8, freeze=freezing.first(3))
    late = Phase(epochs=1, learning_rate=1e-3, batch_size=8, freeze=freezing.first(6))
    fast, _ = _both(build, head=early, fine_tune=late)
    assert [phase.trunk.num_computed for phase in fast.phases] == [27, 27]


def test_callbacks_see_the_classifier_and_every_batch(build: Build, tmp_path: Path) -> None:
    class Watch(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.batches: list[int] = []

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.batches.append(batch)
            if len(self.batches) == 6:
                self.model.stop_training = True

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.measured = self.model.evaluate(
                *make_stripes(9, contrast=80, seed=1), verbose=0, return_dict=True
            )
            self.input_shape = self.model.input_shape

    watch = Watch()
    saved = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss")
    model = build()
    run = train_phase(
        model, Phase(epochs=5, batch_size=8, callbacks=(watch, saved)), DATA, verbose=False
    )
    assert watch.batches == [0, 1, 2, 3, 0, 1]
    assert run.num_epochs == 2
    assert watch.input_shape == (None, 9, 9, 1)
    assert watch.measured.keys() == {"accuracy", "loss"}
    kept = tlkit.load(tmp_path / "best.keras")
    np.testing.assert_array_equal(kept.predict(DATA[0]), model.predict(DATA[0]))


def test_the_model_goes_on_training_in_plain_keras(build: Build) -> None:
    model = build()
    train_phase(model, TAIL, DATA, seed=0, verbose=False)
    steps = int(model.optimizer.iterations)
    model.fit(*DATA, verbose=0)
    assert int(model.optimizer.iterations) == steps + 1
    assert tlkit.evaluate(model, DATA).count == 27


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["frozen", pytest.param("train", marks=pytest.mark.slow)])
def test_compiled_by_xla_it_comes_out_the_same(
    monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """MobileNetV2's tail has no convolution left once rewritten; it has no dropout here."""
    keras.utils.set_random_seed(0)
    backbone = tlkit.models.backbones.create(
        "mobilenet_v2", image_size=32, weights="starter", options={"alpha": 0.35}
    )
    first = tlkit.build_classifier(backbone, 3, input_shape=(9, 9, 1), pixels=(-1, 1), seed=0)
    start = first.get_weights()
    compiled: list[object] = []
    compile_as = keras.Model.compile

    def watched(self: keras.Model, *args: Any, **options: Any) -> None:
        compiled.append(options.get("jit_compile"))
        compile_as(self, *args, **options)

    monkeypatch.setattr(keras.Model, "compile", watched)
    monkeypatch.setattr(tail, "MIN_STEPS_FOR_XLA", 0)
    losses = []
    for cache in (Cache(), None):
        first.set_weights(start)
        phase = Phase(
            epochs=2, learning_rate=1e-4, batch_size=9, freeze=freezing.first(100), batchnorm=policy
        )
        run = train_phase(first, phase, DATA, cache=cache, seed=0, verbose=False)
        losses.append(run.history["loss"])
    assert True in compiled
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "share"),
    [
        pytest.param("mobilenet_v2", 0.6, marks=pytest.mark.slow),
        ("mobilenet_v3_small", 0.6),
    ],
)
def test_known_backbones_train_as_in_plain_keras(name: str, share: float) -> None:
    keras.utils.set_random_seed(0)
    model = tlkit.build_classifier(
        name, 3, input_shape=(9, 9, 1), image_size=32, weights=None, seed=0
    )
    norms = freezing.find_batchnorm(tlkit.models.backbone_of(model))
    tlkit.training.batchnorm.reestimate(
        model, norms, [DATA[0]]
    )  # else rounding grows from layer to layer
    start = model.get_weights()
    phase = Phase(
        epochs=1, optimizer="sgd", learning_rate=1e-3, freeze=freezing.first_fraction(share)
    )
    losses = []
    for cache in (Cache(), None):
        model.set_weights(start)
        run = train_phase(
            model, phase, make_stripes(64, contrast=80), cache=cache, seed=0, verbose=False
        )
        losses.append(run.history["loss"][0])
        assert (run.trunk is None) == (cache is None)
    np.testing.assert_allclose(*losses, rtol=1e-4)
