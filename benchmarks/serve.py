"""Compare `tlkit serve` with a minimal hand-written server of FastAPI and Keras, over loopback.

    python benchmarks/serve.py

Both are one process with one worker of uvicorn and no access log. Clients keep their connections
and ask again as soon as they are answered: requests of one image file each. The servers take turns,
a few seconds each, and the table has the medians over the rounds. The classifiers have random
heads, since speed does not depend on weights.
"""

import argparse
import asyncio
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pages
from PIL import Image

PAGE = Path("docs/how-to/serve.md")
WARM_UP = 100  # requests
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml"}

# The size of the images, the classifier's size, and how it is built.
MODELS: dict[str, tuple[tuple[int, int], int, dict[str, Any]]] = {
    "starter at 32, PNG of 32 x 32": ((32, 32), 32, {"weights": "starter"}),
    "MobileNetV2 at 160, JPEG of 500 x 375": ((500, 375), 160, {"weights": None}),
}

HAND_WRITTEN = """
import sys
import numpy as np, tlkit, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

model = tlkit.load(sys.argv[1])
height, width = model.input_shape[1:3]
names = tlkit.models.class_names(model)
app = FastAPI()

@app.post("/predict")
def predict(file: UploadFile):
    image = Image.open(file.file).convert("RGB").resize((width, height))
    probabilities = model.predict(np.asarray(image)[None], verbose=0)[0]
    best = int(probabilities.argmax())
    return {"class": names[best], "probability": float(probabilities[best])}

print(f"http://127.0.0.1:{sys.argv[2]}", flush=True)
uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="warning")
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every classifier, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/serve.json"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "tlkit-serve"))
    parser.add_argument("--formats", nargs="+", default=["onnx"], choices=FILES)
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--max-requests", type=int, default=20_000, help="of a round")
    options = parser.parse_args(arguments)
    rows = [row for name in MODELS for row in measure(name, options)]
    pages.publish(PAGE, options.out, rows, table(rows))


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each number of connections and each format."""
    pixels, size, _ = MODELS[name]
    folder = options.work / re.sub(r"\W+", "-", name)
    if not all((folder / FILES[form]).is_file() for form in options.formats):
        build(name, folder, options.formats)
    request = make_request(pixels, "JPEG" if max(pixels) > size else "PNG")
    tlkit = [sys.executable, "-m", "tlkit", "serve"]
    quiet = ["--port", "0", "--no-access-log", "--stop-delay", "0"]
    commands = {form: [*tlkit, str(folder / FILES[form]), *quiet] for form in options.formats}
    commands["Keras"] = [sys.executable, "-c", HAND_WRITTEN, str(folder / "model.keras"), "8765"]
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for server, command in commands.items():
            with run_server(command) as port:
                asyncio.run(ask(port, request, 4, 60, WARM_UP))
                for count in options.connections:
                    before = count_batches(port) if server != "Keras" else (0, 0)
                    most = options.max_requests
                    result = asyncio.run(ask(port, request, count, options.seconds, most))
                    if server != "Keras":
                        images, batches = np.subtract(count_batches(port), before)
                        result["images_of_a_batch"] = float(images / batches)
                    found.setdefault((server, count), []).append(result)
                    print(name, server, count, result, flush=True)
    return [
        {"model": name, "server": server, "connections": count, **summarise(results)}
        for (server, count), results in sorted(found.items(), key=lambda pair: pair[0][1])
    ]


def build(name: str, folder: Path, formats: Sequence[str]) -> None:
    """Write a classifier and its exports."""
    import tlkit

    folder.mkdir(parents=True, exist_ok=True)
    _, size, settings = MODELS[name]
    model = tlkit.build_classifier("mobilenet_v2", 10, input_shape=(size, size, 3), **settings)
    tlkit.save(model, folder / "model.keras")
    for form in formats:
        print(tlkit.export(model, folder / FILES[form]), flush=True)


def make_request(size: tuple[int, int], form: str) -> bytes:
    """Return an HTTP request with a file that is like a photo: smooth, with some noise."""
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (12, 16, 3), "uint8"))
    smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype("int16")
    pixels = np.clip(smooth + random.integers(-8, 9, smooth.shape), 0, 255).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    part = f'--x\r\ncontent-disposition: form-data; name="file"; filename="a.{form.lower()}"'
    body = f"{part}\r\n\r\n".encode() + file.getvalue() + b"\r\n--x--\r\n"
    head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x"
    return f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def run_server(command: Sequence[str]) -> Iterator[int]:
    """Yield the port of a server when it answers."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r":(\d+)", line) for line in process.stdout)))
        port = int(found[1])
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def count_batches(port: int) -> tuple[int, int]:
    """Return how many images a server has predicted, and in how many batches."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        counts = json.load(answer)
    return counts["images"], counts["batches"]


async def ask(port: int, request: bytes, count: int, seconds: float, most: int) -> dict[str, float]:
    """Return the requests a second, and percentiles of their milliseconds.

    Args:
        port: Where the server is.
        request: What is sent.
        count: Connections.
        seconds: How long.
        most: Requests at most.
    """
    took: list[float] = []
    begun = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < begun + seconds and len(took) < most:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None
            await reader.readexactly(int(length[1]))
            took.append(1000 * (time.perf_counter() - start))
        writer.close()

    await asyncio.gather(*(client() for _ in range(count)))
    p50, p99 = np.percentile(took, [50, 99])
    rate = len(took) / (time.perf_counter() - begun)
    return {"requests_a_second": rate, "p50": float(p50), "p99": float(p99)}


def summarise(results: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    medians = {key: statistics.median(each[key] for each in results) for key in results[0]}
    return {"rounds": len(results), **medians}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of the ratios to the hand-written server at as many connections."""
    lines = [
        "| classifier, images | served by | connections | rounds | requests/s | p50 | p99 "
        "| images of a batch |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        if row["server"] == "Keras":
            continue
        where = {"server": "Keras", "model": row["model"], "connections": row["connections"]}
        [keras] = [each for each in rows if where.items() <= each.items()]
        ratios = (f"{row[key] / keras[key]:.2g}" for key in ("requests_a_second", "p50", "p99"))
        lines.append(
            f"| {row['model']} | `tlkit serve`, {row['server']} | {row['connections']} "
            f"| {keras['rounds']} | {' | '.join(ratios)} | {row['images_of_a_batch']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
