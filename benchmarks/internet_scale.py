"""Compute what features of 100 million and 5 billion images cost, from rates that were measured.

python benchmarks/internet_scale.py --core-hour 0.04 --gpu-hour 2.5

Every rate is named with its source; nothing is measured here. Prices are assumptions, and options.
The table goes into docs/explanation/internet-scale.md.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "internet-scale.md"
JOURNEY = PAGE.parent.parent / "results" / "journey.json"
START, END = "<!-- results -->\n", "<!-- end of results -->\n"
COUNTS = (100_000_000, 5_000_000_000)
HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Images a second of one core, GPU or node, and where the number is from."""

    what: str
    per_second: float
    source: str


def _read_journey(what: str, key: str) -> Rate:
    """Return the rate of one core that `journey.py` has measured: its limits, or a trunk."""
    rows = json.loads(JOURNEY.read_text())["rows"]
    cores = rows["limits"]["cores"]
    measured = rows["limits"][key] if key in rows["limits"] else max(rows[key]["speeds"].values())
    source = f"[how long a run takes](journey.md): {measured:,.0f} a second on {cores} cores"
    return Rate(what=what, per_second=measured / cores, source=source)


DECODE = _read_journey("decoding 227 x 227 JPEGs, one core", "jpegs_a_second")
DECODE_512 = Rate(
    what="decoding 512-pixel JPEGs, one core",
    per_second=326,
    source="FFCV, published: 31,278 a second on 96 cores",
)
CPU = _read_journey("MobileNetV2 at 224 px by LiteRT, one core", "trunk 224")
CPU_SMALL = _read_journey("MobileNetV2 at 96 px by LiteRT, one core", "trunk 96")
GPU = Rate(
    what="MobileNetV2 at 224 px, one GPU (RTX 5090)",
    per_second=27_592,
    source="timm, published: mixed precision, compiled",
)
NODE = Rate(
    what="all stages of a ResNet-18 job, one node with an L4",
    per_second=803_580 / 111.2 / 8,
    source="Ray Data, published: 803,580 images from S3 in 111.2 s on 8 nodes",
)
RATES = (DECODE, DECODE_512, CPU, CPU_SMALL, GPU, NODE)


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is not measured, and can be changed by options."""

    image_bytes: float = 100e3  # of a 512-pixel JPEG
    features: int = 1280  # MobileNetV2's
    core_hour: float = 0.04  # dollars
    gpu_hour: float = 2.5
    get_request: float = 0.4e-6  # dollars for a request to a bucket
    node_bytes: float = 1.25e9  # a second: 10 Gbit/s
    part_rows: int = 4096


def compute(count: int, given: Assumptions) -> dict[str, float]:
    """Return bytes, hours and dollars for so many images."""
    decode = count / DECODE_512.per_second / HOUR
    by_cpu, by_gpu = count / CPU.per_second / HOUR, count / GPU.per_second / HOUR
    requests = 2 * count * given.get_request  # for its size and time, and for its content
    return {
        "read_bytes": count * given.image_bytes,
        "feature_bytes": count * given.features * 2,
        "decode_core_hours": decode,
        "cpu_core_hours": by_cpu,
        "gpu_hours": by_gpu,
        "cores_a_gpu": GPU.per_second / DECODE_512.per_second,
        "gpu_bytes_a_second": GPU.per_second * given.image_bytes,
        "network_node_hours": count * given.image_bytes / given.node_bytes / HOUR,
        "dollars_on_cpus": (decode + by_cpu) * given.core_hour + requests,
        "dollars_on_gpus": decode * given.core_hour + by_gpu * given.gpu_hour + requests,
        "request_dollars": requests,
        "index_bytes": 24 * count,
        "order_bytes": 8 * count,
        "parts": math.ceil(count / given.part_rows),
        "like_ray_node_hours": count / NODE.per_second / HOUR,
    }


def render(given: Assumptions) -> str:
    """Return the tables of the page."""
    return "\n".join([*_render_rates(), "", *_render_costs(given), ""])


def _render_rates() -> Iterator[str]:
    yield "| rate | images a second | source |"
    yield "|---|---:|---|"
    for rate in RATES:
        yield f"| {rate.what} | {rate.per_second:,.0f} | {rate.source} |"


def _render_costs(given: Assumptions) -> Iterator[str]:
    found = [compute(count, given) for count in COUNTS]
    rows = {
        "images read, TB": ("read_bytes", 1e-12),
        "features written in float16, TB": ("feature_bytes", 1e-12),
        "decoding, core hours": ("decode_core_hours", 1),
        "network on CPUs, core hours": ("cpu_core_hours", 1),
        "or on GPUs, GPU hours": ("gpu_hours", 1),
        "images over one 10 Gbit/s link, hours": ("network_node_hours", 1),
        "whole job at the rate of Ray Data's nodes with an L4, node hours": (
            "like_ray_node_hours",
            1,
        ),
        "requests to a bucket, dollars": ("request_dollars", 1),
        "**all on CPUs, dollars**": ("dollars_on_cpus", 1),
        "**decoded on CPUs, network on GPUs, dollars**": ("dollars_on_gpus", 1),
        "index of known digests, GB": ("index_bytes", 1e-9),
        "order of all images for a head, GB": ("order_bytes", 1e-9),
        "parts of 4,096 images": ("parts", 1),
    }
    yield "| | 100 million images | 5 billion images |"
    yield "|---|---:|---:|"
    for name, (key, factor) in rows.items():
        values = " | ".join(_show(each[key] * factor) for each in found)
        yield f"| {name} | {values} |"


def _show(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, and write them into the page with `--page`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in vars(Assumptions()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--page", action="store_true", help="write them into the page")
    options = vars(parser.parse_args(arguments))
    page = options.pop("page")
    text = render(Assumptions(**options))
    print(text)
    if page:
        before, _, rest = PAGE.read_text().partition(START)
        PAGE.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
