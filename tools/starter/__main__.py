"""Make the starter backbone, from nothing but code and fonts.

    xargs apt-get install -y --no-install-recommends < tools/starter/fonts.txt  # Debian 12
    python -m tools.starter --fonts /usr/share/fonts --out build/starter
    python -m tools.starter.pack --made build/starter

The second command, about an hour on 2 cores, writes weights, facts and a sheet of the pictures; the
third puts what the package and the docs show in its place. fonts.txt names the packages that the
shipped starter was made with, made.json the facts of its making.
"""

import argparse
import json
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's own threads only get in the way

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
SIDES = (32, 48, 64, 32, 32, 32, 32, 32)  # of the pictures, batch after batch; Keras looks at three
PIXELS = 32 * 32 * BATCH  # in a batch, whatever its side
PEAK = 3e-3
TAPS = {"block_2_add": 8, "block_5_add": 4, "block_12_add": 2}  # sides of their maps at 32 px
HARD = 0.9  # the most pictures of a batch that are not tame
TESTED = 20_000


class Pictures(keras.utils.PyDataset):
    """Batches rendered as they are asked for: batch `index` is the same each time."""

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
        """Return how many batches there are."""
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
        """Return how much may happen to the pictures: from nothing at first, growing."""
        done = index / self.batches
        return min(max((done - 0.03) / 0.3, 0), 1) * HARD if self.growing else HARD


def main() -> None:
    """Render, train, test, write."""
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
    """Return what there is to know about this run, but for its time and its scores."""
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
    """Return the shares of flat forms and grounds: the accuracy of calling every texture flat."""
    labels = [test[index][1] for index in range(len(test))]
    return {
        f"{name}_flat": float(np.mean(np.concatenate([each[name] for each in labels]) == 0))
        for name in ("fill", "ground")
    }


def _classifier(backbone: keras.Model, forms: int) -> keras.Model:
    """Put five heads on the backbone: three at its end, and helpers that teach its early blocks.

    Without these it hardly learns: the deep blocks, a few channels wide and one pixel high, pass
    little back to the first ones.
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
    """Draw the depthwise kernels anew: Keras draws them as if each output summed all channels."""
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
    """Round every weight to float16, the precision it is shipped in."""
    backbone.set_weights([weight.astype("float16") for weight in backbone.get_weights()])


class _Lines(keras.callbacks.Callback):
    """Prints a line now and then, and keeps the weights so far."""

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
            self.model.save(self.folder / "so-far.keras")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts"))
    parser.add_argument("--out", type=Path, default=Path("build/starter"))
    parser.add_argument("--steps", type=int, default=12_000, help="batches to train on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
