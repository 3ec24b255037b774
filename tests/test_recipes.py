import keras

import tlkit
from tlkit import backbones, recipes
from tlkit.layers import GrayToRGBResize


def test_the_experiment_is_the_one_described() -> None:
    recipe = recipes.mnist_as_described()
    model = recipe.build(tlkit.datasets.digits(), weights=None, backbone_options={"alpha": 0.35})
    backbone = tlkit.backbone_of(model)
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
    assert isinstance(recipe.head.fresh_optimizer(), keras.optimizers.Adam)


def test_few_images_takes_the_backbones_own_pixels_and_moves_what_it_frees() -> None:
    recipe = recipes.few_images(epochs=(1, 2), batchnorm="train")
    model = recipe.build(tlkit.datasets.digits(), weights="starter")
    resize = next(layer for layer in model.layers if isinstance(layer, GrayToRGBResize))
    assert (resize.size, resize.input_range, resize.output_range) == ((32, 32), (0, 16), (-1, 1))
    assert (recipe.head.epochs, recipe.fine_tune.epochs) == (1, 2)
    assert recipe.fine_tune.batchnorm == "train"
    backbone = tlkit.backbone_of(model)
    frozen = recipe.fine_tune.freeze(backbone)
    assert [layer.name for layer in frozen] == [layer.name for layer in backbone.layers[:100]]
    assert recipe.fine_tune.learning_rate < recipe.head.learning_rate


def test_epochs_and_the_batchnorm_policy_may_be_chosen() -> None:
    recipe = recipes.mnist_as_described(epochs=(1, 2), batchnorm="train")
    assert (recipe.head.epochs, recipe.fine_tune.epochs) == (1, 2)
    assert recipe.fine_tune.batchnorm == "train"
    assert recipe.trainer(seed=7).seed == 7
