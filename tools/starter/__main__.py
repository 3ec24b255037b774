"""Train the starter backbone on images rendered from fonts and code.

    xargs apt-get install -y --no-install-recommends < tools/starter/fonts.txt  # Debian 12
    python -m tools.starter --fonts /usr/share/fonts --out build/starter
    python -m tools.starter.pack --made build/starter

The second command takes about an hour on 2 cores and writes weights, facts and a sample of the
pictures; the third copies them to the package and the docs. fonts.txt lists the packages that the
shipped starter was trained with, made.json the facts of its training.
"""

import argparse
import json
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's own threads slow the rendering down

import platform
import time
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from PIL import features
from tools.starter import forms, pictures, textures

import tlkit

BATCH = 256
SIDES = (32, 48, 64, 32, 32, 32, 32, 32)  # of the pictures of each batch, in turn
PIXELS = 32 * 32 * BATCH  # of every batch, of whatever side
PEAK = 3e-3  # learning rate
TAPS = {"block_2_add": 8, "block_5_add": 4, "block_12_add": 2}  # sides of their maps at 32 px
HARD = 0.9  # largest fraction of pictures in a batch that are altered
TESTED = 20_000


class Pictures(keras.utils.PyDataset):
    """Batches that are rendered on access; a batch is the same each time."""

    def __init__(
        self,
        made: forms.Forms,
        *,
        batches: int,
        sides: tuple[int, ...],
        seed: int,
        growing: bool = False,
    ):
        super().__init__()
        self.made = made
        self.batches = batches
        self.sides = sides
        self.seed = seed
        self.growing = growing
        self.often = np.cumsum(pictures.weights(made))

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Render one batch."""
        rng = np.random.default_rng([self.seed, index])
        side = self.sides[index % len(self.sides)]
        taken = np.searchsorted(self.often, rng.random(PIXELS // side**2) * self.often[-1])
        batch = pictures.render(self.made, taken, side, rng, hard=self._hard(index))
        labels = {"form": batch.form, "fill": batch.fill, "ground": batch.ground}
        return batch.pictures, {**labels, **dict.fromkeys(TAPS, batch.form)}

    def _hard(self, index: int) -> float:
        """Return the fraction of altered pictures, which can grow from none over the batches."""
        done = index / self.batches
        return min(max((done - 0.03) / 0.3, 0), 1) * HARD if self.growing else HARD


def main() -> None:
    """Render pictures, train on them, evaluate, and write the results."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    start = time.perf_counter()
    made = forms.make(options.fonts, seed=options.seed)
    about = f"{len(made.names)} forms, {len(made.label):,} drawings, {len(made.fonts)} font files"
    print(f"{about}; drawn in {time.perf_counter() - start:.0f} s", flush=True)

    backbone = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), alpha=0.35, include_top=False, weights=None
    )
    _start(backbone, options.seed)
    model = _classifier(backbone, len(made.names) + 1)
    _compile(model, options.steps)
    train = Pictures(made, batches=options.steps, sides=SIDES, seed=options.seed, growing=True)
    start = time.perf_counter()
    model.fit(train, shuffle=False, verbose=0, callbacks=[_Lines(options.out)])
    minutes = (time.perf_counter() - start) / 60

    known = Pictures(made, batches=200, sides=(32,), seed=options.seed + 1)
    tlkit.training.batchnorm.reestimate(
        backbone, tlkit.freezing.find_batchnorm(backbone), (known[i][0] for i in range(200))
    )
    _round(backbone)
    test = Pictures(made, batches=TESTED // BATCH, sides=(32,), seed=options.seed + 2)
    scores = model.evaluate(test, verbose=0, return_dict=True)
    backbone.save_weights(options.out / "backbone.weights.h5")
    sheet = pictures.sheet(test[0][0][:168], columns=28)
    sheet.save(options.out / "pictures.png")
    facts = {
        **_facts(made, options),
        "minutes": round(minutes, 1),
        "scores": {**scores, **_flat(test)},
    }
    (options.out / "facts.json").write_text(json.dumps(facts, indent=1), "utf-8")


def _facts(made: forms.Forms, options: argparse.Namespace) -> dict[str, object]:
    """Return the facts of this training, without its duration and its scores."""
    steps = range(options.steps)
    packages = ("keras", "tensorflow", "numpy", "scipy", "pillow", "fonttools")
    return {
        "forms": len(made.names),
        "drawings": len(made.label),
        "fonts": len(made.fonts),
        "steps": options.steps,
        "pictures": sum(PIXELS // SIDES[step % len(SIDES)] ** 2 for step in steps),
        "seed": options.seed,
        "cores": os.cpu_count(),
        "tested_on": TESTED // BATCH * BATCH,
        "versions": {
            "python": platform.python_version(),
            "freetype": features.version("freetype2"),
            **{package: version(package) for package in packages},
        },
        "names": made.names,
        "font_files": made.fonts,
    }


def _flat(test: Pictures) -> dict[str, float]:
    """Return the fractions of flat forms and grounds: the accuracy of always predicting flat."""
    labels = [test[index][1] for index in range(len(test))]
    return {
        f"{name}_flat": float(np.mean(np.concatenate([each[name] for each in labels]) == 0))
        for name in ("fill", "ground")
    }


def _classifier(backbone: keras.Model, forms: int) -> keras.Model:
    """Return the backbone with three heads at its end and one after each layer of TAPS.

    Without the heads on early layers it hardly learns: the deep blocks, with few channels and maps
    of one pixel, pass too little gradient back to the early ones.
    """
    taps = [backbone.get_layer(name).output for name in TAPS]
    *early, last = keras.Model(backbone.inputs, [*taps, backbone.output])(backbone.inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(last)
    pooled = keras.layers.Dropout(0.1)(pooled)
    kinds = len(textures.KINDS)
    sizes = {"form": forms, "fill": kinds, "ground": kinds}
    heads = {name: keras.layers.Dense(size, name=name)(pooled) for name, size in sizes.items()}
    for (name, side), tap in zip(TAPS.items(), early, strict=True):
        same = keras.layers.Flatten()(keras.layers.Resizing(side, side)(tap))
        heads[name] = keras.layers.Dense(forms, name=f"from_{name}")(same)
    return keras.Model(backbone.inputs, heads)


def _start(backbone: keras.Model, seed: int) -> None:
    """Reinitialize the depthwise kernels, whose fan-in Keras overestimates by the channels."""
    rng = np.random.default_rng(seed)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.kernel.assign(rng.normal(0, (2 / 9) ** 0.5, layer.kernel.shape))


def _compile(model: keras.Model, steps: int) -> None:
    rate = keras.optimizers.schedules.CosineDecay(
        PEAK / 30, steps, warmup_target=PEAK, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.03)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    share = {"form": 1, "fill": 0.2, "ground": 0.2, **dict.fromkeys(TAPS, 0.3)}
    loss = {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in share}
    model.compile(
        optimizer,
        loss=loss,
        loss_weights=share,
        metrics=dict.fromkeys(loss, "accuracy"),
        jit_compile=False,
    )


def _round(backbone: keras.Model) -> None:
    """Round every weight to float16, in which it is stored in the package."""
    backbone.set_weights([weight.astype("float16") for weight in backbone.get_weights()])


class _Lines(keras.callbacks.Callback):
    """Prints a line every 250 batches, and saves the model every 1000."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if (batch + 1) % 250 == 0:
            values = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
            print(f"{batch + 1:6} {time.perf_counter() - self.start:6.0f} s  {values}", flush=True)
            self.model.reset_metrics()
        if (batch + 1) % 1000 == 0:
            self.model.save(self.folder / "unfinished.keras")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts"))
    parser.add_argument("--out", type=Path, default=Path("build/starter"))
    parser.add_argument("--steps", type=int, default=12_000, help="batches to train on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
