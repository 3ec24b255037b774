"""Run the whole MNIST experiment with each BatchNormalization policy, and draw what happens.

    python benchmarks/batchnorm_policies.py --data path/to/mnist.npz

The head phase is the same under every policy (the whole backbone is frozen), so it is trained
once and each policy fine-tunes a copy. Finished parts are kept in `--work` and not run again.
The curves and the table are those of the first seed; what all seeds come to stands below it. The
figures for the docs go to `--out`, the table into `--page`.
"""

import argparse
import json
from pathlib import Path

import keras
import pages
import recipes
from matplotlib.figure import Figure

import tlkit
from tlkit.training import trainer

POLICIES = ("train", "frozen", "reestimate")
QUICK = {policy: {"batchnorm": policy} for policy in POLICIES}
QUICK["eased"] = {"batchnorm": "frozen", "schedule": "cosine", "warmup": 0.2}


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing, then write the table and the figure."""
    options = _options(arguments)
    images = tlkit.datasets.mnist(options.data)
    if options.limit:
        images = images.limited(options.limit)
    runs = [_measured(images, options.work / f"seed-{seed}", seed) for seed in range(options.seeds)]
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"seeds": runs, "environment": tlkit.experiments.run_folder.environment()}
    text = json.dumps(record, indent=1)
    (options.out / "batchnorm_policies.json").write_text(text + "\n")
    pages.insert(options.page, table(runs))
    figure(runs[0]).savefig(options.out / "batchnorm_policies.png", dpi=110)
    grid = tlkit.plotting.prediction_grid(
        tlkit.load(options.work / "seed-0" / "frozen.keras"),
        images.test,
        count=32,
        columns=8,
        seed=0,
    )
    grid.savefig(options.out / "predictions.png", dpi=75)


def _measured(images: tlkit.data.Split, work: Path, seed: int) -> dict:
    work.mkdir(parents=True, exist_ok=True)
    head = _head(images, work, seed)
    start = work / "head.keras"
    five = {"epochs": 5, "learning_rate": 1e-5}
    one = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 128}
    return {
        "head": head,
        "statistics_swapped": _swapped(images, work),
        "fine_tune": {
            policy: _tuned(images, start, policy, seed + 1, {**five, "batchnorm": policy})
            for policy in POLICIES
        },
        "fast": {
            name: _tuned(images, start, f"{name}-fast", seed + 1, {**one, **more})
            for name, more in QUICK.items()
        },
    }


def table(runs: list[dict]) -> str:
    """Return the test accuracy and loss after each epoch as a Markdown table."""
    head, swapped, done, fast = (
        runs[0][key] for key in ("head", "statistics_swapped", "fine_tune", "fast")
    )
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
    cells = (fast[policy]["epochs"][0] for policy in POLICIES)
    cells = (f"{100 * row['val_accuracy']:.2f} % | {row['val_loss']:.3f}" for row in cells)
    lines.append("| one at 1e-3, batch 128, in place of the five | " + " | ".join(cells) + " |")
    lines += ["", *_over_seeds(runs)]
    return "\n".join(lines) + "\n"


def _over_seeds(runs: list[dict]) -> list[str]:
    """Return the last test accuracies of all seeds, each mean with its interval."""
    five = {policy: [run["fine_tune"][policy] for run in runs] for policy in POLICIES}
    one = {name: [run["fast"][name] for run in runs] for name in QUICK}

    def said(parts: dict[str, list[dict]], names: dict[str, str]) -> str:
        return ", ".join(
            f"{names[name]} "
            + recipes.interval([100 * run["epochs"][-1]["val_accuracy"] for run in each])
            for name, each in parts.items()
        )

    names = {policy: f"`{policy}`" for policy in POLICIES}
    eased = {**names, "eased": "`frozen` with a warm-up of a fifth of an epoch and a cosine"}
    return [
        f"Over {len(runs)} seeds, test accuracy in % with 95 % intervals: after the five epochs "
        f"{said(five, names)}; after the one at 1e-3 {said(one, eased)}."
    ]


def figure(run: dict) -> Figure:
    """Draw training and test accuracy over both phases, a panel for each policy."""
    head, done = run["head"], run["fine_tune"]
    drawn = Figure(figsize=(10, 3.6), layout="constrained")
    panels = drawn.subplots(1, len(done), sharey=True)
    first = len(head["epochs"])
    for panel, (policy, tuned) in zip(panels, done.items(), strict=True):
        epochs = head["epochs"] + tuned["epochs"]
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


def _head(images: tlkit.data.Split, work: Path, seed: int) -> dict:
    if not (work / "head.json").is_file():
        keras.utils.set_random_seed(seed)
        model = tlkit.build_classifier(
            "mobilenet_v2",
            10,
            input_shape=(28, 28, 1),
            image_size=32,
            pixels=tlkit.models.backbones.UNIT,
        )
        _train(model, tlkit.Phase(epochs=10), images, work / "head.json", seed)
    return json.loads((work / "head.json").read_text())


def _tuned(images: tlkit.data.Split, start: Path, name: str, seed: int, settings: dict) -> dict:
    """Fine-tune a copy of the head phase's model, or read what was kept of it."""
    record = start.parent / f"{name}.json"
    if not record.is_file():
        phase = tlkit.Phase(freeze=tlkit.freezing.first(100), **settings)
        _train(tlkit.load(start), phase, images, record, seed)
    return json.loads(record.read_text())


def _swapped(images: tlkit.data.Split, work: Path) -> dict:
    """Measure the head on the statistics that training mode uses, before any fine-tuning."""
    kept = work / "swapped.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    model = tlkit.load(work / "head.keras")
    backbone = tlkit.models.backbone_of(model)
    plan = tlkit.freezing.plan(backbone, tlkit.freezing.first(100), batchnorm="train")
    tlkit.freezing.apply(plan)
    pictures = images.train.images
    batches = (pictures[at : at + 32] for at in range(0, len(pictures), 32))
    tlkit.training.batchnorm.reestimate(model, plan.training_batchnorm, batches)
    result = tlkit.evaluate(model, images.test)
    kept.write_text(json.dumps({"accuracy": result.accuracy, "loss": result.loss}))
    return json.loads(kept.read_text())


def _train(
    model: keras.Model,
    phase: tlkit.Phase,
    images: tlkit.data.Split,
    record: Path,
    seed: int,
) -> None:
    train, test = (
        (part.images, tlkit.data.one_hot(part.labels, 10)) for part in (images.train, images.test)
    )
    run = trainer.train_phase(
        model,
        phase,
        train,
        name=record.stem,
        validation_data=test,
        seed=seed,
    )
    tlkit.save(model, record.with_suffix(".keras"))
    epochs = [
        dict(zip(run.history, values, strict=True))
        for values in zip(*run.history.values(), strict=True)
    ]
    found = {"epochs": epochs, "seconds": run.seconds, "movement": vars(run.movement)}
    record.write_text(json.dumps(found))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="path of mnist.npz (default: Keras downloads it)")
    parser.add_argument("--work", type=Path, default=Path("runs/batchnorm_policies"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--page", type=Path, default=Path("docs/explanation/batchnorm.md"))
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--limit", type=int, help="use only so many training images")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
