import keras
import numpy as np
import pytest
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit import Cache, Phase, SolvedHead, freezing, train_phase
from tlkit.data import augmentation
from tlkit.errors import ConfigError
from tlkit.training import inputs

DATA = make_noise(40)


def _flip() -> keras.layers.Layer:
    return keras.layers.RandomFlip("horizontal", seed=3)


def test_images_are_flipped_or_left() -> None:
    images = DATA[0]
    changed = augmentation.augment(images, [_flip()])
    assert changed.dtype == "float32"
    flipped = [
        np.array_equal(one, other[:, ::-1]) for one, other in zip(changed, images, strict=True)
    ]
    left = [np.array_equal(one, other) for one, other in zip(changed, images, strict=True)]
    assert all(one != other for one, other in zip(flipped, left, strict=True))
    assert 5 < sum(flipped) < 35


class _Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = DATA
        return images[10 * index : 10 * index + 10], labels[10 * index : 10 * index + 10]


def test_training_sees_changed_images_and_validation_does_not(
    small_backbone: keras.Model,
) -> None:
    darker = keras.layers.RandomBrightness((-0.3, -0.3), value_range=(0, 255), seed=1)
    images, labels = DATA
    dark = (images.astype("float32") - 0.3 * 255).clip(0)
    start = small_backbone.get_weights()
    runs = []
    for train, layers in (((dark, labels), ()), ((images, labels), (darker,))):
        small_backbone.set_weights(start)
        phase = Phase(epochs=2, augmentation=layers, freeze=freezing.first(3))
        model = small_classifier(small_backbone)
        runs.append(
            train_phase(
                model, phase, train, validation_data=DATA, cache=None, seed=0, verbose=False
            )
        )
        score = tlkit.evaluate(model, DATA)
        assert runs[-1].history["val_loss"][-1] == pytest.approx(score.loss, rel=1e-3)
    losses = [run.history["loss"] for run in runs]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert not any(layer is darker for layer in model._flatten_layers())


def test_a_dataset_is_changed_batch_by_batch(small_backbone: keras.Model) -> None:
    phase = Phase(epochs=2, augmentation=(_flip(),), freeze=freezing.first(3))
    run = train_phase(
        small_classifier(small_backbone), phase, _Batches(), cache=None, seed=0, verbose=False
    )
    assert run.num_epochs == 2
    changed = augmentation.augment_dataset(_Batches(), (_flip(),), rank=4)
    assert len(changed) == 4
    assert changed[0][0].shape == (10, 9, 9, 1)


def test_a_phase_with_augmentation_runs_the_whole_model_and_says_why(
    small_backbone: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_phase(
        small_classifier(small_backbone), Phase(augmentation=(_flip(),)), DATA, seed=0
    )
    assert run.trunk is None
    assert "augmentation changes its images each time; Cache(views=4)" in " ".join(
        capsys.readouterr().out.split()
    )


def test_views_keep_changed_copies_and_validation_the_images_themselves(
    small_backbone: keras.Model,
) -> None:
    model = small_classifier(small_backbone)
    phase = Phase(epochs=3, augmentation=(_flip(),))
    run = train_phase(
        model, phase, DATA, validation_data=DATA, cache=Cache(views=3), seed=0, verbose=False
    )
    assert (run.trunk.num_images, run.trunk.num_computed) == (3 * 40 + 40, 3 * 40 + 40)
    score = tlkit.evaluate(model, DATA)
    assert run.history["val_loss"][-1] == pytest.approx(score.loss, rel=1e-4)


def test_random_layers_in_the_model_leave_kept_validation_alone(
    small_backbone: keras.Model,
) -> None:
    plain = small_classifier(small_backbone)
    inputs = keras.Input((9, 9, 1))
    noisy = keras.layers.RandomBrightness((-1.0, -1.0), value_range=(0, 255), seed=1)(inputs)
    for layer in plain.layers[1:]:
        noisy = layer(noisy)
    model = keras.Model(inputs, noisy)
    run = train_phase(
        model,
        Phase(epochs=1),
        DATA,
        validation_data=DATA,
        cache=Cache(views=2),
        seed=0,
        verbose=False,
    )
    score = tlkit.evaluate(model, DATA)
    assert run.history["val_loss"][-1] == pytest.approx(score.loss, rel=1e-4)


def test_a_solver_takes_all_the_views(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    phase = SolvedHead(solver="ridge", augmentation=(_flip(),))
    run = train_phase(model, phase, DATA, cache=Cache(views=2), seed=0, verbose=False)
    assert run.trunk.num_images == 80
    for cache in (None, Cache()):
        with pytest.raises(ConfigError, match="`augmentation` of a SolvedHead needs stored copies"):
            train_phase(model, phase, DATA, cache=cache, seed=0, verbose=False)


def test_test_time_augmentation_is_the_mean_over_views(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    images = DATA[0]
    plain = tlkit.predict(model, images)
    np.testing.assert_allclose(plain, model.predict(images, verbose=0), atol=1e-6)
    always = keras.layers.RandomFlip("horizontal", seed=3)
    looked = tlkit.predict(model, images, augmentation=[always], views=20)
    flipped = model.predict(images[:, :, ::-1], verbose=0)
    np.testing.assert_allclose(looked.sum(axis=1), 1, atol=1e-5)
    between = np.minimum(plain, flipped) - 1e-5, np.maximum(plain, flipped) + 1e-5
    assert ((looked >= between[0]) & (looked <= between[1])).all()
    assert np.abs(looked - plain).max() > 1e-4
    score = tlkit.evaluate(model, DATA, augmentation=[always], views=2)
    assert score.count == 40


def _shift(**options: object) -> tuple[keras.layers.Layer, ...]:
    return (keras.layers.RandomTranslation(0.3, 0.3, **options),)


@pytest.mark.parametrize(
    ("options", "cache"),
    [
        ({"seed": 1}, None),
        ({}, tlkit.Cache(views=2)),
        pytest.param({"seed": 1}, tlkit.Cache(views=2), marks=pytest.mark.slow),
        pytest.param({}, None, marks=pytest.mark.slow),
    ],
)
def test_the_seed_of_the_training_decides_what_is_drawn(
    small_backbone: keras.Model, cache: tlkit.Cache | None, options: dict
) -> None:
    random = np.random.default_rng(0)
    pair = random.integers(0, 256, (24, 16, 16, 3), "uint8"), np.arange(24) % 3
    start = small_backbone.get_weights()
    losses = []
    one = _shift(**options)
    for seed, layers in ((0, one), (0, one), (0, _shift(**options)), (1, one)):
        small_backbone.set_weights(start)
        model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
        phase = Phase(epochs=2, augmentation=layers)
        run = train_phase(model, phase, pair, cache=cache, seed=seed, verbose=False)
        losses.append(run.history["loss"][-1])
    assert losses[0] == losses[1] == losses[2]
    assert losses[3] != losses[0]


class _Halves(keras.utils.PyDataset):
    """Images in two batches."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self.images = images

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        half = np.array_split(self.images, 2)[index]
        return half, np.arange(len(half)) % 3


def test_a_look_at_test_images_is_the_same_each_time(small_backbone: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), "uint8")
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
    layers = _shift(seed=1)
    state = np.array(layers[0].generator.state)
    one, again = (tlkit.predict(model, images, augmentation=layers) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(state, layers[0].generator.state)
    other = tlkit.predict(model, images, augmentation=layers, seed=1)
    assert np.abs(one - other).max() > 1e-4
    batches = _Halves(images)
    for look in (
        lambda: tlkit.predict(model, images, augmentation=layers, seed=None),
        lambda: tlkit.evaluate(model, batches, augmentation=layers, seed=None).probabilities,
    ):
        assert np.abs(look() - look()).max() > 1e-4
    seen = [tlkit.evaluate(model, batches, augmentation=layers).probabilities for _ in range(2)]
    np.testing.assert_array_equal(*seen)


@pytest.mark.slow
def test_each_phase_draws_by_its_own_seed(small_backbone: keras.Model) -> None:
    random = np.random.default_rng(0)
    pair = random.integers(0, 256, (24, 16, 16, 3), "uint8"), np.arange(24) % 3
    start, layers = small_backbone.get_weights(), _shift()
    head = Phase(augmentation=layers)
    tail = Phase(augmentation=layers, learning_rate=1e-3, freeze=freezing.first(3))
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
    trainer = tlkit.TwoPhaseTrainer(head=head, fine_tune=tail, seed=0, cache=None)
    both = [phase.history for phase in trainer.fit(model, pair, verbose=False).phases]
    small_backbone.set_weights(start)
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
    apart = [
        train_phase(model, phase, pair, cache=None, seed=seed, verbose=False).history
        for seed, phase in enumerate((head, tail))
    ]
    assert both == apart


CHANGES_VALUES = [
    (keras.layers.Rescaling(1 / 255), r"got \[0, 1\] from \[0, 255\]"),
    (keras.layers.Rescaling(1 / 127.5, offset=-1), r"got \[-1, 1\] from"),
    (keras.layers.Normalization(mean=0.0, variance=2500.0), r"got \[0, 5.1\] from"),
    (keras.layers.RandomBrightness((1.0, 1.0), value_range=(0, 1e4)), "got "),
    (keras.layers.Resizing(8, 8), r"must keep the shape of the images, \(9, 9, 1\), got"),
    (keras.layers.RandomCrop(5, 5), "must keep the shape"),
    (keras.layers.Embedding(3, 3), "must keep the shape of the images|got an error"),
]


@pytest.mark.parametrize(("layer", "words"), CHANGES_VALUES)
@pytest.mark.parametrize("use", ["fit", "cached", "solved", "predict"])
def test_augmentation_must_give_images_that_the_model_takes(
    model: keras.Model, layer: keras.layers.Layer, words: str, use: str
) -> None:
    layers = (_flip(), layer)
    with pytest.raises(ConfigError, match=f"`augmentation` .*{words}"):
        if use == "predict":
            tlkit.predict(model, DATA[0], augmentation=layers)
        else:
            phase = (SolvedHead if use == "solved" else Phase)(augmentation=layers)
            cache = None if use == "fit" else Cache(views=2)
            train_phase(model, phase, DATA, cache=cache, verbose=False)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.RandomBrightness(0.2, seed=0),
        keras.layers.RandomContrast(0.5, seed=0),
        keras.layers.RandomRotation(0.2, fill_mode="constant", seed=0),
        keras.layers.RandomErasing(1.0, seed=0),
        keras.layers.GaussianNoise(1.0, seed=0),
    ],
)
def test_augmentation_that_keeps_the_range_is_accepted(layer: keras.layers.Layer) -> None:
    augmentation.check_augmentation([layer], DATA[0], (0, 255))


def test_a_check_of_augmentation_draws_nothing(model: keras.Model) -> None:
    layer = _flip()
    before = augmentation.augment(DATA[0], [layer])
    layer = _flip()
    inputs.check_augmentation(model, [layer], DATA)
    np.testing.assert_array_equal(augmentation.augment(DATA[0], [layer]), before)
