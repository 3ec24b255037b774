"""Turn the files of a request into predictions: decoded by threads, predicted in batches."""

import asyncio
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tlkit._internal import system
from tlkit.data import unlabelled
from tlkit.data.decoding import PICTURE_FORMATS, UnreadableImageError
from tlkit.deployment.predictor import Predictions, Predictor
from tlkit.deployment.serving.batching import Batcher
from tlkit.deployment.serving.limits import Limits
from tlkit.deployment.serving.refusal import Refusal, describe
from tlkit.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An image of a request.

    Attributes:
        content: The bytes of its file.
        name: The name of its file; None if it has no name.
    """

    content: bytes
    name: str | None = None


class Service:
    """Predicts the images of requests.

    Args:
        predictor: The exported file.
        limits: The limits on requests.

    Attributes:
        num_requests: How many requests are being answered.
        num_answered: How many requests were answered with predictions.
        is_stopping: Whether the server is about to stop, so that no more requests should be sent.

    Raises:
        ConfigError: The file does not take images of 1 or 3 channels, as image files have.
    """

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        channels = (*predictor.metadata.input_shape[1:], 1)[2]
        if channels not in (1, 3):
            raise ConfigError(
                f"`predictor` must take images of 1 or 3 channels, got {channels}: image files are "
                "grey or RGB. Use `Predictor` with arrays in your own server."
            )
        self.predictor, self.limits = predictor, limits
        self._batcher = Batcher(predictor.run, batch_size=limits.batch_size)
        self._threads = ThreadPoolExecutor(system.count_cores(), thread_name_prefix="tlkit-decode")
        Image.init()
        self._formats = sorted(PICTURE_FORMATS & Image.OPEN.keys())
        self.num_requests = self.num_answered = 0
        self.is_stopping = False

    async def warm_up(self) -> None:
        """Predict a black image, so that the first request is as fast as others."""
        about = self.predictor.metadata
        shape = tuple(axis for axis in about.input_shape[1:] if axis is not None)
        if len(shape) == len(about.input_shape) - 1:
            black = np.zeros(shape, about.input_dtype)
            await self._batcher.run([black])
            self._batcher.num_images = self._batcher.num_batches = 0

    async def predict(self, uploads: Sequence[Upload]) -> Predictions:
        """Return the predictions for images.

        Args:
            uploads: At least one image.

        Raises:
            Refusal: A file can't be read as an image, or the prediction took too long.
        """
        try:
            async with asyncio.timeout(self.limits.timeout):
                images = await self._decode_all(uploads)
                rows = await self._batcher.run(images)
        except TimeoutError:
            raise Refusal(
                "prediction_timeout",
                f"The prediction took longer than {self.limits.timeout:g} s. Send fewer images, "
                "or try again when the server has less to do.",
            ) from None
        self.num_answered += 1
        return self.predictor.to_predictions(rows)

    async def in_thread(self, function: Any, *values: Any) -> Any:
        """Call a function in another thread, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *values)

    async def _decode_all(self, uploads: Sequence[Upload]) -> list[np.ndarray]:
        count = len(uploads)
        decoded = await asyncio.gather(
            *(self.in_thread(self._decode, upload, at, count) for at, upload in enumerate(uploads)),
            return_exceptions=True,
        )
        images: list[np.ndarray] = []
        for each in decoded:
            if isinstance(each, BaseException):  # the first, in the order of the images
                raise each
            images.append(each)
        return images

    def _decode(self, upload: Upload, index: int, count: int) -> np.ndarray:
        about = self.predictor.metadata
        which = describe(index, count, upload.name)
        where: dict[str, Any] = {"image": index, "name": upload.name}
        try:
            return unlabelled.read_file(
                self._open(upload.content),
                input_shape=about.input_shape,
                value_range=about.value_range,
                fit=about.fit,
                white=about.white,
            )
        except _TooManyPixelsError as error:
            raise Refusal(
                "image_too_large",
                f"{which} must have at most {self.limits.max_pixels:,} pixels, got {error}.",
                **where,
            ) from None
        except UnreadableImageError as error:
            raise Refusal(
                "not_an_image", f"{which} can't be read as an image: {error.reason}.", **where
            ) from None

    def _open(self, content: bytes) -> Image.Image:
        """Return an image of which only the header has been read."""
        if not content:
            raise UnreadableImageError("", "it is empty")
        try:
            picture = Image.open(io.BytesIO(content), formats=self._formats)
        except Image.DecompressionBombError as error:
            raise _TooManyPixelsError("more") from error
        except Exception as error:  # the readers of Pillow have no class in common
            raise UnreadableImageError("", "its image format is unknown") from error
        if picture.width * picture.height > self.limits.max_pixels:
            raise _TooManyPixelsError(f"{picture.width:,} x {picture.height:,}")
        return picture

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of requests, images, batches and waiting images."""
        return {
            "requests": self.num_answered,
            "images": self._batcher.num_images,
            "batches": self._batcher.num_batches,
            "waiting": self._batcher.num_waiting,
        }

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
        self._batcher.close()


class _TooManyPixelsError(Exception):
    """An image has more pixels than the server accepts."""
