from typing import Any, get_args

import keras
import numpy as np
import pytest
from tests.samples import make_stripes, small_classifier

import tlkit
from tlkit import Cache, Phase, SolvedHead, TwoPhaseTrainer, train_phase
from tlkit.caching.rows import Rows
from tlkit.errors import ConfigError, DataError
from tlkit.training import feature_arrays, head_solver, linear, ood_detector, solvers

DATA = make_stripes(200, contrast=20)


@pytest.mark.parametrize("solver", get_args(solvers.Solver))
@pytest.mark.parametrize("cache", [None, Cache()])
def test_the_solved_head_is_the_solution_on_its_features(
    small_backbone: keras.Model, solver: str, cache: Cache | None
) -> None:
    images, labels = DATA
    held_out = images[:50], np.roll(labels[:50], 1)
    model = small_classifier(small_backbone, pooling="flatten")
    run = train_phase(
        model,
        SolvedHead(solver=solver),
        (images, labels),
        validation_data=held_out,
        cache=cache,
        seed=0,
        verbose=False,
    )
    before = keras.Model(model.inputs, model.get_layer("pooling").output)
    features = before.predict(images, verbose=0)
    expected = getattr(solvers, solver)(features, labels, classes=3, seed=0)
    # features from other batch sizes differ in their last digits, and so do solutions
    np.testing.assert_allclose(
        features @ np.asarray(model.get_layer("logits").kernel) + model.get_layer("logits").bias,
        expected.logits(features),
        rtol=0.02,
        atol=0.05,
    )
    metrics = {name: values[0] for name, values in run.history.items()}
    assert run.num_epochs == 1
    score = tlkit.evaluate(model, (images, labels))
    assert metrics["accuracy"] == pytest.approx(score.accuracy, abs=0.006)
    assert metrics["loss"] == pytest.approx(score.loss, rel=0.01, abs=1e-5)
    assert metrics["accuracy"] > 0.9
    other = tlkit.evaluate(model, held_out)
    assert metrics["val_accuracy"] == pytest.approx(other.accuracy, abs=0.03)
    assert metrics["val_loss"] > 2  # nearly all of these labels are wrong
    assert {"val_loss", "val_accuracy", "penalty"} < set(metrics)
    assert (run.best_epoch, run.diverged) == (1, None)
    assert run.movement.moved == 2
    assert (run.trunk is None) == (cache is None)


def test_a_very_large_head_is_solved_by_ridge_regression_and_a_line_says_so(
    small_backbone: keras.Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kernels = {}
    for solver, limit in (("auto", 36), ("lbfgs", 35), ("auto", 35), ("ridge", 36)):
        monkeypatch.setattr(solvers, "MAX_WEIGHTS", limit)  # 12 features x 3 classes
        model = small_classifier(small_backbone)
        train_phase(model, SolvedHead(solver=solver), DATA, seed=0)
        used = "lbfgs" if (solver, limit) == ("auto", 36) else solver
        used = "ridge" if (solver, limit) == ("auto", 35) else used
        assert f" {used}  loss" in capsys.readouterr().out
        kernels[solver, limit] = np.asarray(model.get_layer("logits").kernel)
    few, many = kernels["auto", 36], kernels["auto", 35]
    np.testing.assert_array_equal(few, kernels["lbfgs", 35])
    np.testing.assert_array_equal(many, kernels["ridge", 36])
    assert np.any(few != many)


def test_fine_tuning_continues_from_a_solved_head(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone, pooling="flatten")
    trainer = TwoPhaseTrainer(
        head=SolvedHead(),
        fine_tune=Phase(epochs=2, freeze=tlkit.freezing.first(3), learning_rate=1e-4),
        seed=0,
    )
    run = trainer.fit(model, DATA, verbose=False)
    assert run.history["phase"] == ["head", "fine_tune", "fine_tune"]
    solved, tuned, _ = run.history["loss"]
    assert tuned < 2 * max(solved, 0.05)
    solved, *rates = run.history["learning_rate"]
    assert np.isnan(solved)
    assert rates == pytest.approx([1e-4, 1e-4])


def test_one_hot_labels_and_datasets_have_the_same_solution(small_backbone: keras.Model) -> None:
    images, labels = DATA
    logits = []
    for train in (
        (images, labels),
        (images, tlkit.data.one_hot(labels, 3)),
        _Batches(images, labels),
    ):
        model = small_classifier(small_backbone)
        train_phase(model, SolvedHead(solver="ridge"), train, seed=0, verbose=False)
        logits.append(np.asarray(model.get_layer("logits").kernel))
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-5)
    np.testing.assert_allclose(logits[0], logits[2], atol=1e-3)


class _Batches(keras.utils.PyDataset):
    def __init__(self, *arrays: np.ndarray) -> None:
        super().__init__()
        self.arrays = arrays

    def __len__(self) -> int:
        return -(-len(self.arrays[0]) // 32)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(array[32 * index : 32 * index + 32] for array in self.arrays)


def test_image_weights_and_soft_labels_are_refused(small_backbone: keras.Model) -> None:
    images, labels = DATA
    model = small_classifier(small_backbone)
    with pytest.raises(DataError, match="must have no image weights for a SolvedHead"):
        weighted = _Batches(images, labels, np.ones(len(labels)))
        train_phase(model, SolvedHead(solver="ridge"), weighted, verbose=False)
    shared = np.full((len(images), 3), 1 / 3, "float32")
    with pytest.raises(DataError, match="must each be of a single class for a SolvedHead"):
        train_phase(model, SolvedHead(solver="ridge"), (images, shared), verbose=False)


def test_a_head_of_several_layers_is_refused(small_backbone: keras.Model) -> None:
    plain = small_classifier(small_backbone)
    hidden = keras.layers.Dense(8, "relu", name="hidden")(plain.get_layer("pooling").output)
    logits = keras.layers.Dense(3, name="logits")(hidden)
    outputs = tlkit.models.ClassProbabilities(["a", "b", "c"])(logits)
    with pytest.raises(ConfigError, match=r"needs a head of one .*'hidden', 'logits'"):
        train_phase(keras.Model(plain.inputs, outputs), SolvedHead(solver="ridge"), DATA)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver": "svm"}, "`solver` must be one of"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1"),
        ({"callbacks": ("stop",)}, "`callbacks` must be a tuple of Keras callbacks"),
        ({"augmentation": ("flip",)}, "`augmentation` must be a tuple of Keras layers"),
    ],
)
def test_a_bad_value_is_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SolvedHead(**settings)


def test_a_solved_head_cannot_fine_tune() -> None:
    with pytest.raises(ConfigError, match="`fine_tune` must leave some of the backbone to train"):
        TwoPhaseTrainer(head=SolvedHead(), fine_tune=SolvedHead())


def test_a_head_may_be_solved_again(small_backbone: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), "uint8")
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
    runs = [
        train_phase(
            model, SolvedHead(solver="ridge"), (images, np.arange(40) % 3), seed=0, verbose=False
        )
        for _ in range(2)
    ]
    assert runs[0].history == runs[1].history


@pytest.mark.parametrize(
    ("solver", "pooling"), [("ridge", "flatten"), ("lbfgs", "flatten"), ("ridge", "avg")]
)
def test_features_on_disk_are_solved_block_by_block(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch, solver: str, pooling: str
) -> None:
    """With "flatten" the head reads what is stored; with "avg" it is computed from that."""
    monkeypatch.setattr(linear, "_BLOCK", 64)
    monkeypatch.setattr(ood_detector, "MAX_IMAGES", 100)
    sizes: list[int] = []
    real = Rows.take

    def take(self: Rows, indices: np.ndarray) -> list[np.ndarray]:
        sizes.append(len(indices))
        return real(self, indices)

    def train(cache: Cache) -> tuple[np.ndarray, dict[str, list[float]]]:
        model = small_classifier(small_backbone, pooling=pooling)
        head = SolvedHead(solver=solver)
        run = train_phase(model, head, DATA, cache=cache, seed=0, verbose=False)
        assert run.trunk is not None
        assert run.trunk.on_disk == (cache.memory_limit == 0)
        return np.asarray(model.get_layer("logits").kernel), run.history

    kernel, history = train(Cache())
    monkeypatch.setattr(Rows, "take", take)
    monkeypatch.setattr(Rows, "arrays", None)
    monkeypatch.setattr(head_solver, "_ROWS", 64)
    found, other = train(Cache(memory_limit=0))
    np.testing.assert_allclose(found, kernel, rtol=0.01, atol=0.01)
    assert other["loss"] == pytest.approx(history["loss"], rel=1e-3)
    assert other["accuracy"] == history["accuracy"]
    assert max(sizes) <= 160  # those fitted in a fold: a bounded number of more images


def test_features_that_are_too_many_for_memory_are_stacked_in_a_file() -> None:
    batches = [np.full((4, 2, 3), number, "float32") for number in range(3)]
    whole = feature_arrays.stack_batches(iter(batches), 12, max_bytes=4 * 12 * 6)
    stored = feature_arrays.stack_batches(iter(batches), 12, max_bytes=4 * 12 * 6 - 1)
    assert (type(whole), type(stored)) == (np.ndarray, np.memmap)
    np.testing.assert_array_equal(whole, stored)


def test_without_a_cache_features_that_do_not_fit_into_memory_go_to_the_disk(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = []
    solve = solvers.ridge

    def record(features: np.ndarray, *args: Any, **settings: Any) -> linear.Linear:
        kinds.append(type(features))
        return solve(features, *args, **settings)

    def train() -> np.ndarray:
        model = small_classifier(keras.models.clone_model(small_backbone), pooling="flatten")
        model.set_weights(weights)
        train_phase(model, SolvedHead(solver="ridge"), DATA, cache=None, seed=0, verbose=False)
        return np.asarray(model.get_layer("logits").kernel)

    weights = small_classifier(small_backbone, pooling="flatten").get_weights()
    monkeypatch.setattr(solvers, "ridge", record)
    in_memory = train()
    monkeypatch.setattr(head_solver.system, "free_memory", lambda: 0)
    np.testing.assert_array_equal(train(), in_memory)
    assert kinds == [np.ndarray, np.memmap]
