import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from tlkit.deployment.serving.batching import Batcher


class Network:
    """Returns the mean of each image, notes its batches, and can be held up."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.gate = threading.Event()
        self.begun = threading.Event()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.shapes.append(images.shape)
        self.begun.set()
        self.gate.wait(5)
        if images.max() == 255:
            raise ArithmeticError("it does not take white")
        return images.mean(axis=(1, 2))[:, None]


def _image(value: int, size: int = 2) -> np.ndarray:
    return np.full((size, size), value, "uint8")


def _gather(
    network: Network, *requests: list[np.ndarray], batch_size: int = 8, during: Callable = list
) -> list[list[float] | BaseException]:
    """Return the rows of requests that come while the network runs the first of them."""

    async def ask() -> list:
        batcher = Batcher(network, batch_size=batch_size)
        tasks = [asyncio.create_task(batcher.run(requests[0]))]
        await asyncio.to_thread(network.begun.wait, 5)
        tasks += [asyncio.create_task(batcher.run(each)) for each in requests[1:]]
        await asyncio.sleep(0.01)
        during(tasks)
        await asyncio.sleep(0.01)
        network.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert batcher.num_waiting == 0
        batcher.close()
        return [each if isinstance(each, BaseException) else each[:, 0].tolist() for each in found]

    return asyncio.run(ask())


def test_requests_that_wait_together_are_one_batch() -> None:
    network = Network()
    found = _gather(network, [_image(9)], *([_image(at), _image(at + 1)] for at in range(3)))
    assert found == [[9], [0, 1], [1, 2], [2, 3]]
    assert [shape[0] for shape in network.shapes] == [1, 6]


def test_a_batch_is_not_larger_than_it_may_be() -> None:
    network = Network()
    found = _gather(network, [_image(0)], [_image(at) for at in range(5)], batch_size=2)
    assert found == [[0], [0, 1, 2, 3, 4]]
    assert [shape[0] for shape in network.shapes] == [1, 2, 2, 1]


def test_images_of_one_size_are_a_batch() -> None:
    network = Network()
    found = _gather(network, [_image(0)], [_image(1), _image(2, 3), _image(3)], [_image(4, 3)])
    assert found == [[0], [1, 2, 3], [4]]
    assert network.shapes == [(1, 2, 2), (2, 2, 2), (2, 3, 3)]


def test_an_image_that_nobody_waits_for_does_not_run() -> None:
    network = Network()
    found = _gather(
        network, [_image(0)], [_image(1)], [_image(2)], during=lambda tasks: tasks[1].cancel()
    )
    assert [found[0], found[2]] == [[0], [2]]
    assert isinstance(found[1], asyncio.CancelledError)
    assert network.shapes == [(1, 2, 2), (1, 2, 2)]


def test_an_error_reaches_its_request_and_the_next_one_runs() -> None:
    network = Network()
    found = _gather(network, [_image(0)], [_image(255)], [_image(1)], batch_size=1)
    assert [found[0], found[2]] == [[0], [1]]
    with pytest.raises(ArithmeticError, match="does not take white"):
        raise found[1]  # type: ignore[misc]
