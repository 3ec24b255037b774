"""Run every peer's script several times, in turns, and print the medians as a Markdown table.

    python benchmarks/peers/run.py --python /tmp/peers/bin/python --images 6000 --size 32 \
        --repeats 3 --out runs/peers.json

Needs only the standard library: the peers live in an environment of their own (`--python`).
A peer that is not installed there is named under the table and left out.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

RUNS = (
    ("hf_trainer", "defaults"),
    ("hf_trainer", "workers"),
    ("hf_trainer", "batches"),
    ("hf_trainer", "frozen_norms"),
    ("fastai_learner", "defaults"),
    ("fastai_learner", "frozen_norms"),
    ("lightning_finetuning", "defaults"),
    ("lightning_finetuning", "frozen_norms"),
)
PHASES = ("head", "tail")


def main(arguments: list[str] | None = None) -> None:
    """Run what is asked for, then print the table and write the figures."""
    options = _options(arguments)
    chosen = [run for run in RUNS if run[0] in options.scripts]
    lines: dict[tuple[str, str], list[dict]] = {run: [] for run in chosen}
    missing: dict[str, str] = {}
    for repeat in range(options.repeats):
        for script, variant in chosen[:: -1 if repeat % 2 else 1]:
            if script in missing:
                continue
            line = one(options, script, variant)
            if "missing" in line:
                missing[script] = line["missing"]
                continue
            lines[script, variant].append(line)
            print(json.dumps(line), file=sys.stderr, flush=True)
    results = [summary(runs) for runs in lines.values() if runs]
    print(table(results), end="")
    for script, name in missing.items():
        print(f"\n`{script}` left out: {name} is not installed.")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        record = {"results": results, "runs": [*lines.values()], "cores": os.cpu_count()}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def one(options: argparse.Namespace, script: str, variant: str) -> dict:
    """Run a script in a process of its own; return its line, or the package that it misses."""
    command = [options.python, str(Path(__file__).with_name(f"{script}.py"))]
    settings = {"images": options.images, "size": options.size, "variant": variant}
    if options.threads:
        settings["threads"] = options.threads
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = done.stderr.strip().splitlines()[-1:]
    if last and last[0].startswith("ModuleNotFoundError: No module named"):
        return {"missing": last[0].split("'")[1]}
    raise SystemExit(f"{script} ({variant}) failed:\n{done.stderr}")


def summary(runs: list[dict]) -> dict:
    """Return what the runs share, with the median, lowest and highest seconds of each phase."""
    shared = dict(runs[0])
    for phase in PHASES:
        seconds = [run[f"{phase}_seconds"] for run in runs]
        shared[f"{phase}_seconds"] = median(seconds)
        shared[f"{phase}_range"] = [min(seconds), max(seconds)]
        shared[f"{phase}_images_per_second"] = round(shared["images"] / median(seconds), 1)
    return {**shared, "repeats": len(runs)}


def table(results: list[dict]) -> str:
    """Return the medians as a Markdown table, a row for each variant."""
    lines = [
        "| peer | variant | size | images | head: seconds (range) | images/s "
        "| tail: seconds (range) | images/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        cells = [f"{result['peer']} {result['version']}", result["variant"]]
        cells += [str(result["size"]), str(result["images"])]
        for phase in PHASES:
            low, high = result[f"{phase}_range"]
            cells.append(f"{result[f'{phase}_seconds']:.2f} ({low:.2f} to {high:.2f})")
            cells.append(f"{result[f'{phase}_images_per_second']:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    scripts = sorted({script for script, _ in RUNS})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="of the peers' environment")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--scripts", nargs="*", choices=scripts, default=scripts)
    parser.add_argument("--out", type=Path, help="write the figures here too, as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
