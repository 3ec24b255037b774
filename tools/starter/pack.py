"""Copy a trained starter into the package: weights in float16, their hash, and the model card.

python -m tools.starter.pack --made build/starter
"""

import argparse
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
from benchmarks import pages

ROOT = Path(__file__).parent.parent.parent
MODELS = ROOT / "src" / "tlkit" / "models"
CARD = Path(__file__).with_name("card.md")


def main() -> None:
    """Write the weights, their hash, the card, the facts and the sample of pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--made", type=Path, default=Path("build/starter"))
    made = parser.parse_args().made
    content = pack_weights(made / "backbone.weights.h5")
    (MODELS / "weights").mkdir(exist_ok=True)
    (MODELS / "weights" / "starter.npz").write_bytes(content)
    source = MODELS / "starter.py"
    text = source.read_text("utf-8")
    digest = f'_SHA256 = "{hashlib.sha256(content).hexdigest()}"'
    if digest not in text:  # the results in the card were measured with other weights
        source.write_text(re.sub(r'_SHA256 = "[0-9a-f]*"', digest, text), "utf-8")
        pages.insert(CARD, "")
    shutil.copy(made / "facts.json", Path(__file__).with_name("made.json"))
    shutil.copy(made / "pictures.png", ROOT / "docs" / "results" / "starter-pictures.png")
    facts = json.loads((made / "facts.json").read_text("utf-8"))
    (MODELS / "weights" / "starter.md").write_text(fill_card(facts), "utf-8")
    print(f"{len(content):,} bytes")


def pack_weights(path: Path) -> bytes:
    """Return an .npz file of the weights: one float16 array for each, named layer/weight."""
    backbone = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None
    )
    backbone.load_weights(path)
    arrays = {
        f"{layer.name}/{variable.name}": np.asarray(variable).astype("float16")
        for layer in backbone.layers
        for variable in layer.weights
    }
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def fill_card(facts: dict) -> str:
    """Return the model card with the facts of the training filled in."""
    values = {**facts, **facts["scores"]}
    return re.sub(
        r"\{(\w+)(:[^}]*)?\}",
        lambda place: format(values[place[1]], (place[2] or ":")[1:]),
        CARD.read_text("utf-8"),
    )


if __name__ == "__main__":
    main()
