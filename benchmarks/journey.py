"""Measure what a person waits for: `tlkit train` from the command to the report, stage by stage.

    python benchmarks/journey.py --data path/to/data --peers path/to/python

The folder holds flowers227/ and mnist.npz (README.md). `--peers` is a Python with torch, fastai,
timm and scikit-learn (peers/README.md). Every run is a process of its own, timed from its start to
its end, imports included, except for the peers, whose imports do not count. The cold run begins
with an empty folder of features, the warm one finds all. Weights are read from `KERAS_HOME`. Run
nothing else meanwhile. Finished parts are kept in `--work`; the tables go into the page.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pages

PAGE = Path("docs/explanation/journey.md")
HERE = Path(__file__).parent
SETS = {"flowers, 160 px": 160, "flowers, 224 px": 224, "20,000 JPEGs, 224 px": 224}
SIZES = (32, 96, 160, 224)  # of the frozen part alone
REPEATS = 3
KERAS_EPOCHS = 10
FASTAI_EPOCHS = (1, 3, 5)
MNIST = """
import time; started = time.perf_counter()
import json, sys
import numpy as np
import tlkit
from tlkit import recipes, sources
marks = {"start": time.perf_counter() - started}
with np.load(sys.argv[1]) as file:
    parts = {name: (file[f"x_{name}"], file[f"y_{name}"]) for name in ("train", "test")}
names = [str(digit) for digit in range(10)]
train, test = (sources.from_arrays(*parts[name], class_names=names) for name in ("train", "test"))
trained = recipes.fast().train(train, seed=0, verbose=False)
marks["training"] = trained.seconds
found = tlkit.evaluate(trained.model, test, cache=tlkit.Cache())
marks["evaluation"] = time.perf_counter() - started - sum(marks.values())
print(json.dumps({"accuracy": found.accuracy, "stages": marks}))
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure every part, and write the tables."""
    parser = pages.parser(__doc__, "journey")
    parser.add_argument("--peers", type=Path, help="a Python with the peers' packages")
    parser.add_argument("--side", choices=("keras", "trunk"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        found = keras_side(options) if options.side == "keras" else trunk(options.size)
        print(json.dumps(found))
        return
    rows = measure_all(options)
    pages.publish(PAGE, options.out, rows, tables(rows))


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Return what every part measured."""
    work, own = options.work, partial(own_process, options=options)
    rows: dict[str, Any] = {"limits": pages.kept(work / "limits.json", lambda: limits(options))}
    for size in SIZES:
        words = ("--side", "trunk", "--size", str(size))
        rows[f"trunk {size}"] = pages.kept(work / f"trunk-{size}.json", partial(own, *words))
    for name, size in SETS.items():
        folder = images_of(name, options)
        rows[name] = pages.kept(work / f"{name}.json", partial(commands, folder, size, options))
    rows["MNIST, 32 px"] = pages.kept(work / "mnist.json", partial(mnist, options))
    rows["plain Keras"] = pages.kept(work / "keras.json", partial(own, "--side", "keras"))
    for side, epochs in (*(("fastai", each) for each in FASTAI_EPOCHS), ("scikit-learn", 0)):
        if options.peers:
            measure = partial(peer, side, epochs, options)
            rows[f"{side} {epochs}"] = pages.kept(work / f"{side}-{epochs}.json", measure)
    return rows


def images_of(name: str, options: argparse.Namespace) -> Path:
    """Return the folder of a set, after making the generated one."""
    if name.startswith("flowers"):
        return options.data / "flowers227"
    folder = options.work / "generated"
    if not (folder / "done").exists():
        generate(folder / "images", 20_000)
        (folder / "done").touch()
    return folder / "images"


def generate(
    folder: Path, count: int, *, classes: int = 10, size: tuple[int, int] = (256, 224)
) -> None:
    """Write JPEG files of some classes, as wide and high as `size`: a pattern under noise."""
    from PIL import Image

    patterns = np.random.default_rng(0).integers(0, 256, (classes, 7, 7, 3), "uint8")
    for number in range(count):
        random = np.random.default_rng(number)
        noise = random.integers(0, 160, (28, 28, 3), "uint8")
        pixels = patterns[number % classes].repeat(4, 0).repeat(4, 1) // 3 + noise
        path = folder / f"class {number % classes}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize(size).save(path, quality=90)


def commands(folder: Path, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run `tlkit train` with cold and with warm features; return medians."""
    found: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    many = len(list(folder.glob("*/*"))) > 10_000
    for repeat in range(1 if many else REPEATS):
        cache = options.work / f"features-{folder.name}-{size}-{repeat}"
        for kind, runs in found.items():
            out = options.work / f"run-{folder.name}-{size}-{repeat}-{kind}"
            words = ["train", str(folder), "--image-size", str(size), "--out", str(out), "--json"]
            seconds, printed = timed(["-m", "tlkit", *words], TLKIT_CACHE=str(cache))
            stages = {"start": seconds - sum(printed["stages"].values()), **printed["stages"]}
            runs.append({"seconds": seconds, "stages": stages, "accuracy": printed["accuracy"]})
    return {
        kind: sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
        for kind, runs in found.items()
    }


def mnist(options: argparse.Namespace) -> dict[str, Any]:
    """Return the median of `fast` on all of MNIST."""
    runs = []
    for _ in range(REPEATS):
        seconds, printed = timed(["-c", MNIST, str(options.data / "mnist.npz")])
        runs.append({"seconds": seconds, **printed})
    return {"cold": sorted(runs, key=lambda run: run["seconds"])[REPEATS // 2]}


def timed(words: list[str], **environment: str) -> tuple[float, Any]:
    """Return the seconds of a process, and the JSON that it prints last."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    seconds = time.perf_counter() - started
    start = done.stdout.index("{")
    return seconds, json.JSONDecoder().raw_decode(done.stdout[start:])[0]


def own_process(*words: str, options: argparse.Namespace) -> Any:
    """Run a part of this file as a process of its own."""
    places = ["--data", str(options.data), "--work", str(options.work)]
    return timed([__file__, *places, *words])[1]


def peer(side: str, epochs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run a peer on the split of the first run."""
    models = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    weights = models / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_160_no_top.h5"
    done = subprocess.run(
        [
            str(options.peers),
            str(HERE / "peers" / "photos.py"),
            side,
            *("--run", str(options.work / "run-flowers227-160-0-cold")),
            *("--images", str(options.data / "flowers227")),
            *("--weights", str(weights)),
            *("--epochs", str(epochs)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def keras_side(options: argparse.Namespace) -> dict[str, Any]:
    """Train a head by Keras' own fit, as Keras' guide to transfer learning does."""
    import keras

    split = options.work / "run-flowers227-160-0-cold" / "split.csv"
    parts: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    with split.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["path"].split("/")[0] for row in rows})
    for row in rows:
        parts[row["part"]].append((row["path"], names.index(row["path"].split("/")[0])))
    started = time.perf_counter()

    def read(part: str) -> tuple[np.ndarray, np.ndarray]:
        folder = options.data / "flowers227"
        pixels = [
            keras.utils.img_to_array(keras.utils.load_img(folder / path, target_size=(160, 160)))
            for path, _ in parts[part]
        ]
        return np.stack(pixels) / 127.5 - 1, np.array([label for _, label in parts[part]])

    keras.utils.set_random_seed(0)
    backbone = keras.applications.MobileNetV2(
        include_top=False, pooling="avg", input_shape=(160, 160, 3)
    )
    backbone.trainable = False
    model = keras.Sequential([backbone, keras.layers.Dense(len(names), activation="softmax")])
    model.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x, y = read("train")
    model.fit(x, y, batch_size=32, epochs=KERAS_EPOCHS, verbose=0)
    accuracy = model.evaluate(*read("test"), verbose=0)[1]
    return {"accuracy": accuracy, "seconds": time.perf_counter() - started}


def trunk(size: int) -> dict[str, Any]:
    """Return the speed of a whole frozen MobileNetV2 by the default engine and by Keras."""
    import keras

    from tlkit.caching.engines import keras_engine, selection

    inputs = keras.Input((size, size, 3), dtype="uint8")
    pixels = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    known = size if size in (96, 128, 160, 192, 224) else 224
    source = keras.applications.MobileNetV2(include_top=False, input_shape=(known, known, 3))
    backbone = keras.applications.MobileNetV2(
        include_top=False, input_shape=(size, size, 3), weights=None
    )
    backbone.set_weights(source.get_weights())
    outputs = keras.layers.GlobalAveragePooling2D()(backbone(pixels))
    model = keras.Model(inputs, [outputs])
    images = np.random.default_rng(0).integers(0, 256, (128, size // 4, size // 4, 3), "uint8")
    images = images.repeat(4, 1).repeat(4, 2)
    engine = selection.prepare("auto", model, images)
    work = keras_engine.trace(model, images).multiply_adds
    speeds = engine.timings
    return {"engine": f"{engine.name} {engine.version}", "speeds": speeds, "multiply_adds": work}


def limits(options: argparse.Namespace) -> dict[str, float]:
    """Return what the machine can do: matrix products, memory traffic, decoding JPEG files."""
    from concurrent.futures import ThreadPoolExecutor

    import tensorflow as tf

    from tlkit._internal import system

    one = np.random.default_rng(0).random((2048, 2048), "float32")
    product = median(lambda: one @ one)
    source, target = np.ones(2**26, "float32"), np.empty(2**26, "float32")
    halves = np.array_split(np.arange(2**26), 2)
    bounds = [slice(half[0], half[-1] + 1) for half in halves]

    def copy() -> None:  # by two threads: one read and one write of memory
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda part: np.copyto(target[part], source[part]), bounds))

    files = [
        path.read_bytes() for path in sorted((options.data / "flowers227").glob("*/*.jpg"))[:600]
    ]

    def decode() -> None:
        with ThreadPoolExecutor(system.count_cores()) as pool:
            list(
                pool.map(
                    lambda content: tf.io.decode_jpeg(content, 3, dct_method="INTEGER_FAST"), files
                )
            )

    return {
        "multiply_adds_a_second": 2048**3 / product,
        "bytes_a_second": 2 * source.nbytes / median(copy),
        "jpegs_a_second": len(files) / median(decode),
        "cores": system.count_cores(),
        "processor": system.processor(),
    }


def median(work: Any) -> float:
    """Return the median seconds of five runs, after one that does not count."""
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def tables(rows: dict[str, Any]) -> str:
    """Return the tables of the page."""
    limits = rows["limits"]
    lines = [
        f"Measured on {limits['cores']} cores of this processor: {limits['processor']}. It reaches "
        f"{limits['multiply_adds_a_second'] / 1e9:.0f} billion multiply-adds a second in products "
        f"of float32 matrices, moves {limits['bytes_a_second'] / 1e9:.1f} GB of memory a second, "
        f"and decodes {limits['jpegs_a_second']:,.0f} JPEG files of 227 x 227 pixels a second by "
        "TensorFlow.",
        "",
        *stage_table(rows),
        "",
        *trunk_table(rows),
        "",
        *peer_table(rows),
    ]
    return "\n".join(lines) + "\n"


def stage_table(rows: dict[str, Any]) -> list[str]:
    """Return the seconds of each stage of each command."""
    names = (*SETS, "MNIST, 32 px")
    found = {f"{name}, {kind}": run for name in names for kind, run in rows[name].items()}
    runs = list(found.values())
    stages = list(dict.fromkeys(stage for run in runs for stage in run["stages"]))
    lines = [row("seconds", list(found)), "|---|" + "---:|" * len(found)]
    for stage in stages:
        values = [run["stages"].get(stage) for run in runs]
        shown = ["" if each is None else f"{each:.1f}" for each in values]
        lines.append(row(stage.replace("_", "-"), shown))
    lines.append(row("**whole**", [f"**{run['seconds']:.1f}**" for run in runs]))
    lines.append(row("accuracy", [f"{100 * run['accuracy']:.2f} %" for run in runs]))
    return lines


def trunk_table(rows: dict[str, Any]) -> list[str]:
    """Return the speed of the frozen part beside what the machine's matrix products allow."""
    limits = rows["limits"]
    heads = ("engine", "images a second", "a core", "by Keras", "share of matrix products")
    lines = [row("MobileNetV2, frozen", list(heads)), "|---|---|---:|---:|---:|---:|"]
    for size in SIZES:
        found = rows[f"trunk {size}"]
        speed = found["speeds"][found["engine"].split()[0]]
        share = speed * found["multiply_adds"] / limits["multiply_adds_a_second"]
        numbers = (speed, speed / limits["cores"], found["speeds"]["keras"])
        cells = [found["engine"], *(f"{each:,.0f}" for each in numbers), f"{100 * share:.0f} %"]
        lines.append(row(f"{size} px", cells))
    return lines


def peer_table(rows: dict[str, Any]) -> list[str]:
    """Return time and accuracy of the peers on the flowers at 160 pixels."""
    own = rows["flowers, 160 px"]["cold"]
    names = {
        "plain Keras": f"plain Keras, {KERAS_EPOCHS} epochs of a head",
        **{f"fastai {each}": f"fastai, `fine_tune({each})`" for each in FASTAI_EPOCHS},
        "scikit-learn 0": "timm's features, scikit-learn's `LogisticRegressionCV`",
    }
    found = {"`tlkit train`, all of it": own}
    found |= {name: rows[key] for key, name in names.items() if key in rows}
    heads = ["seconds", "times those of `tlkit train`", "test accuracy"]
    lines = [row("flowers, 160 px", heads), "|---|---:|---:|---:|"]
    for name, run in found.items():
        times = run["seconds"] / own["seconds"]
        cells = [f"{run['seconds']:.1f}", f"{times:.1f}", f"{100 * run['accuracy']:.1f} %"]
        lines.append(row(name, cells))
    return lines


def row(name: str, cells: list[str]) -> str:
    """Return a row of a table."""
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
