"""A valid call of every public function, class and method; the fuzzer changes one argument."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tests.fuzz.world import NAMES, World

import tlkit

Arguments = dict[str, Any]


def _some(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).random((count, 4), dtype="float32")


def _probabilities(rows: int = 6) -> np.ndarray:
    found = np.random.default_rng(0).random((rows, 3))
    return found / found.sum(axis=1, keepdims=True)


def _images(w: World) -> np.ndarray:
    return w.arrays[0][:4]


def _batches(w: World) -> list[tuple[np.ndarray, np.ndarray]]:
    images, labels = w.arrays
    return [(images[:8], labels[:8]), (images[8:16], labels[8:16])]


def _dataset(w: World) -> Any:
    import datasets

    pictures = [image for image, _ in zip(w.arrays[0], range(6), strict=False)]
    return datasets.Dataset.from_dict(
        {"image": [each.tolist() for each in pictures], "label": list("ababab")},
        features=datasets.Features(
            {
                "image": datasets.Array3D((9, 9, 1), "uint8"),
                "label": datasets.ClassLabel(names=["a", "b"]),
            }
        ),
    )


def _save_run(w: World) -> Arguments:
    return {
        "folder": w.new(),
        "model": w.model,
        "run": w.record,
        "evaluation": w.evaluation,
        "figures": {"curve": Figure(figsize=(1, 1))},
        "about": "a model",
        "config": {"seed": 0},
    }


def _save_training(w: World) -> Arguments:
    model = tlkit.load(w.run / "model.keras")
    images = tlkit.experiments.run_images.read_split(w.run)
    record = tlkit.experiments.run_folder.load_run(w.run)
    return {
        "experiment": w.experiment,
        "folder": w.new(),
        "images": images,
        "trained": tlkit.experiments.Trained(recipe="fast", model=model, run=record, seconds=1.0),
        "evaluation": tlkit.evaluate(model, images.test),
    }


def _train(w: World) -> Arguments:
    return {"experiment": w.experiment, "split": w.photo_parts, "cache": None, "verbose": False}


def _reestimate(w: World) -> Arguments:
    model = w.fresh()
    layers = tlkit.freezing.find_batchnorm(model)
    return {"model": model, "layers": layers, "images": [_images(w)]}


def _solver() -> Arguments:
    return {"features": _some(), "labels": np.arange(6) % 3, "classes": 3}


def _mixed(w: World) -> Arguments:
    return {"labels": np.arange(6) % 3, "probabilities": _probabilities()}


def _tuning() -> Any:
    trial = tlkit.evaluation.Trial(
        name="trial 1", settings={}, losses=(0.5,), accuracies=(0.5,), parameters={"epochs": 1}
    )
    return tlkit.evaluation.Tuning(
        recipe="best",
        measure="loss",
        num_images=9,
        num_folds=1,
        defaults=trial,
        trials=(trial,),
    )


def _phase(w: World) -> Arguments:
    return {"phase": tlkit.Phase(), "model": w.fresh(), "data": w.data, "verbose": False}


def _grid(w: World) -> Arguments:
    return {"model": w.model, "data": w.data, "count": 2}


def _recipe() -> tlkit.recipes.Recipe:
    return tlkit.recipes.fast()


def _settings(**values: Any) -> Callable[[World], Arguments]:
    return lambda w: dict(values)


FUNCTIONS: dict[str, Callable[[World], Arguments]] = {
    "caching.cache.Cache": lambda w: {"folder": w.folder / "cache"},
    "caching.engines.selection.get_version": _settings(name="keras"),
    "caching.engines.selection.list_installed": _settings(),
    "caching.engines.selection.prepare": lambda w: {
        "name": "keras",
        "trunk": w.backbone,
        "sample": np.zeros((2, 16, 16, 3), "float32"),
    },
    "caching.store.Store": lambda w: {"folder": w.folder / "store"},
    "caching.usage.Usage": _settings(),
    "cli.app.main": _settings(arguments=["--help"]),
    "data.batches.one_hot": _settings(labels=np.array([0, 1]), num_classes=2),
    "data.datasets.digits": _settings(),
    "data.datasets.mnist": _settings(path="missing.npz"),
    "data.disk_images.from_batches": lambda w: {
        "batches": _batches(w),
        "class_names": NAMES,
        "folder": w.folder,
    },
    "data.duplicates.find_duplicates": lambda w: {"data": w.data},
    "data.folds.assign_folds": lambda w: {"data": w.data},
    "data.image_dataset.ImageDataset": lambda w: {
        "name": "noise",
        "images": w.arrays[0],
        "labels": w.arrays[1],
        "class_names": NAMES,
    },
    "data.image_folders.from_folder": lambda w: {"folder": w.photos, "image_size": 16},
    "data.image_folders.from_manifest": lambda w: {"manifest": w.table, "image_size": 16},
    "data.named_augmentation.create_augmentation": _settings(names=["flip"]),
    "data.sources.LoaderBatches": lambda w: {"loader": _batches(w), "channels_first": False},
    "data.sources.from_arrays": lambda w: {
        "images": w.arrays[0],
        "labels": w.arrays[1],
        "class_names": NAMES,
    },
    "data.sources.from_huggingface": lambda w: {"dataset": _dataset(w), "image_size": 9},
    "data.sources.from_loader": lambda w: {"loader": _batches(w)},
    "data.groups.find_groups": lambda w: {"data": w.data},
    "data.splits.hold_out": lambda w: {"data": w.data, "share": 0.2},
    "data.splits.split": lambda w: {"data": w.data, "duplicates": "allow", "test": 0.4},
    "data.splits.Split": lambda w: {"train": w.data, "validation": w.data, "test": w.data},
    "deployment.exporter.export": lambda w: {"model": w.model, "path": w.new(".keras")},
    "deployment.formats.backends": _settings(name="keras"),
    "deployment.formats.check_installed": _settings(name="keras"),
    "deployment.formats.get": _settings(name="keras"),
    "deployment.formats.names": _settings(),
    "deployment.predictor.Predictor": lambda w: {"path": w.exported},
    "deployment.serving.app.create_app": lambda w: {"predictor": w.exported},
    "deployment.serving.container.write_container": lambda w: {
        "path": w.exported,
        "folder": w.new(),
    },
    "deployment.serving.limits.Limits": _settings(max_images=3),
    "deployment.serving.server.serve": lambda w: {"app": None},
    "evaluation.calibration.calibrate": lambda w: {"model": w.fresh(), "data": w.data},
    "evaluation.cross_validation.cross_validate": lambda w: {
        "model": w.model,
        "data": w.data,
        "folds": 2,
    },
    "evaluation.estimates.Estimate.from_images": _settings(values=[1.0, 2.0]),
    "evaluation.estimates.Estimate.from_runs": _settings(values=np.array([[1.0, 2.0]])),
    "evaluation.estimates.Estimate.from_splits": _settings(values=[1.0, 2.0], test_share=0.2),
    "evaluation.estimates.Estimate.from_values": _settings(values=[1.0, 2.0]),
    "evaluation.estimates.Spread.from_values": _settings(values=[1.0, 2.0]),
    "evaluation.evaluator.embed": lambda w: {"model": w.model, "images": _images(w)},
    "evaluation.evaluator.evaluate": lambda w: {"model": w.model, "data": w.data},
    "evaluation.evaluator.predict": lambda w: {"model": w.model, "images": _images(w)},
    "evaluation.image_files.embed_files": lambda w: {"model": w.saved_model, "files": w.photos},
    "evaluation.image_files.predict_files": lambda w: {"model": w.saved_model, "files": w.photos},
    "evaluation.label_audit.audit": lambda w: {"model": w.model, "data": w.data, "num_folds": 2},
    "evaluation.metrics.compute_metrics": lambda w: {**_mixed(w), "class_names": NAMES},
    "evaluation.ood.fit_ood": lambda w: {"model": w.fresh(), "data": w.data},
    "evaluation.ood.ood_scores": lambda w: {"model": w.scored, "images": _images(w)},
    "evaluation.prediction_sets.predict_sets": lambda w: {
        "model": w.calibrated,
        "images": _images(w),
        "coverage": 0.5,
    },
    "evaluation.probing.backbone_search.probe_backbones": lambda w: {
        "backbones": [tlkit.evaluation.BackboneCandidate(backbone=w.backbone, pixels=(0, 1))],
        "data": w.data,
    },
    "evaluation.probing.candidates.BackboneCandidate": _settings(backbone="mobilenet_v2"),
    "evaluation.probing.linear_probe.probe": lambda w: {"model": w.model, "data": w.data},
    "evaluation.probing.linear_probe.select_features": lambda w: {"data": w.data},
    "evaluation.reliability.calibration_curve": _mixed,
    "evaluation.reliability.calibration_error": _mixed,
    "evaluation.significance.compare_correct": lambda w: {
        "first": w.evaluation.correct,
        "second": w.evaluation.correct,
    },
    "evaluation.significance.mcnemar": lambda w: {"first": w.evaluation, "second": w.evaluation},
    "experiments.array_report.describe_training": lambda w: {
        "recipe": _recipe(),
        "parts": replace(w.parts, test=w.data),
        "trained": tlkit.experiments.Trained(
            recipe="fast", model=w.model, run=w.record, seconds=1.0
        ),
        "evaluation": w.evaluation,
        **{"weights": None, "command": "", "seed": 0},
    },
    "experiments.backbone_choice.candidates": lambda w: {"experiment": w.experiment},
    "experiments.backbone_choice.prepare": lambda w: {"experiment": w.experiment},
    "experiments.tuner.tune": lambda w: {
        "data": w.data,
        "trials": 1,
        "folds": 2,
        "backbone": w.backbone,
        "space": tlkit.experiments.TuningSpace(epochs=(1,), max_layers=(1,)),
        "image_size": 16,
        "cache": None,
        "on_message": lambda message: None,
    },
    "experiments.recipes.for_experiment": lambda w: {"experiment": w.experiment},
    "experiments.tuning_space.TuningSpace": lambda w: {"epochs": (1,)},
    "experiments.comparison.compare": lambda w: {
        "recipes": [tlkit.recipes.fast(backbone=w.backbone)],
        "data": w.parts,
        "seeds": 2,
        "image_size": 16,
        "verbose": False,
    },
    "experiments.demo.create_demo": lambda w: {"model": w.exported, "flags": None},
    "experiments.demo.serve_demo": lambda w: {"page": None},
    "experiments.experiment.Experiment": lambda w: {"data": str(w.photos)},
    "experiments.exported.evaluate_exported": lambda w: {"model": w.exported, "data": w.data},
    "experiments.exported.is_exported": lambda w: {"model": w.exported},
    "experiments.exported.load_exported": lambda w: {"model": w.exported},
    "experiments.exported.load_images_for": lambda w: {"model": w.run, "data": str(w.photos)},
    "experiments.exporting.export_run": lambda w: {
        "run": w.run,
        "format": "keras",
        "out": w.new(".keras"),
    },
    "experiments.run_comparison.compare_runs": lambda w: {
        "models": [w.run, w.exported],
        "data": str(w.photos),
    },
    "experiments.folds.describe": lambda w: {"experiment": w.experiment, "data": w.listed},
    "experiments.loading.describe_backbone": lambda w: {"experiment": w.experiment},
    "experiments.loading.image_size_of": lambda w: {"experiment": w.experiment},
    "experiments.classifiers.load_classifier": lambda w: {"model": w.run},
    "experiments.loading.load_images": lambda w: {"experiment": w.experiment},
    "evaluation.prediction_sets.find_coverage_range": _settings(num_calibrated=20, coverage=0.9),
    "experiments.loading.load_split": lambda w: {"experiment": w.experiment},
    "experiments.loading.resolve": lambda w: {"experiment": w.experiment},
    "experiments.own_training.save_training": _save_training,
    "experiments.loading.split_images": lambda w: {
        "experiment": w.experiment,
        "dataset": w.listed,
    },
    "experiments.loading.take_test_images": lambda w: {"dataset": w.data},
    "experiments.recipe.Recipe": lambda w: dict(vars(_recipe())),
    "experiments.recipes.best": _settings(epochs=1),
    "experiments.recipes.fast": _settings(backbone="mobilenet_v2"),
    "experiments.recipes.few_images": _settings(epochs=(1, 1)),
    "experiments.recipes.get": _settings(name="fast"),
    "experiments.recipes.mnist_as_described": _settings(epochs=(1, 1)),
    "experiments.recipes.names": _settings(),
    "experiments.recipes.tutorial": _settings(epochs=(1, 1)),
    "experiments.reporting.plan": lambda w: {"source": w.data, "parts": w.parts},
    "experiments.reporting.report": lambda w: {"folder": w.run},
    "experiments.run_folder.environment": _settings(),
    "experiments.run_folder.load_run": lambda w: {"folder": w.run},
    "experiments.run_folder.require_empty": lambda w: {"folder": w.new()},
    "experiments.run_folder.save_run": _save_run,
    "experiments.runner.run": lambda w: {
        "experiment": w.experiment,
        "folder": w.new(),
        "cache": None,
    },
    "experiments.experiment_training.train": _train,
    "experiments.served_file.find_served_file": lambda w: {"model": w.exported},
    "experiments.sharing.pull": lambda w: {"repo": "no such repo", "folder": w.new()},
    "experiments.sharing.push": lambda w: {"run": w.run, "repo": "no such repo"},
    "experiments.space.write_space": lambda w: {"model": w.exported, "folder": w.new()},
    "experiments.tables.write_features": lambda w: {
        "model": w.saved_model,
        "files": w.photos,
        "out": w.new(".npz"),
    },
    "experiments.tables.write_predictions": lambda w: {
        "model": w.calibrated,
        "files": w.photos,
        "csv": w.new(".csv"),
    },
    "models.backbones.check_data_format": _settings(),
    "models.backbones.create": _settings(name="mobilenet_v2", weights="starter", image_size=32),
    "models.backbones.describe": _settings(name="mobilenet_v2"),
    "models.backbones.get": _settings(name="mobilenet_v2"),
    "models.backbones.names": _settings(),
    "models.backbones.open_backbone": _settings(
        name="mobilenet_v2", weights="starter", image_size=32
    ),
    "models.builder.build_classifier": lambda w: {
        "backbone": w.backbone,
        "num_classes": 3,
        "pixels": (0, 1),
        "input_shape": (9, 9, 1),
    },
    "models.freezing.all_but": _settings(select=tlkit.freezing.first(1)),
    "models.freezing.apply": lambda w: {
        "plan": tlkit.freezing.plan(w.backbone, tlkit.freezing.nothing)
    },
    "models.freezing.everything": lambda w: {"backbone": w.backbone},
    "models.freezing.find_batchnorm": lambda w: {"layer": w.backbone},
    "models.freezing.first": _settings(count=1),
    "models.freezing.first_blocks": _settings(count=1),
    "models.freezing.first_fraction": _settings(fraction=0.5),
    "models.freezing.last": _settings(count=1),
    "models.freezing.matching": _settings(pattern="a*"),
    "models.freezing.nothing": lambda w: {"backbone": w.backbone},
    "models.freezing.plan": lambda w: {
        "backbone": w.backbone,
        "select": tlkit.freezing.first(1),
    },
    "models.freezing.to_block_end": _settings(select=tlkit.freezing.first(1)),
    "models.inspection.backbone_of": lambda w: {"model": w.model},
    "models.inspection.class_names": lambda w: {"model": w.model},
    "models.inspection.is_multi_label": lambda w: {"model": w.model},
    "models.inspection.thresholds": lambda w: {"model": w.multi},
    "models.layers.ClassProbabilities": _settings(class_names=("a", "b")),
    "models.layers.GrayToRGBResize": _settings(size=8),
    "models.pixels.PixelFormat": _settings(range=(0, 1)),
    "models.saving.load": lambda w: {"path": w.saved},
    "models.saving.save": lambda w: {"model": w.model, "path": w.new(".keras")},
    "models.starter.card": _settings(),
    "models.starter.complete_options": _settings(backbone="mobilenet_v2", options={}),
    "models.starter.load_weights": lambda w: {"backbone": w.backbone},
    "plotting.backbones.backbone_chart": lambda w: {"search": w.search},
    "plotting.charts.class_metrics": lambda w: {"evaluation": w.evaluation},
    "plotting.charts.confusion_matrix": lambda w: {"evaluation": w.evaluation},
    "plotting.curves.learning_curves": lambda w: {"run": w.record},
    "plotting.charts.ood_histogram": _settings(held_out=np.arange(9.0), tested=np.arange(9.0)),
    "plotting.charts.probe_curves": lambda w: {"probe": w.probe},
    "plotting.tuning.tuning_chart": lambda w: {"tuning": _tuning()},
    "plotting.charts.reliability_diagram": lambda w: {"evaluation": w.evaluation},
    "plotting.feature_maps.feature_map": lambda w: {"model": w.model, "data": w.data},
    "plotting.image_grids.audit_grid": lambda w: {"audit": w.audit, "data": w.data},
    "plotting.image_grids.prediction_grid": _grid,
    "plotting.portfolio.portfolio_picture": lambda w: {
        "model": w.model,
        "data": w.data,
        "evaluation": w.evaluation,
        **{"title": "Letters", "task": "Tells letters apart.", "numbers": {"accuracy": "50 %"}},
    },
    "plotting.saliency.grad_cam": lambda w: {"model": w.model, "images": _images(w)},
    "plotting.saliency.grad_cam_grid": _grid,
    "reports.facts.model_facts": lambda w: {"model": w.model},
    "reports.facts.phase_facts": lambda w: {
        "run": w.phase_run,
        "plan": tlkit.freezing.plan(w.backbone, tlkit.freezing.everything),
    },
    "reports.phase_settings.describe_settings": lambda w: {
        "phase": tlkit.Phase(),
        "plan": tlkit.freezing.plan(w.backbone, tlkit.freezing.everything),
    },
    "reports.render.card": lambda w: {"facts": w.facts},
    "reports.render.html": lambda w: {"facts": w.facts},
    "reports.render.markdown": lambda w: {"facts": w.facts},
    "reports.render.summary": lambda w: {"facts": w.facts},
    "reports.render.write": lambda w: {"folder": w.new(), "facts": w.facts},
    "training.batchnorm.reestimate": _reestimate,
    "training.lr_finder.find_learning_rate": lambda w: {
        "model": w.fresh(),
        "phase": tlkit.Phase(),
        "data": w.data,
        "steps": 4,
    },
    "training.phase.Phase": _settings(epochs=1),
    "training.phase.SolvedHead": _settings(solver="ridge"),
    "training.phase.plan_freezing": lambda w: {"model": w.model, "phase": tlkit.Phase()},
    "training.trackers.tracker": lambda w: {"name": "tensorboard", "folder": w.new()},
    "training.trainer.TwoPhaseTrainer": _settings(head=tlkit.Phase()),
    "training.trainer.train_phase": _phase,
}
"""Arguments of a valid call by the function's path without "tlkit."."""


METHODS: dict[str, tuple[Callable[[World], Any], Callable[[World], Arguments]]] = {
    "ImageDataset.take": (lambda w: w.data, _settings(index=[0])),
    "ImageDataset.at_size": (lambda w: w.listed, _settings(image_size=8)),
    "ImageDataset.reorder": (lambda w: w.data, _settings(class_names=NAMES)),
    "ImageDataset.name_image": (lambda w: w.listed, _settings(index=0)),
    "LazyImages.take": (lambda w: w.listed.images, _settings(index=[0])),
    "LazyImages.resize": (lambda w: w.listed.images, _settings(size=(8, 8))),
    "LazyImages.checked_by": (lambda w: w.listed.images, _settings(check=len)),
    "Split.limited": (lambda w: w.parts, _settings(count=3)),
    "Phase.weigh_classes": (lambda w: tlkit.Phase(), _settings(num_classes=3)),
    "Phase.create_optimizer": (lambda w: tlkit.Phase(), _settings(steps=3)),
    "SolvedHead.weigh_classes": (lambda w: tlkit.SolvedHead(), _settings(num_classes=3)),
    "TwoPhaseTrainer.fit": (
        lambda w: tlkit.TwoPhaseTrainer(head=tlkit.Phase()),
        lambda w: {"model": w.fresh(), "data": w.data, "verbose": False},
    ),
    "Store.prune": (lambda w: w.store, _settings(older_than_days=1)),
    "Store.key": (lambda w: w.store, _settings(facts={"a": 1})),
    "Store.entry": (lambda w: w.store, _settings(facts={"a": 1})),
    "Store.wider_entries": (lambda w: w.store, _settings(facts={"a": 1})),
    "Store.entries": (lambda w: w.store, _settings()),
    "Predictor.predict": (lambda w: w.predictor, lambda w: {"images": _images(w)}),
    "Predictor.run": (lambda w: w.predictor, lambda w: {"images": _images(w)}),
    "Predictor.to_predictions": (lambda w: w.predictor, lambda w: {"rows": _probabilities()}),
    "Prediction.top": (lambda w: w.prediction, _settings(count=1)),
    "Prediction.to_dict": (lambda w: w.prediction, _settings(top=1)),
    "Evaluation.most_confused": (lambda w: w.evaluation, _settings(count=1)),
    "Evaluation.weakest": (lambda w: w.evaluation, _settings(count=1)),
    "Recipe.augment": (lambda w: tlkit.recipes.best(), _settings(layers=())),
    "Recipe.build": (
        lambda w: tlkit.recipes.fast(),
        lambda w: {"data": w.listed, "weights": "starter", "image_size": 32},
    ),
    "Recipe.trainer": (lambda w: tlkit.recipes.fast(), _settings(seed=0)),
    "Recipe.cached_bytes": (
        lambda w: tlkit.recipes.fast(),
        lambda w: {"model": w.model, "data": w.data},
    ),
    "Recipe.train": (
        lambda w: tlkit.recipes.fast(),
        lambda w: {
            "data": w.listed,
            "weights": "starter",
            "image_size": 32,
            "cache": None,
            "verbose": False,
        },
    ),
    "Experiment.from_dict": (
        lambda w: tlkit.experiments.Experiment,
        _settings(values={"data": "x"}),
    ),
    "BackboneCandidate.parse": (
        lambda w: tlkit.evaluation.BackboneCandidate,
        _settings(text="mobilenet_v2"),
    ),
}
"""An object, and arguments of a valid call, by class and method."""

BLOCKING = {"deployment.serving.server.serve", "experiments.demo.serve_demo"}
"""Functions that don't end: only values of wrong types are tried."""

REFUSED = {
    "deployment.serving.container.write_container",
    "experiments.sharing.pull",
    "experiments.sharing.push",
}
"""Calls that are refused in any case: they need the network, or a format of an extra."""

SLOW = {"deployment.exporter.export", "experiments.exporting.export_run", "experiments.runner.run"}
"""Functions that take seconds if all is right."""

HINTS: dict[tuple[str, str], Any] = {
    **{
        ("experiments.experiment.Experiment", name): str | Path
        for name in ("backbone", "data", "weights")
    },
    **{
        ("experiments.experiment.Experiment", name): str | Path | None
        for name in ("test_data", "validation_data")
    },
    ("experiments.experiment.Experiment", "add"): str | Path | Sequence[str],
    ("experiments.experiment.Experiment", "pixels"): str | Sequence[Any],
}
"""What is accepted besides the hint, and then kept as what that says."""

KERAS_LAYERS = {"models.layers.ClassProbabilities", "models.layers.GrayToRGBResize"}
"""Layers, whose arguments Keras walks through before their own code sees them."""

ENDLESS = {"epochs", "views", "steps", "seeds", "num_folds", "folds", "count"}
"""Arguments whose largest values are right, and would take for ever."""

INTERNAL = {
    "experiments.loading.is_of_tables": "a step of `load_images`",
    "experiments.loading.load_used": "a step of `run`",
    "training.solvers.choose_solver": "a step of `SolvedHead`",
    "caching.engines.selection.Engine": "made by `prepare`",
    "caching.store.EntryInfo": "made by `Store.entries`",
    "data.lazy_images.LazyImages": "made by `from_folder`",
    "distributed.extraction.extract": "starts a cluster, of an extra",
    "distributed.feature_set.open_features": "reads what a cluster wrote",
    "distributed.fine_tuning.fine_tune": "starts a cluster, of an extra",
    "distributed.head.solve_head": "starts a cluster, of an extra",
    "experiments.backbone_choice.end_recipe": "a step of `run`",
    "experiments.backbone_choice.search": "`probe_backbones` with an experiment's settings",
    "experiments.backbone_choice.take_recommended": "a step of `run`",
    "experiments.folds.evaluate_folds": "a step of `run`",
    "experiments.folds.load": "a step of `report`",
    "experiments.folds.to_files": "a step of `run`",
    "experiments.classifiers.settings_for": "a step of `load_classifier`",
    "experiments.checksums.verify_run": "a step of `load_run`",
    "experiments.classifiers.find_classifier": "a step of `load_classifier`",
    "experiments.classifiers.load_model": "a step of `load_classifier`",
    "experiments.run_state.Claim": "made by `claim`",
    "experiments.run_state.check_folder": "a step of `run`",
    "experiments.run_state.claim": "a step of `run`",
    "models.applications.BackboneSpec": "a row of a table",
    "models.backbone_source.BackboneSource": "made by `describe`",
    "models.freezing.FreezePlan": "made by `plan`",
    "models.freezing.PlannedLayer": "made by `plan`",
    "training.batchnorm.ReestimateBatchNorm": "made by a phase",
    "experiments.classifiers.read_settings": "a step of `load_classifier`",
    "experiments.run_folder.is_fine_tuned": "a step of `audit`",
    "experiments.run_images.find_unlisted": "a step of `export_run`",
    "experiments.run_images.load_test_images": "a step of `create_demo`",
    "experiments.run_images.read_split": "a step of `export_run`",
    "experiments.run_images.take_held_out": "a step of `export_run`",
    "experiments.run_images.take_part": "a step of `evaluate`",
    "experiments.split_csv.count_trained": "a step of `evaluate`",
    "experiments.split_csv.find": "a step of `evaluate`",
    "experiments.split_csv.list_part": "a step of `evaluate`",
    "experiments.split_csv.format_rows": "a step of `run`",
    "experiments.split_csv.format_split": "a step of `run`",
    "experiments.split_csv.list_digests": "a step of `evaluate`",
    "experiments.split_csv.load_split": "a step of `report`",
    "experiments.split_csv.match_rows": "a step of `report`",
    "training.devices.use_devices": "shares JAX's devices for the whole process",
    "training.solvers.ridge": "a step of `SolvedHead`",
    "training.solvers.score": "a step of `SolvedHead`",
    "training.solvers.solve_ridge": "a step of `SolvedHead`",
    "training.solvers.sum_moments": "a step of `SolvedHead`",
}
"""What users have no reason to call, and why."""

RESULTS = {
    "caching.cache.TrunkRun",
    "data.duplicates.DuplicatePair",
    "data.image_dataset.Problem",
    "distributed.feature_set.FeatureSet",
    "distributed.feature_set.WorkerUse",
    "deployment.exporter.Export",
    "deployment.metadata.Metadata",
    "deployment.predictor.Prediction",
    "deployment.predictor.Predictions",
    "deployment.proof.Proof",
    "evaluation.calibration.Calibration",
    "evaluation.cross_validation.CrossValidation",
    "evaluation.estimates.Estimate",
    "evaluation.estimates.Spread",
    "evaluation.image_files.FileFeatures",
    "evaluation.image_files.FilePrediction",
    "evaluation.label_audit.Audit",
    "evaluation.label_audit.Outlier",
    "evaluation.label_audit.Suspect",
    "evaluation.class_metrics.ClassMetrics",
    "evaluation.class_metrics.ConfusedPair",
    "evaluation.metrics.Evaluation",
    "evaluation.ood.OODFit",
    "evaluation.probing.result.Probe",
    "evaluation.probing.result.ProbedLayer",
    "evaluation.probing.search_result.BackboneSearch",
    "evaluation.probing.search_result.LeftOutBackbone",
    "evaluation.probing.search_result.ProbedBackbone",
    "evaluation.reliability.CalibrationBin",
    "evaluation.significance.McNemar",
    "evaluation.tuning.Trial",
    "evaluation.tuning.Tuning",
    "experiments.additions.Addition",
    "experiments.additions.Additions",
    "experiments.compared_recipes.ComparedRecipe",
    "experiments.compared_recipes.Comparison",
    "experiments.run_comparison.ComparedRun",
    "experiments.run_comparison.RunComparison",
    "experiments.checksums.VerifiedRun",
    "experiments.trained.Trained",
    "experiments.result.ExperimentResult",
    "experiments.sharing.Push",
    "experiments.tables.WrittenTables",
    "reports.facts.ModelFacts",
    "reports.facts.PhaseFacts",
    "reports.facts.ReportFacts",
    "training.lr_finder.LearningRates",
    "training.records.PhaseRun",
    "training.records.Run",
    "training.verification.Movement",
}
"""Values that functions return; nobody needs to make them, and they take anything."""

HEAVY = {
    "TwoPhaseTrainer.fit",
    "Recipe.build",
    "Recipe.train",
    "caching.engines.selection.prepare",
    "deployment.exporter.export",
    "deployment.serving.app.create_app",
    "evaluation.calibration.calibrate",
    "evaluation.cross_validation.cross_validate",
    "evaluation.label_audit.audit",
    "evaluation.ood.fit_ood",
    "evaluation.probing.backbone_search.probe_backbones",
    "evaluation.probing.linear_probe.probe",
    "experiments.array_report.describe_training",
    "experiments.comparison.compare",
    "experiments.own_training.save_training",
    "experiments.tuner.tune",
    "experiments.demo.create_demo",
    "experiments.exporting.export_run",
    "experiments.reporting.report",
    "experiments.run_folder.save_run",
    "experiments.runner.run",
    "experiments.experiment_training.train",
    "experiments.space.write_space",
    "models.backbones.create",
    "models.backbones.open_backbone",
    "plotting.feature_maps.feature_map",
    "plotting.image_grids.audit_grid",
    "plotting.image_grids.prediction_grid",
    "plotting.portfolio.portfolio_picture",
    "plotting.saliency.grad_cam_grid",
    "training.lr_finder.find_learning_rate",
    "training.trainer.train_phase",
}
"""Calls that take a second or more: CI tries those values only that are refused at the start."""

OWN = {
    "BackboneSearch.from_dict",
    "ClassMetrics.from_dict",
    "Evaluation.from_dict",
    "BackboneSearch.note",
    "BackboneSearch.percent",
    "BackboneSpec.weights_for",
    "ClassProbabilities.build",
    "ClassProbabilities.call",
    "ClassProbabilities.compute_output_shape",
    "ClassProbabilities.load_own_variables",
    "ClassProbabilities.save_own_variables",
    "Estimate.format",
    "Spread.format",
    "GrayToRGBResize.call",
    "GrayToRGBResize.compute_output_shape",
    "Phase.freeze",
    "PhaseRun.from_dict",
    "ReportFacts.total",
    "Trial.from_dict",
    "Tuning.from_dict",
    "Tuning.gain",
    "TlkitError.rename_arguments",
    "TlkitError.render",
    "Usage.add",
    "Usage.add_computed",
}
"""Methods that Keras, reports and tlkit itself call."""
