from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from tests.samples import small_classifier

from tlkit.experiments.cluster_head import ClusterHead
from tlkit.models.inspection import head_of


def test_a_sample_is_read_once_to_calibrate(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone, class_names=("a", "b", "c"))
    draw = np.random.default_rng(0)
    features = draw.normal(size=(200, head_of(model).kernel.shape[0])).astype("float32")
    labels, taken = draw.integers(0, 3, 200), list[str]()

    def take(rows: np.ndarray, *, part: str, counts: Any) -> tuple[np.ndarray, np.ndarray]:
        taken.append(part)
        return features[rows], labels[rows]

    sample = SimpleNamespace(rows=np.arange(200))
    parts: Any = SimpleNamespace(take=take)
    survey: Any = SimpleNamespace(samples={"validation": sample}, counts={"validation": [200]})
    none: Any = None
    head = ClusterHead(model=model, features=none, shards=parts, survey=survey)
    found = head.calibrate()
    assert found.temperature > 1  # of a head that was not trained
    assert found.loss[1] < found.loss[0]
    assert taken == ["validation"]
