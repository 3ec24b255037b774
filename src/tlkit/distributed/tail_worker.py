"""A worker that trains the tail of a classifier together with others; Ray calls it."""

import importlib
import socket
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

import tlkit
from tlkit._internal import system
from tlkit._internal.optional import require
from tlkit._internal.temporaries import temporary_folder
from tlkit.caching.partition import Cut
from tlkit.distributed import state_files, tail_rows
from tlkit.distributed.lanes import Lanes
from tlkit.distributed.tail import cut_tail
from tlkit.distributed.tail_rows import TailJob, TailRows
from tlkit.distributed.tail_steps import TailSteps
from tlkit.errors import StoreError
from tlkit.training import precision
from tlkit.training.model_state import (
    assign,
    get_model,
    number_arrays,
    reset_calibration,
    set_model,
)

_SHARE = 0.5  # of a machine's free memory, to hold features
_PARTS = 2  # training and validation
_SECONDS_TO_MEET = 300


class TailWorker:
    """One of the processes that train together.

    Args:
        job: The settings.
        rank: The number of this worker, from 0.
        workers: The number of workers.
    """

    def __init__(self, job: TailJob, rank: int, workers: int) -> None:
        self._job, self._rank, self._workers = job, rank, workers
        self._training = ExitStack()
        self._rows: dict[str, TailRows] = {}

    def find_address(self) -> str:
        """Return an address of this machine at which the workers can meet."""
        with socket.create_server(("", 0)) as server:
            port = server.getsockname()[1]
        host = require("ray", extra="ray").util.get_node_ip_address()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self, address: str, epoch: int) -> None:
        """Meet the other workers, read the images, and restore the state after an epoch.

        The caller waits for all workers before the first epoch: within an epoch they wait for each
        other too, but JAX does so for 30 seconds only.

        Raises:
            DataError: A file of features is missing, or has other labels.
            StoreError: The state is damaged.
        """
        jax = importlib.import_module("jax")
        if self._workers > 1:
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            jax.distributed.initialize(
                address, self._workers, self._rank, initialization_timeout=_SECONDS_TO_MEET
            )
        self._read_images()
        keras.utils.set_random_seed(self._job.seed)
        self._training.enter_context(precision.compute_in(self._model, self._job.phase.precision))
        if epoch:
            state = state_files.read(self._job.states, epoch)
            if state is None:
                raise StoreError(f"The checkpoint of epoch {epoch} is damaged or missing.")
            set_model(self._model, state.arrays)
            assign(self._steps.optimizer.variables, state.arrays, "optimizer")
        self._steps.push()

    def train(self, epoch: int) -> dict[str, float]:
        """Train an epoch, from 0; return its metrics."""
        batches = self._rows["train"].batches((self._job.seed, epoch))
        metrics = _to_metrics(self._steps.train(batches))
        self._steps.pull()
        return {**metrics, "learning_rate": self._steps.learning_rate}

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of the validation images; empty without any."""
        if "validation" not in self._rows:
            return {}
        sums = self._steps.evaluate(self._rows["validation"].batches(None))
        return {f"val_{name}": value for name, value in _to_metrics(sums).items()}

    def save(self, epoch: int, values: Mapping[str, Any], keep_epochs: Collection[int]) -> None:
        """Write the state after an epoch.

        Args:
            epoch: The number of finished epochs.
            values: Values that JSON supports.
            keep_epochs: As for `state_files.write`.

        Raises:
            StoreError: It can't be written.
        """
        slots = number_arrays("optimizer", self._steps.optimizer.variables)
        arrays = {**get_model(self._model), **slots}
        state_files.write(self._job.states, epoch, values, arrays, keep_epochs=keep_epochs)

    def _read_images(self) -> None:
        lanes = {part: self._lanes(part) for part in ("train", "validation")}
        self._rows = tail_rows.read(
            self._job,
            {part: each for part, each in lanes.items() if each.count},
            shapes=self._cut.shapes,  # of the model in float32, as the features were extracted
            max_part_bytes=self._find_max_part_bytes(),
        )

    @cached_property
    def _model(self) -> keras.Model:
        with temporary_folder() as folder:
            (folder / "model.keras").write_bytes(self._job.model.read())
            model = tlkit.load(folder / "model.keras")
        reset_calibration(model)  # of the weights at the start
        return model

    @cached_property
    def _cut(self) -> Cut:
        job = self._job
        return cut_tail(self._model, job.frozen, np.zeros((1, *job.image), job.image_dtype))

    @cached_property
    def _steps(self) -> TailSteps:
        job = self._job
        return TailSteps(
            self._model,
            self._cut,  # which also sets which layers are trainable
            job.frozen.plan(self._model),
            replace(job.phase, freeze=job.frozen),
            num_steps=self._lanes("train").steps,
            class_weight=job.class_weight,
        )

    def _lanes(self, part: str) -> Lanes:
        return Lanes(
            count=int(self._job.counts[part].sum()),
            batch_size=self._job.phase.batch_size,
            workers=self._workers,
            rank=self._rank,
        )

    def _find_max_part_bytes(self) -> int:
        """Return the memory for the images of a part; all workers may be on this machine."""
        return int(_SHARE * system.free_memory()) // (_PARTS * self._workers)


def _to_metrics(sums: np.ndarray) -> dict[str, float]:
    loss, correct, count = sums.tolist()
    return {"loss": loss / count, "accuracy": correct / count}
