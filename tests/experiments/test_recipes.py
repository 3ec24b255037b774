from dataclasses import replace

import keras
import numpy as np
import pytest
from tests.samples import TickingClock, small_classifier

import tlkit
from tlkit import experiments, recipes
from tlkit.errors import ConfigError
from tlkit.experiments import recipe as recipe_module
from tlkit.experiments import recipe_training
from tlkit.experiments.experiment import Experiment
from tlkit.models import backbones
from tlkit.models.layers import GrayToRGBResize
from tlkit.training import time_budget


def test_mnist_as_described_is_the_described_experiment() -> None:
    recipe = recipes.mnist_as_described()
    model = recipe.build(
        tlkit.datasets.digits().train, weights=None, backbone_options={"alpha": 0.35}
    )
    backbone = tlkit.models.backbone_of(model)
    resize = next(layer for layer in model.layers if isinstance(layer, GrayToRGBResize))
    assert (resize.size, resize.input_range, resize.output_range) == ((32, 32), (0, 16), (0, 1))
    assert [layer.name for layer in model.layers] == [
        "image",
        "gray_to_rgb_resize",
        backbone.name,
        "pooling",
        "logits",
        "probabilities",
    ]
    assert isinstance(model.get_layer("pooling"), keras.layers.GlobalAveragePooling2D)
    assert recipe.backbone == "mobilenet_v2"
    assert recipe.pixels == backbones.UNIT
    assert [phase.epochs for phase in (recipe.head, recipe.fine_tune)] == [10, 5]
    assert recipe.fine_tune.learning_rate == 1e-5
    frozen = recipe.fine_tune.freeze(backbone)
    assert [layer.name for layer in frozen] == [layer.name for layer in backbone.layers[:100]]
    assert isinstance(recipe.head.create_optimizer(), keras.optimizers.Adam)


def test_few_images_uses_the_backbones_pixels_and_fine_tunes_more_slowly_than_the_head() -> None:
    recipe = recipes.few_images(epochs=(1, 2), batchnorm="train")
    model = recipe.build(tlkit.datasets.digits().train, weights="starter")
    resize = next(layer for layer in model.layers if isinstance(layer, GrayToRGBResize))
    assert (resize.size, resize.input_range, resize.output_range) == ((32, 32), (0, 16), (-1, 1))
    assert (recipe.head.epochs, recipe.fine_tune.epochs) == (1, 2)
    assert recipe.fine_tune.batchnorm == "train"
    backbone = tlkit.models.backbone_of(model)
    frozen = recipe.fine_tune.freeze(backbone)
    assert [layer.name for layer in frozen] == [layer.name for layer in backbone.layers[:100]]
    assert recipe.fine_tune.learning_rate < recipe.head.learning_rate


def test_a_recipe_is_found_by_its_name() -> None:
    assert {recipes.get(name).name for name in recipes.names()} == set(recipes.names())
    assert recipes.get("best", epochs=3) == recipes.best(epochs=3)
    with pytest.raises(ConfigError, match="`recipe` must be one of .* Did you mean 'fast'"):
        recipes.get("fats")


def test_epochs_and_batchnorm_policy_can_be_chosen() -> None:
    recipe = recipes.mnist_as_described(epochs=(1, 2), batchnorm="train")
    assert (recipe.head.epochs, recipe.fine_tune.epochs) == (1, 2)
    assert recipe.fine_tune.batchnorm == "train"
    assert recipe.trainer(seed=7).seed == 7


def test_fast_cuts_the_backbone_and_solves_the_head() -> None:
    digits = tlkit.datasets.digits()
    trained = recipes.fast().train(digits.train, weights="starter", verbose=False)
    assert trained.recipe == "fast"
    assert [phase.name for phase in trained.run.phases] == ["head"]
    assert tlkit.evaluate(trained.model, digits.test).accuracy > 0.98
    assert tlkit.models.backbone_of(trained.model).layers[-1].name != "out_relu"
    assert trained.seconds > trained.run.seconds > 0


def test_tutorial_is_keras_guide() -> None:
    recipe = recipes.tutorial(epochs=(1, 2))
    assert (recipe.head.epochs, recipe.fine_tune.epochs) == (1, 2)
    assert recipe.fine_tune.freeze is tlkit.freezing.nothing
    assert (recipe.fine_tune.batchnorm, recipe.features) == ("frozen", None)


@pytest.mark.slow
def test_a_budget_reduces_only_the_epochs_of_fine_tuning(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TickingClock(0.2)
    for module in (recipe_module, recipe_training, time_budget):
        monkeypatch.setattr(module, "time", clock)

    def build(*_: object, **__: object) -> keras.Model:
        return small_classifier(
            small_backbone, classes=10, input_shape=(8, 8, 1), value_range=(0, 16)
        )

    monkeypatch.setattr(recipe_module.Recipe, "build", build)
    digits = tlkit.datasets.digits().limited(200)
    recipe = recipes.tutorial(epochs=(1, 500))
    short = recipe.train(digits.train, budget=1, verbose=False)
    epochs = [phase.num_epochs for phase in short.run.phases]
    assert epochs[0] == 1
    assert 1 <= epochs[1] < 500
    none = recipe.train(digits.train, budget=0.05, verbose=False)
    assert [phase.name for phase in none.run.phases] == ["head"]


def test_a_budget_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="`budget` must be a number above 0"):
        recipes.fast().train(tlkit.datasets.digits().train, budget=0)


def test_a_split_is_refused_in_place_of_its_training_images() -> None:
    with pytest.raises(ConfigError, match="must be an ImageDataset, such as split.train, got Spl"):
        recipes.fast().train(tlkit.datasets.digits())


@pytest.mark.slow
def test_best_solves_the_head_and_fine_tunes_with_batchnorm_frozen() -> None:
    digits = tlkit.datasets.digits().limited(300)
    recipe = recipes.best(epochs=1)
    assert recipe.max_layers == 4
    trained = recipe.train(digits.train, weights="starter", verbose=False)
    head, tail = trained.run.phases
    assert tail.diverged is None
    assert tail.movement.untouched > 0  # BatchNormalization stays
    assert tlkit.evaluate(trained.model, digits.test).accuracy > 0.95
    assert head.history["accuracy"][0] > 0.95


def test_best_freezes_the_early_layers_of_a_backbone_for_photos_only() -> None:
    select = recipes.best().fine_tune.freeze
    sizes = {"small": 32, "photos": 96}
    backbones = {
        name: keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None)
        for name, size in sizes.items()
    }
    assert select(backbones["small"]) == []
    frozen = select(backbones["photos"])
    assert frozen[-1].name.endswith(("_add", "_BN"))
    assert 0.55 < len(frozen) / len(backbones["photos"].layers) < 0.7
    assert recipes.best(freeze=tlkit.freezing.nothing).fine_tune.freeze(backbones["photos"]) == []


def test_fast_joins_layers_of_few_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def choose_layers(data: object, *, max_layers: int, **_: object) -> None:
        asked.append(max_layers)

    monkeypatch.setattr(recipe_module, "choose_layers", choose_layers)
    digits = tlkit.datasets.digits().train.take(slice(60))
    how = {"weights": None, "backbone_options": {"alpha": 0.35}}
    recipes.fast().build(digits, **how)
    recipes.fast(max_layers=1).build(digits, **how)
    replace(recipes.fast(), max_images_to_join=59).build(digits, **how)
    replace(recipes.best(), max_images_to_join=None).build(digits, **how)
    assert asked == [2, 1, 1, 4]


def test_a_share_of_the_layers_can_be_frozen_up_to_the_end_of_a_block(
    small_backbone: keras.Model,
) -> None:
    for recipe in (recipes.best(freeze=0.4), recipes.few_images(freeze=0.4)):
        frozen = recipe.fine_tune.freeze(small_backbone)  # 4 of 11 layers, the last in block 1
        assert len(frozen) == 6
    with pytest.raises(ConfigError, match="`freeze` must be"):
        recipes.best(freeze=1.0)


def test_best_without_epochs_solves_the_head_alone() -> None:
    recipe = recipes.best(epochs=0)
    assert recipe.fine_tune is None
    assert recipe.max_layers == 4


def test_a_setting_that_a_recipe_does_not_have_is_named() -> None:
    with pytest.raises(ConfigError, match="'fast' has no setting 'epoch'.*it has"):
        recipes.get("fast", epoch=3)
    with pytest.raises(ConfigError, match="Did you mean 'epochs'"):
        recipes.get("best", epoch=3)


def test_an_experiment_sets_the_arguments_of_its_recipe() -> None:
    options = ("epochs=[2,3]", "learning_rates=[0.001,0.0001]", "freeze=0.5")
    recipe = experiments.recipes.for_experiment(
        Experiment("photos", recipe="few_images", recipe_options=options)
    )
    assert (recipe.head.epochs, recipe.fine_tune.epochs) == (2, 3)
    assert (recipe.head.learning_rate, recipe.fine_tune.learning_rate) == (1e-3, 1e-4)


@pytest.mark.parametrize(
    ("shape", "expected"), [((8, 8), (32, 32)), ((48, 40, 3), (48, 40)), ((20, 64, 3), (32, 64))]
)
def test_images_keep_their_size_unless_they_are_too_small(
    shape: tuple[int, ...], expected: tuple[int, int]
) -> None:
    images = np.zeros((4, *shape), "uint8")
    data = tlkit.sources.from_arrays(images, [0, 1, 0, 1], class_names=["a", "b"])
    recipe = replace(recipes.fast(), features=None)
    model = recipe.build(data, weights=None, backbone_options={"alpha": 0.35})
    assert tlkit.models.backbone_of(model).input_shape[1:3] == expected
