"""The command `tlkit tune`: choose the settings of a recipe by folds of the training images."""

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts.help import DefaultFormatter, HelpPanel
from rich.console import Console, ConsoleOptions

import tlkit
from tlkit._internal.files import replace_atomically
from tlkit._internal.text import duration, plural
from tlkit.cli import checks
from tlkit.cli.options import DEFAULT_OUTPUT, Output, Settings, UseCache, save_figure
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.one_machine import require_one_machine

if TYPE_CHECKING:
    from tlkit.evaluation import Tuning

_FOLDS = 3
_TUNED = ("fast", "best", "few_images")  # "fast", the default of all commands, stands for "best"
_HELP: dict[str, dict[str, Any]] = {
    "--recipe": {
        "description": "The recipe to tune.",
        "choices": ("best", "few_images"),
        "default": "best",
    },
    "--folds": {
        "description": "Into how many folds the training images are divided.",
        "default": str(_FOLDS),
    },
    "--budget": {"description": "Maximum minutes of all trials; unlimited by default."},
}
"""What the help says of options that mean something else here than in `tlkit train`."""

_REFUSED = ("--recipe-options", "--backbones", "--image-sizes", "--max-ms", "--max-mb")
"""Options of `tlkit train` that the help leaves out: they set, or choose, what trials try."""

_LONGER = 2  # times as long as the defaults: trials may have more epochs, and freeze fewer layers


class TuneHelp(DefaultFormatter):
    """Shows the help of `tlkit tune`."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Show a panel of the help, with this command's own words."""
        entries = [
            each.copy(**_HELP.get("".join(each.positive_names), {}))
            for each in panel.entries
            if not {*each.positive_names} & {*_REFUSED}
        ]
        super().__call__(console, options, panel.copy(entries=entries))


def tune(
    experiment: Settings,
    *,
    out: Path,
    trials: int = 20,
    measure: Literal["loss", "accuracy"] = "loss",
    cache: UseCache = True,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Choose the settings of a recipe by folds of the training images (extra: optuna).

    --augment is tried with and without. Test images are not used.
    The best settings are written to tuned.json, for `tlkit train --config`.
    The same command goes on with its trials.

    Args:
        out: The folder for the trials, tuned.json, tuning.json and tuning.png.
        trials: Number of trials in all.
        measure: What to optimise, the mean over the folds.
        cache: Take features from those of earlier commands, and store them for later ones.
    """
    require_one_machine(experiment, "`tlkit tune`")
    _check(experiment)
    checks.check_experiment(experiment)
    loading = tlkit.experiments.loading
    resolved = loading.resolve(replace(experiment, folds=0), output.print)
    split = loading.split_images(resolved, loading.load_images(resolved))
    output.print(
        f"tuning on {len(split.train):,} training images; {len(split.test):,} test images are not "
        "used"
    )
    names = experiment.augment
    found = tlkit.experiments.tune(
        split.train,
        recipe=_recipe_of(experiment),
        space=tlkit.experiments.TuningSpace(augment=((), names) if names else ((),)),
        trials=trials,
        budget=experiment.budget,
        folds=experiment.folds or _FOLDS,
        measure=measure,
        folder=out,
        backbone=resolved.backbone,
        image_size=loading.image_size_of(resolved),
        weights=resolved.weights,
        backbone_options=resolved.backbone_options,
        pixels=resolved.pixel_format,
        num_prefix_tokens=resolved.num_prefix_tokens,
        seed=resolved.seed,
        cache=tlkit.Cache(folder="auto" if cache else None),
        on_message=output.print,
        verbose=not output.json,
    )
    return _write(found, experiment, out, output, trials=trials)


def _check(experiment: Experiment) -> None:
    if experiment.recipe not in _TUNED:
        raise ConfigError(
            Argument("recipe"), f" must be best or few_images to be tuned, got {experiment.recipe}."
        )
    if experiment.recipe_options:
        raise ConfigError(Argument("recipe_options"), " must be left out: they are tuned.")
    if experiment.is_search:
        raise ConfigError(
            Argument("backbones"),
            ", image sizes and limits can't be tuned: they choose a backbone. Choose one by "
            "`tlkit probe` first.",
        )


def _recipe_of(experiment: Experiment) -> Literal["best", "few_images"]:
    return "few_images" if experiment.recipe == "few_images" else "best"


def _write(
    found: "Tuning", experiment: Experiment, out: Path, output: Output, *, trials: int
) -> dict[str, Any]:
    """Write what was found and what to train with, print it, and return it for JSON."""
    output.print(found)
    values = found.to_dict()
    _write_json(values, out / "tuning.json")
    written = [out / "tuning.json"]
    if any(each.is_complete for each in found.trials):
        save_figure(tlkit.plotting.tuning_chart(found), out / "tuning.png")
        written.append(out / "tuning.png")
    if found.trials and found.best.is_complete:
        _write_json(_tuned(found, experiment).to_dict(), out / "tuned.json")
        written.append(out / "tuned.json")
    output.print(f"wrote {', '.join(map(str, written))}")
    if not found.trials:
        output.print(_explain_no_trial(found, trials))
    elif found.best.is_complete:
        config = shlex.quote(str(out / "tuned.json"))
        output.print(
            f"train with the best settings: tlkit train --config {config} --out runs/tuned"
        )
    return values


def _explain_no_trial(found: "Tuning", trials: int) -> str:
    """Return why nothing was tried but what trials are compared with, and what to do.

    The head alone takes a small part of the time of a trial, so that only the defaults, or the time
    that was spent on what was not finished, tell how long a trial may take.
    """
    known = [each.seconds for each in found.compared if each.is_complete]
    unfinished = max(found.seconds - sum(known), 0.0)
    is_compared = found.defaults.is_complete
    longest = _LONGER * max(unfinished, found.defaults.seconds if is_compared else 0.0)
    remedy = "a larger --budget"
    if longest:
        left = trials if is_compared else trials + 1
        minutes = math.ceil((found.seconds + left * longest) / 60)
        remedy = f"--budget {minutes}, for {plural(trials, 'trial')} of about {duration(longest)}"
    return (
        "note: no settings were tried, because the time was over before the first trial. Give the "
        f"same command {remedy}; it goes on from here"
    )


def _tuned(found: "Tuning", experiment: Experiment) -> Experiment:
    """Return the experiment with the best settings, which need no further comparison."""
    settings = dict(found.best.settings)
    if found.recipe == "best":
        settings["held_out"] = 0
    options = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    augment: Any = found.best.augment
    return replace(
        experiment,
        recipe=_recipe_of(experiment),
        recipe_options=tuple(options),
        augment=augment,
        budget=None,
        folds=0,
    )


def _write_json(values: dict[str, Any], path: Path) -> None:
    with replace_atomically(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
