"""Presets of KerasHub: every test writes the small folder that it reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import tlkit
from tlkit.errors import ConfigError, DownloadError, MissingExtraError
from tlkit.models import backbones, hub, hub_folder
from tlkit.models.pixels import BYTE, SIGNED, TORCH, PixelFormat

keras_hub = pytest.importorskip("keras_hub", reason="the extra 'hub' is not installed")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResNet for images of any size, with the image converter of ImageNet."""
    folder = tmp_path_factory.mktemp("presets") / "resnet"
    keras.utils.set_random_seed(0)
    keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
    ).save_to_preset(str(folder))
    keras_hub.layers.ResNetImageConverter(
        image_size=(24, 24),
        scale=[1 / 255 / each for each in TORCH.std],
        offset=[-mean / std for mean, std in zip(TORCH.mean, TORCH.std, strict=True)],
        interpolation="bicubic",
    ).save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ViT for images of 16 x 16 pixels, as transformers writes one."""
    folder = tmp_path_factory.mktemp("presets") / "vit"
    folder.mkdir()
    write_vit(folder)
    return folder


def write_vit(folder: Path, *, hidden: int = 8, layers: int = 1) -> dict[str, np.ndarray]:
    """Write the config, weights and processor of a ViT with random weights."""
    config = {
        "model_type": "vit",
        "architectures": ["ViTModel"],
        "image_size": 16,
        "patch_size": 8,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": True,
    }
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.patch_embeddings.projection.weight": (hidden, 3, 8, 8),
        "embeddings.patch_embeddings.projection.bias": (hidden,),
        "embeddings.cls_token": (1, 1, hidden),
        "embeddings.position_embeddings": (1, 5, hidden),
        "layernorm.weight": (hidden,),
        "layernorm.bias": (hidden,),
    }
    for index in range(layers):
        block = f"encoder.layer.{index}"
        sizes = {
            f"attention.attention.{name}": (hidden, hidden) for name in ("query", "key", "value")
        }
        sizes |= {"attention.output.dense": (hidden, hidden)}
        sizes |= {"intermediate.dense": (12, hidden), "output.dense": (hidden, 12)}
        for name, shape in sizes.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
        for name in ("layernorm_before", "layernorm_after"):
            shapes |= {f"{block}.{name}.{each}": (hidden,) for each in ("weight", "bias")}
    random = np.random.default_rng(0)
    weights = {
        f"vit.{name}": random.normal(size=shape).astype("float32") for name, shape in shapes.items()
    }
    processor = {
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
        "size": {"height": 16, "width": 16},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    save_file(weights, folder / "model.safetensors")
    return weights


def test_a_preset_says_its_pixels_and_its_size(resnet: Path) -> None:
    source = backbones.describe(resnet)
    assert (source.kind, source.image_size, source.pixels) == ("preset", (24, 24), TORCH)
    assert source.interpolation == "bicubic"
    assert str(source).endswith("0.229, 0.224, 0.225 (its image converter)")
    assert backbones.describe(resnet, image_size=(16, 40)).image_size == (16, 40)


def test_a_preset_gives_the_features_that_kerashub_gives(resnet: Path) -> None:
    model = tlkit.build_classifier(str(resnet), 3, input_shape=(24, 24, 3))
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), "uint8")
    converter = keras_hub.layers.ImageConverter.from_preset(str(resnet))
    theirs = keras_hub.models.Backbone.from_preset(str(resnet))(converter(images))
    backbone = tlkit.models.backbone_of(model)
    after = model.layers[model.layers.index(backbone) + 1]
    mine = keras.Model(model.inputs, after.input)(images)
    assert backbone.output.shape == (None, *theirs.shape[1:])  # known, as the size is
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_folder_of_transformers_is_converted(vit: Path) -> None:
    source = backbones.describe(vit)
    assert (source.image_size, source.pixels) == ((16, 16), SIGNED)
    assert source.pixels_from == "its preprocessor_config.json"
    backbone = backbones.create(vit)
    kernel = write_vit(vit)["vit.embeddings.patch_embeddings.projection.weight"]
    patches = backbone.layers[1].patch_embedding.kernel
    np.testing.assert_array_equal(patches, kernel.transpose(2, 3, 1, 0))


def test_the_size_of_a_vit_is_fixed(vit: Path) -> None:
    with pytest.raises(
        ConfigError, match="must be 16x16 for .*got 24x24: its weights are for"
    ) as caught:
        backbones.create(vit, image_size=24)
    assert caught.value.argument == "image_size"
    with pytest.raises(ConfigError, match="got 20x20: .*divisible by"):
        backbones.create(vit, image_size=20)


def test_dinov2_takes_other_sizes(tmp_path: Path) -> None:
    keras_hub.models.DINOV2Backbone(
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        image_shape=(32, 32, 3),
        position_embedding_shape=(32, 32),
    ).save_to_preset(str(tmp_path))
    keras_hub.layers.DINOV2ImageConverter(image_size=(16, 16), scale=1 / 255).save_to_preset(
        str(tmp_path)
    )
    assert backbones.describe(tmp_path).image_size == (16, 16)  # of its image converter
    assert backbones.create(tmp_path, image_size=24).output.shape[1] == 10
    with pytest.raises(ConfigError, match="must be 32x32 .* the same"):
        backbones.create(tmp_path, image_size=(16, 24))


def write_timm(folder: Path) -> None:
    shape = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"architecture": "resnet18", "pretrained_cfg": {**shape, "interpolation": "bicubic"}}
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_of_timm_says_its_pixels(tmp_path: Path) -> None:
    write_timm(tmp_path)
    pixels, size, interpolation, where = hub._read_converter(keras_hub, str(tmp_path))
    assert (pixels, size) == (PixelFormat(range=(-2, 2)), (64, 64))
    assert (interpolation, where) == ("bicubic", "its image converter")


@pytest.mark.slow
def test_a_folder_of_timm_is_converted(tmp_path: Path) -> None:
    from keras_hub.src.utils.timm import convert_resnet

    write_timm(tmp_path)
    with pytest.raises(ConfigError, match="it has no model.safetensors"):
        backbones.create(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    backbone = keras_hub.models.ResNetBackbone(**convert_resnet.convert_backbone_config(config))
    random, weights = np.random.default_rng(0), {}

    class Recorder:
        def port_weight(
            self, variable: keras.Variable, hf_weight_key: str, hook_fn: object = None
        ) -> None:
            values = random.random(variable.shape, "float32")
            variable.assign(values)
            turned = values.transpose(3, 2, 0, 1) if hook_fn else values
            weights[hf_weight_key] = np.ascontiguousarray(turned)

    convert_resnet.convert_weights(backbone, Recorder(), config)
    save_file(weights, tmp_path / "model.safetensors")
    converted = backbones.create(tmp_path)
    assert converted.input.shape == (None, 64, 64, 3)
    for one, two in zip(converted.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (
            {"do_rescale": True, "do_normalize": False, "size": 8},
            (PixelFormat(range=(0, 1)), (8, 8)),
        ),
        ({"do_rescale": False, "do_normalize": False, "size": [8, 9]}, (BYTE, (8, 9))),
        (
            {
                "image_mean": list(TORCH.mean),
                "image_std": list(TORCH.std),
                "rescale_factor": 1 / 255,
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "do_center_crop": True,
            },
            (TORCH, (224, 224)),
        ),
    ],
    ids=["unit", "byte", "torch"],
)
def test_a_processor_of_transformers_is_read(
    processor: dict[str, Any], expected: tuple[PixelFormat, tuple[int, int]], tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    assert hub_folder.read_processor(tmp_path)[:2] == expected


def test_of_a_model_for_images_and_text_the_part_for_images_is_taken(tmp_path: Path) -> None:
    sizes: dict[str, int] = {
        "hidden_dim": 8,
        "num_layers": 1,
        "num_heads": 2,
        "intermediate_dim": 8,
    }
    models = keras_hub.models
    vision = models.CLIPVisionEncoder(patch_size=8, image_shape=(16, 16, 3), **sizes)
    text = models.CLIPTextEncoder(
        vocabulary_size=9, embedding_dim=8, max_sequence_length=4, **sizes
    )
    clip = models.CLIPBackbone(vision, text, projection_dim=8)
    clip.save_to_preset(str(tmp_path))
    keras_hub.layers.CLIPImageConverter(image_size=(16, 16)).save_to_preset(str(tmp_path))
    assert backbones.describe(tmp_path).pixels == BYTE
    backbone = backbones.create(tmp_path)
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    np.testing.assert_allclose(backbone(images), clip.vision_encoder({"images": images}), rtol=1e-5)
    with pytest.raises(ConfigError, match="must be 16x16 .*: its size is fixed"):
        backbones.create(tmp_path, image_size=24)


def test_a_preset_of_a_language_model_is_refused(tmp_path: Path) -> None:
    keras_hub.models.BertBackbone(
        vocabulary_size=9, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8
    ).save_to_preset(str(tmp_path))
    with pytest.raises(ConfigError, match="must have one input of shape .batch, height, width, 3."):
        backbones.describe(tmp_path)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def rename_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def forget_a_setting(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), r"has no config.json, but \['model.safetensors'"),
        (write("config.json", "{"), "config.json is damaged"),
        (write("config.json", "[]"), "it holds no names"),
        (write("config.json", "{}"), "has none of .*model_type.*timm"),
        (write("config.json", '{"experiment": {}}'), r"run of tlkit. .*backbone_of"),
        (write("config.json", '{"model_type": "vi"}'), "no converter .*'vi'"),
        (write("config.json", '{"architecture": "vovnet"}'), "no converter .*'vovnet'"),
        (
            write("config.json", '{"registered_name": "a>B"}'),
            "its config does not describe a model",
        ),
        (write("preprocessor_config.json", "<html>"), "preprocessor_config.json is damaged"),
        (forget_a_setting, "'hidden_size' is missing"),
        (remove("model.safetensors"), "has no model.safetensors. Copy it"),
        (rename_weights, "pytorch_model.bin is a file of PyTorch"),
        (cut("model.safetensors"), "model.safetensors is damaged"),
        (write("model.safetensors", ""), "model.safetensors is damaged: it is empty"),
        (lambda folder: save_file({}, folder / "model.safetensors"), "vit.*|embeddings"),
    ],
    ids=range(15),
)
def test_a_damaged_folder_is_refused(
    damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    write_vit(tmp_path)
    damage(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        backbones.create(tmp_path)
    assert caught.value.argument == "backbone"
    assert str(tmp_path) in str(caught.value)


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    write_vit(tmp_path)
    weights = {**write_vit(tmp_path, hidden=16)}
    write_vit(tmp_path)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="must be a preset that KerasHub can load, got .*shape"):
        backbones.create(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet_50_imagenett", "Did you mean 'resnet_50_imagenet'"),
        ("bert_base_en", "is a language model"),
        ("hf:/timm/resnet18", "no such file or folder"),
        ("ht://timm/resnet18", "Did you mean 'hf'"),
        ("hf://a/b/c", "a/b/c"),
        ("kaggle://a", "form"),
        ("models/missing", "no such file or folder"),
    ],
)
def test_an_unknown_preset_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        backbones.describe(name)
    assert caught.value.argument == "backbone"


def test_a_missing_network_is_a_download_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DownloadError, match="Can't download the preset 'hf://tlkit/none'.*pass the folder"
    ):
        backbones.describe("hf://tlkit/none")

    def fail(*arguments: object, **settings: object) -> None:
        raise ConnectionError("Network is unreachable")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", fail)
    with pytest.raises(DownloadError, match="'resnet_18_imagenet': Network is unreachable"):
        backbones.describe("resnet_18_imagenet")


def test_an_address_of_hugging_face_is_a_folder(
    resnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked = []

    def download(repository: str, *, allow_patterns: list[str], **settings: object) -> str:
        asked.append((repository, any("h5" in each for each in allow_patterns)))
        return str(resnet)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    backbones.create("hf://me/resnet")
    assert asked == [("me/resnet", False), ("me/resnet", True)]  # first its settings


def test_options_and_weights_of_a_preset(resnet: Path, vit: Path) -> None:
    backbone = backbones.create(vit, options={"dropout_rate": 0.25})
    assert backbone.dropout_rate == 0.25
    with pytest.raises(ConfigError, match="Did you mean 'dropout_rate'"):
        backbones.create(vit, options={"dropout": 0.25})
    with pytest.raises(ConfigError, match="has its own, got 'starter'"):
        backbones.create(resnet, weights="starter")
    one, two = (
        backbones.create(resnet, weights=each).get_weights()[0] for each in ("imagenet", None)
    )
    assert not np.array_equal(one, two)


def test_without_a_converter_pixels_must_be_stated(resnet: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.weights.h5"):
        (tmp_path / name).write_bytes((resnet / name).read_bytes())
    with pytest.raises(ConfigError, match="image_size. must be the size"):
        backbones.describe(tmp_path)
    with pytest.raises(ConfigError, match="has no image converter"):
        tlkit.build_classifier(tmp_path, 3, image_size=16)
    assert tlkit.build_classifier(tmp_path, 3, image_size=16, pixels="unit").output.shape[1] == 3


def test_without_kerashub_the_extra_is_named(
    resnet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_python: Callable[..., str],
) -> None:
    classifier = tlkit.build_classifier(resnet, 2)
    saved = tlkit.save(classifier, tmp_path / "model.keras")
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    monkeypatch.setattr("tlkit._internal.optional.installed", lambda module: False)
    for name in (str(resnet), "hf://timm/resnet18", "vit_base_patch16_224_imagenet"):
        with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[hub\]'"):
            backbones.create(name)
    # here its classes are registered; elsewhere they are not
    load = f"import sys; sys.modules['keras_hub'] = None; import tlkit; tlkit.load({str(saved)!r})"
    code = f"try:\n    {load}\nexcept ImportError as error: print(error)"
    assert "pip install 'tlkit[hub]'" in run_python(code)
    with pytest.raises(ConfigError, match="Did you mean 'mobilenet_v2'"):
        backbones.create("mobilenetv2")
