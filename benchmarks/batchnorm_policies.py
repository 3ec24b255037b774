"""Run the whole MNIST experiment once for each BatchNormalization policy, and draw what happens.

    KERAS_HOME=../shared/keras-home python benchmarks/batchnorm_policies.py \
        --data ../shared/data/mnist.npz

The head phase is the same under every policy (the whole backbone is frozen), so it is trained
once and each policy fine-tunes a copy. Finished parts are kept in `--work` and not run again.
The figures for the docs go to `--out`, the table into `--page`.
"""

import argparse
import json
from pathlib import Path

import keras
import pages
from matplotlib.figure import Figure

import tlkit
from tlkit import training

SEED = 0
POLICIES = ("train", "frozen", "reestimate")


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing, then write the table and the figure."""
    options = _options(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    images = tlkit.datasets.mnist(options.data)
    if options.limit:
        images = images.limited(options.limit)
    head = _head(images, options.work)
    for policy in options.policies:
        _fine_tuned(images, options.work, policy)
        _fast(images, options.work, policy)
    done = {
        policy: json.loads(path.read_text())
        for policy in POLICIES
        if (path := options.work / f"{policy}.json").is_file()
    }
    if len(done) == len(POLICIES):
        swapped = _swapped(images, options.work)
        fast = {
            policy: json.loads((options.work / f"{policy}-fast.json").read_text())
            for policy in POLICIES
        }
        options.out.mkdir(parents=True, exist_ok=True)
        record = {"head": head, "statistics_swapped": swapped, "fine_tune": done, "fast": fast}
        text = json.dumps({**record, "environment": tlkit.runs.environment()}, indent=1)
        (options.out / "batchnorm_policies.json").write_text(text + "\n")
        pages.insert(options.page, table(head, swapped, done, fast))
        figure(head, done).savefig(options.out / "batchnorm_policies.png", dpi=110)
        grid = tlkit.plotting.prediction_grid(
            tlkit.load(options.work / "frozen.keras"), *images.test, count=32, columns=8, seed=SEED
        )
        grid.savefig(options.out / "predictions.png", dpi=75)


def table(head: dict, swapped: dict, done: dict[str, dict], fast: dict[str, dict]) -> str:
    """Return the test accuracy and loss after each epoch as a Markdown table."""
    last = head["epochs"][-1]
    lines = [
        f"Head phase, {len(head['epochs'])} epochs: test accuracy "
        f"{100 * last['val_accuracy']:.2f} %, loss {last['val_loss']:.3f}.",
        "",
        "The same model, nothing trained, but the statistics of layers 100 onwards recomputed on "
        f"MNIST: test accuracy {100 * swapped['accuracy']:.2f} %, loss {swapped['loss']:.3f}.",
        "",
        "| after fine-tuning epoch | "
        + " | ".join(f"`{policy}`: test accuracy | loss" for policy in done)
        + " |",
        "|---|" + "---|---|" * len(done),
    ]
    for number, rows in enumerate(zip(*(run["epochs"] for run in done.values()), strict=True), 1):
        cells = (f"{100 * row['val_accuracy']:.2f} % | {row['val_loss']:.3f}" for row in rows)
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    cells = (run["epochs"][0] for run in fast.values())
    cells = (f"{100 * row['val_accuracy']:.2f} % | {row['val_loss']:.3f}" for row in cells)
    lines.append("| one at 1e-3, batch 128, in place of the five | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(head: dict, done: dict[str, dict]) -> Figure:
    """Draw training and test accuracy over both phases, a panel for each policy."""
    drawn = Figure(figsize=(10, 3.6), layout="constrained")
    panels = drawn.subplots(1, len(done), sharey=True)
    first = len(head["epochs"])
    for panel, (policy, run) in zip(panels, done.items(), strict=True):
        epochs = head["epochs"] + run["epochs"]
        numbers = range(1, len(epochs) + 1)
        for key, label, style in [
            ("accuracy", "training, running mean", "--"),
            ("val_accuracy", "test", "-"),
        ]:
            values = [100 * row[key] for row in epochs]
            panel.plot(numbers, values, style, marker="o", markersize=3, label=label)
        panel.axvline(first + 0.5, color="0.5", linewidth=1, linestyle=":")
        last = 100 * epochs[-1]["val_accuracy"]
        panel.set_title(f'batchnorm="{policy}": {last:.1f} %', fontsize=10)
        panel.set_xlabel("epoch (head, then fine-tuning)")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy, %")
    panels[0].set_ylim(0, 100)
    panels[0].legend(loc="lower left", fontsize=8)
    return drawn


def _head(images: tlkit.datasets.ImageSet, work: Path) -> dict:
    record = work / "head.json"
    if not record.is_file():
        keras.utils.set_random_seed(SEED)
        model = tlkit.build_classifier(
            "mobilenet_v2",
            10,
            input_shape=(28, 28, 1),
            size=32,
            pixels=tlkit.backbones.UNIT,
        )
        _train(model, tlkit.Phase(epochs=10), images, "head", SEED, work)
    return json.loads(record.read_text())


def _fast(images: tlkit.datasets.ImageSet, work: Path, policy: str) -> None:
    """Fine-tune for one epoch at a learning rate that moves the weights."""
    if (work / f"{policy}-fast.json").is_file():
        return
    phase = tlkit.Phase(
        epochs=1,
        learning_rate=1e-3,
        batch_size=128,
        freeze=tlkit.freezing.first(100),
        batchnorm=policy,
    )
    _train(tlkit.load(work / "head.keras"), phase, images, f"{policy}-fast", SEED + 1, work)


def _fine_tuned(images: tlkit.datasets.ImageSet, work: Path, policy: str) -> None:
    if (work / f"{policy}.json").is_file():
        return
    phase = tlkit.Phase(
        epochs=5, learning_rate=1e-5, freeze=tlkit.freezing.first(100), batchnorm=policy
    )
    _train(tlkit.load(work / "head.keras"), phase, images, policy, SEED + 1, work)


def _swapped(images: tlkit.datasets.ImageSet, work: Path) -> dict:
    """Measure the head on the statistics that training mode uses, before any fine-tuning."""
    model = tlkit.load(work / "head.keras")
    backbone = tlkit.backbone_of(model)
    plan = tlkit.freezing.plan(backbone, tlkit.freezing.first(100), batchnorm="train")
    tlkit.freezing.apply(plan)
    batches = (pictures for pictures, _ in tlkit.data.batches(images.train, 32))
    tlkit.batchnorm.reestimate(model, plan.training_batchnorm, batches)
    result = tlkit.evaluate(model, images.test)
    return {"accuracy": result.accuracy, "loss": result.loss}


def _train(
    model: keras.Model,
    phase: tlkit.Phase,
    images: tlkit.datasets.ImageSet,
    name: str,
    seed: int,
    work: Path,
) -> None:
    encode = tlkit.data.encoded
    (x_train, y_train), (x_test, y_test) = images.train, images.test
    run = training.train_phase(
        model,
        phase,
        (x_train, encode(y_train, 10)),
        name=name,
        validation=(x_test, encode(y_test, 10)),
        seed=seed,
    )
    tlkit.save(model, work / f"{name}.keras")
    record = {"epochs": run.epochs, "seconds": run.seconds, "movement": vars(run.movement)}
    (work / f"{name}.json").write_text(json.dumps(record))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="path of mnist.npz (default: Keras downloads it)")
    parser.add_argument("--work", type=Path, default=Path("runs/batchnorm_policies"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--page", type=Path, default=Path("docs/explanation/batchnorm.md"))
    parser.add_argument("--policies", nargs="*", choices=POLICIES, default=POLICIES)
    parser.add_argument("--limit", type=int, help="use only so many training images")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
