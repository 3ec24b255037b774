"""Measure what running the frozen part once is worth, against plain Keras, in one run.

    python benchmarks/speed.py --data path/to/mnist.npz

Real MNIST, ImageNet MobileNetV2 (alpha 1.0), the user's experiment. Sides alternate, round after
round; medians and their ratio are printed. Plain Keras' epochs cost the same each, so one epoch of
each phase is timed, over `plain` images after a warm-up, and multiplied; tlkit's runs are timed
whole, with everything: compiling, proving the engine, the one pass. The figures go to `--out`, the
tables into the docs page. `--only` runs some sections; finished rounds are kept in `--work`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pages
import tensorflow as tf

import tlkit
from tlkit import Cache, Phase, TwoPhaseTrainer, freezing, train_phase
from tlkit.caching import cost, partition

PAGE = Path("docs/explanation/speed.md")
FROZEN = freezing.first(100)
CASES = {
    "32 px, batch 32": {"size": 32, "batch": 32, "images": 60_000, "plain": 6_000},
    "32 px, batch 128": {"size": 32, "batch": 128, "images": 60_000, "plain": 6_000},
    "96 px, batch 32": {"size": 96, "batch": 32, "images": 10_000, "plain": 2_000},
    "96 px, batch 32, head alone": {"size": 96, "batch": 32, "images": 30_000, "plain": 2_000},
    "160 px, batch 32, head alone": {"size": 160, "batch": 32, "images": 15_000, "plain": 1_000},
}
ENGINES = {32: "litert", 96: "openvino", 160: "openvino"}  # what "auto" chooses on this machine
EPOCHS = (10, 5)
PARITY_IMAGES = 6_000
SIDES = {
    "again": "plain Keras again",
    "exact": "tlkit, `Cache(rewrites=False)`",
    "tlkit": "tlkit",
    "kernels": "plain Keras without oneDNN",
}
COUNTS = (5_000, 10_000, 20_000, 40_000, 60_000)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the tables."""
    options = _options(arguments)
    if options.memory_of:
        print(json.dumps(memory_of(options.memory_of, options)))
        return
    if options.kernels_of:
        policy, batch = options.kernels_of.stem.split("-")[-2:]
        np.savez(options.kernels_of, **trained(policy, int(batch), None, options))
        print(json.dumps({}))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    for number in range(options.rounds):
        for name in CASES:
            once(options, "speed", f"{name}-{number}", lambda name=name: speed(name, options))
    for batch in (32, 128):
        for policy in ("frozen", "train"):
            name = f"{policy}-{batch}"
            once(options, "parity", name, lambda p=policy, b=batch: parity(p, b, options))
    once(options, "linear", "all", lambda: linear(options))
    once(options, "dropout", "efficientnet_b0", lambda: dropout(options))
    for what in ("import", "60,000 at 32 px", "100,000 at 96 px", "100,000 at 96 px, on disk"):
        once(options, "memory", what, lambda what=what: in_a_process("--memory-of", what))
    if options.peers_python:
        once(options, "peers", "32 px", lambda: peers(options))
    found = results(options)
    text = tables(found)
    print(text)
    if options.write or not options.only:
        options.out.mkdir(parents=True, exist_ok=True)
        record = {"results": found, "environment": tlkit.experiments.run_folder.environment()}
        (options.out / "speed.json").write_text(json.dumps(record, indent=1) + "\n")
        pages.insert(PAGE, text)


def once(options: argparse.Namespace, section: str, name: str, measure: Callable[[], dict]) -> None:
    """Measure a part that is wanted and not there yet."""
    path = options.work / f"{section}-{name.replace(' ', '_')}.json"
    if path.is_file() or (options.only and section not in options.only):
        return
    figures = measure()
    path.write_text(json.dumps({"section": section, "name": name, **figures}))
    print(path.read_text(), flush=True)


def classifier(size: int, backbone: str = "mobilenet_v2", **options: object) -> keras.Model:
    return tlkit.build_classifier(
        backbone,
        10,
        input_shape=(28, 28, 1),
        image_size=size,
        pixels=tlkit.models.backbones.UNIT if backbone == "mobilenet_v2" else None,
        seed=0,
        **options,
    )


def images(options: argparse.Namespace, count: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(options.data) as file:
        return file["x_train"][:count], file["y_train"][:count]


def speed(name: str, options: argparse.Namespace) -> dict:
    """Time one round of a case: an epoch of each plain phase, then tlkit's whole runs."""
    case = CASES[name]
    size, batch, count = case["size"], case["batch"], case["images"]
    scale = count / case["plain"]
    train = images(options, count)
    few = tuple(part[: case["plain"]] for part in train)
    figures = {"plain_head_epoch": scale * plain_epoch(size, batch, freezing.everything, few)}
    if "alone" not in name:
        figures["plain_tail_epoch"] = scale * plain_epoch(size, batch, FROZEN, few)
        figures["both"], run = fast(size, batch, EPOCHS, train, ENGINES[size])
        figures["head"], figures["tail_phase"] = (phase.seconds for phase in run.phases)
    else:
        figures["head"], run = fast(size, batch, (EPOCHS[0], 0), train, ENGINES[size])
    trunk = run.phases[0].trunk
    work = multiply_adds(classifier(size), train[0])
    return {
        **figures,
        "engine": trunk.engine,
        "error": trunk.engine_error,
        "trunk": trunk.seconds,
        "matmul": matmul_speed(),
        **work,
    }


def plain_epoch(size: int, batch: int, select: freezing.Select, train: tuple) -> float:
    """Time an epoch of Keras' own fit, compiled and warmed up before."""
    return plain_epoch_of(classifier(size), batch, select, train)


def plain_epoch_of(model: keras.Model, batch: int, select: freezing.Select, train: tuple) -> float:
    """Time an epoch of Keras' own fit of a model, compiled and warmed up before."""
    keras.utils.set_random_seed(0)
    plan = freezing.plan(tlkit.models.backbone_of(model), select, batchnorm="frozen")
    freezing.apply(plan)
    model.compile(
        keras.optimizers.Adam(1e-5), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x, y = train
    model.fit(x[: 3 * batch], y[: 3 * batch], batch_size=batch, verbose=0)
    started = time.perf_counter()
    model.fit(x, y, batch_size=batch, verbose=0)
    return time.perf_counter() - started


def trainer(batch: int, epochs: tuple[int, int], policy: str = "frozen", **settings: object):
    tail = Phase(
        epochs=max(epochs[1], 1),
        batch_size=batch,
        learning_rate=1e-5,
        freeze=FROZEN,
        batchnorm=policy,
    )
    return TwoPhaseTrainer(
        head=Phase(epochs=epochs[0], batch_size=batch),
        fine_tune=tail if epochs[1] else None,
        seed=0,
        **settings,
    )


def fast(
    size: int, batch: int, epochs: tuple[int, int], train: tuple, engine: str
) -> tuple[float, tlkit.training.Run]:
    """Time a whole run of tlkit's."""
    model = classifier(size)
    started = time.perf_counter()
    run = trainer(batch, epochs, cache=Cache(engine=engine)).fit(model, train, verbose=False)
    return time.perf_counter() - started, run


def parity(policy: str, batch: int, options: argparse.Namespace) -> dict:
    """Compare 2 + 2 epochs of plain Keras with itself, with other kernels, and with tlkit."""
    plain = trained(policy, batch, None, options)
    kept = options.work / f"other-kernels-{policy}-{batch}.npz"
    in_a_process("--kernels-of", kept, TF_ENABLE_ONEDNN_OPTS="0")
    with np.load(kept) as file:
        others = dict(file)
    kept.unlink()
    return {
        "losses": plain["losses"].tolist(),
        "again": apart(trained(policy, batch, None, options), plain),
        "exact": apart(
            trained(policy, batch, Cache(engine="keras", rewrites=False), options), plain
        ),
        "tlkit": apart(trained(policy, batch, Cache(), options), plain),
        "kernels": apart(others, plain),
    }


def trained(policy: str, batch: int, cache: Cache | None, options: argparse.Namespace) -> dict:
    """Train 2 + 2 epochs, and return the losses, the test predictions and the weights."""
    with np.load(options.data) as file:
        test = file["x_test"]
    keras.utils.set_random_seed(0)
    model = classifier(32)
    run = trainer(batch, (2, 2), policy, cache=cache).fit(
        model, images(options, PARITY_IMAGES), verbose=False
    )
    return {
        "losses": np.asarray(run.history["loss"]),
        "predictions": model.predict(test, verbose=0),
        "weights": np.concatenate([weight.ravel() for weight in model.get_weights()]),
    }


def apart(one: dict, other: dict) -> dict:
    """Return how far two trained models are from each other."""
    distance = {name: np.abs(one[name] - other[name]) for name in one}
    labels = one["predictions"].argmax(1) != other["predictions"].argmax(1)
    return {
        "losses": (distance["losses"] / other["losses"]).tolist(),
        "predictions": float(distance["predictions"].max()),
        "mean_prediction": float(distance["predictions"].mean()),
        "weights": float(distance["weights"].max()),
        "other_labels": int(labels.sum()),
    }


def linear(options: argparse.Namespace) -> dict:
    """Time the trunk and a tail epoch for more and more images."""
    seconds = {"trunk": [], "tail": []}
    for count in COUNTS:
        train = images(options, count)
        model = classifier(32)
        phase = Phase(epochs=2, batch_size=128, learning_rate=1e-5, freeze=FROZEN)
        marks: list[float] = []
        watch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_, marks=marks: marks.append(time.perf_counter())
        )
        phase = Phase(**{**vars(phase), "callbacks": (watch,)})
        run = train_phase(model, phase, train, cache=Cache(), seed=0, verbose=False)
        seconds["trunk"].append(run.trunk.seconds)
        seconds["tail"].append(marks[1] - marks[0])
    return {"counts": COUNTS, **seconds}


def dropout(options: argparse.Namespace) -> dict:
    """Train EfficientNetB0's head with its stochastic depth on, as plain Keras does, and off."""
    with np.load(options.data) as file:
        x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    figures = {}
    for side, cache in (("on", None), ("off", Cache())):
        model = classifier(32, "efficientnet_b0", weights=None)
        norms = freezing.find_batchnorm(model)
        tlkit.training.batchnorm.reestimate(model, norms, [x[:512]])
        run = train_phase(
            model, Phase(epochs=5), (x[:5000], y[:5000]), cache=cache, seed=0, verbose=False
        )
        score = tlkit.evaluate(model, (x_test, y_test))
        figures[side] = {
            "loss": run.history["loss"][-1],
            "accuracy": run.history["accuracy"][-1],
            "test_loss": score.loss,
            "test_accuracy": score.accuracy,
        }
    return figures


def memory_of(what: str, options: argparse.Namespace) -> dict:
    """Train in this process, and return its peak memory."""
    size = 96 if "96" in what else 32
    model = classifier(size)
    model.predict(np.zeros((128, 28, 28, 1), "uint8"), verbose=0)
    before = peak()
    if what.startswith("100,000"):
        limit = 2**28 if "disk" in what else 2**31
        cache = Cache(engine=ENGINES[size], memory_limit=limit)
        run = train_phase(
            model, Phase(epochs=1), _Lazy(100_000), cache=cache, seed=0, verbose=False
        )
    elif what != "import":
        run = (
            trainer(32, (1, 1), cache=Cache(engine=ENGINES[size]))
            .fit(model, images(options, 60_000), verbose=False)
            .phases[0]
        )
    else:
        return {"before": before, "peak": before, "bytes": 0, "on_disk": False}
    return {
        "before": before,
        "peak": peak(),
        "bytes": run.trunk.num_bytes,
        "on_disk": run.trunk.on_disk,
        "images_per_second": run.trunk.num_images / run.trunk.seconds,
    }


class _Lazy(keras.utils.PyDataset):
    """So many images, made when asked for."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __len__(self) -> int:
        return self.count // 100

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(index)
        return random.integers(0, 256, (100, 28, 28, 1), "uint8"), random.integers(0, 10, 100)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process(option: str, what: str | Path, **environment: str) -> dict:
    """Run a part of this script by itself, and return what it prints last."""
    command = [sys.executable, *sys.argv, option, str(what)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return json.loads(done.stdout.splitlines()[-1])


def peers(options: argparse.Namespace) -> dict:
    """Time an epoch of each phase with other libraries, in their own environment."""
    out = options.work / "peers.out"
    script = Path(__file__).with_name("peers") / "run.py"
    command = [sys.executable, script, "--python", options.peers_python, "--out", out]
    subprocess.run(command, check=True)
    return {"results": json.loads(out.read_text())["results"]}


def multiply_adds(model: keras.Model, sample: np.ndarray) -> dict:
    """Return the multiply-adds of the trunk and of the tail, forward, for one image."""
    plan = freezing.plan(tlkit.models.backbone_of(model), FROZEN, batchnorm="frozen")
    freezing.apply(plan)
    cut = partition.find_cut(model, plan, sample[:1, ..., None])
    whole = partition.Part(cut.graph.steps, cut.graph.inputs, cut.graph.outputs, name="whole")
    known = whole.run(tf.cast(sample[:1, ..., None], "float32"), training=False)[1]
    inside = {id(step) for step in cut.trunk}
    work = {True: 0, False: 0}
    for step in cut.graph.steps:
        work[id(step) in inside] += cost.count_multiply_adds(
            step.operation, known[step.outputs[0]].shape
        )
    return {"trunk_work": sum(work.values()), "tail_work": work[False]}


def matmul_speed() -> float:
    """Return the multiply-adds a second of a large float32 matrix product."""
    side = 2048
    a = tf.random.normal((side, side))
    product = tf.function(lambda: a @ a)
    product()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        product().numpy()
        seconds.append(time.perf_counter() - started)
    return side**3 / statistics.median(seconds)


def results(options: argparse.Namespace) -> dict:
    parts = [json.loads(path.read_text()) for path in sorted(options.work.glob("*.json"))]
    found: dict = {}
    for part in parts:
        found.setdefault(part.pop("section"), {})[part.pop("name")] = part
    return found


def tables(found: dict) -> str:
    makers = {
        "speed": speed_table,
        "parity": parity_table,
        "linear": linear_table,
        "dropout": dropout_table,
        "memory": memory_table,
        "peers": peers_table,
    }
    made = [make(found[section]) for section, make in makers.items() if section in found]
    return "\n\n".join(made)


def speed_table(rounds: dict) -> str:
    lines = [
        "| | plain Keras, s | tlkit, s | times faster (each round) | engine |",
        "|---|---:|---:|---|---|",
    ]
    shares = [
        "| | trunk: share of a matrix product's speed | tail, forward and backward |",
        "|---|---:|---:|",
    ]
    for name, case in CASES.items():
        done = [part for key, part in rounds.items() if key.startswith(f"{name}-")]
        if not done:
            continue
        head, tail = EPOCHS
        what = f"{name}, {case['images']:,} images"
        plain = [head * part["plain_head_epoch"] for part in done]
        lines.append(_row(f"{what}: head, {head} epochs", plain, [p["head"] for p in done], done))
        if "both" in done[0]:
            plain = [
                total + tail * part["plain_tail_epoch"]
                for total, part in zip(plain, done, strict=True)
            ]
            both = [part["both"] for part in done]
            lines.append(_row(f"{what}: {head} + {tail} epochs", plain, both, done))
            shares.append(
                f"| {name} | {_share(done, 'trunk', case['images'], 1)} | "
                f"{_share(done, 'tail', tail * case['images'], 3)} |"
            )
    return "\n".join(lines) + "\n\n" + "\n".join(shares)


def _row(what: str, plain: list[float], ours: list[float], done: list[dict]) -> str:
    ratios = [one / other for one, other in zip(plain, ours, strict=True)]
    each = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    engine = done[0]["engine"].split("-")[0]
    return (
        f"| {what} | {statistics.median(plain):.0f} | {statistics.median(ours):.1f} | "
        f"**{statistics.median(ratios):.1f}** ({each}) | {engine} |"
    )


def _share(done: list[dict], part: str, count: int, passes: int) -> str:
    seconds = {"trunk": "trunk", "tail": "tail_phase"}[part]
    shares = [
        passes * count * each[f"{part}_work"] / each[seconds] / each["matmul"] for each in done
    ]
    return f"{100 * statistics.median(shares):.0f} %"


def parity_table(parts: dict) -> str:
    lines = [
        "| BatchNormalization, batch | side | loss of epochs 1 to 4, relative difference | "
        "largest difference of a probability (mean) | of a weight | other labels of 10,000 |",
        "|---|---|---|---:|---:|---:|",
    ]
    for name, part in parts.items():
        for side, title in SIDES.items():
            figures = part[side]
            losses = ", ".join(f"{value:.0e}" for value in figures["losses"])
            lines.append(
                f"| {name.replace('-', ', ')} | {title} | {losses} | "
                f"{figures['predictions']:.1e} ({figures['mean_prediction']:.0e}) | "
                f"{figures['weights']:.0e} | {figures['other_labels']} |"
            )
    return "\n".join(lines)


def linear_table(parts: dict) -> str:
    part = parts["all"]
    lines = [
        "| images | " + " | ".join(f"{count:,}" for count in part["counts"]) + " | slope, ms an "
        "image | R² |",
        "|---|" + "---:|" * (len(part["counts"]) + 2),
    ]
    for name in ("trunk", "tail"):
        slope, start = np.polyfit(part["counts"], part[name], 1)
        fitted = slope * np.asarray(part["counts"]) + start
        rest = np.sum((np.asarray(part[name]) - fitted) ** 2)
        whole = np.sum((np.asarray(part[name]) - np.mean(part[name])) ** 2)
        cells = " | ".join(f"{value:.1f}" for value in part[name])
        title = {"trunk": "trunk once, s", "tail": "tail epoch, batch 128, s"}[name]
        lines.append(f"| {title} | {cells} | {1000 * slope:.2f} | {1 - rest / whole:.4f} |")
    return "\n".join(lines)


def dropout_table(parts: dict) -> str:
    lines = [
        "| stochastic depth in the frozen EfficientNetB0 | training loss | accuracy | test loss | "
        "test accuracy |",
        "|---|---:|---:|---:|---:|",
    ]
    for side, title in (("on", "on: plain Keras"), ("off", "off: tlkit")):
        row = parts["efficientnet_b0"][side]
        lines.append(
            f"| {title} | {row['loss']:.3f} | {100 * row['accuracy']:.2f} % | "
            f"{row['test_loss']:.3f} | {100 * row['test_accuracy']:.2f} % |"
        )
    return "\n".join(lines)


def memory_table(parts: dict) -> str:
    lines = [
        "| images | features | where | peak before training | peak |",
        "|---|---:|---|---:|---:|",
    ]
    for name, part in parts.items():
        if part["bytes"]:
            where = "disk" if part["on_disk"] else "memory"
            cells = [f"{part[key] / 1e9:.2f} GB" for key in ("bytes", "before", "peak")]
            lines.append(f"| {name} | {cells[0]} | {where} | {cells[1]} | {cells[2]} |")
    return "\n".join(lines)


def peers_table(parts: dict) -> str:
    """Scale an epoch of each phase to the whole experiment, as plain Keras' is."""
    head, tail = EPOCHS
    lines = [
        "| 32 px, batch 32, 60,000 images, 10 + 5 epochs | head epoch of 6,000, s "
        "| tail epoch of 6,000, s | the whole, s |",
        "|---|---:|---:|---:|",
    ]
    for row in parts["32 px"]["results"]:
        seconds = row["head_seconds"], row["tail_seconds"]
        whole = 60_000 / row["images"] * (head * seconds[0] + tail * seconds[1])
        lines.append(
            f"| {row['peer']} {row['version']}, `{row['variant']}` | {seconds[0]:.1f} | "
            f"{seconds[1]:.1f} | {whole:.0f} |"
        )
    return "\n".join(lines)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="path of an mnist.npz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="sections: speed parity linear dropout memory")
    parser.add_argument("--write", action="store_true", help="write also what is incomplete")
    work = Path(tempfile.gettempdir()) / "tlkit-speed"
    parser.add_argument("--work", type=Path, default=work)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--peers-python", help="of the environment in benchmarks/peers/README.md")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--kernels-of", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
