"""An out-of-distribution score: how different an image is from the training images, by features.

The distance of an image is a smooth maximum of three distances, each relative to that of held-out
images:

- the relative Mahalanobis distance (Ren et al., 2021, arXiv:2106.09022): how much further the image
  is from the nearest class (Lee et al., 2018, arXiv:1807.03888) than from the mean of all images.
  It finds images of new classes, which look like the training images but belong to no class;
- the Mahalanobis distance from the mean of all images. It finds images that are unlike all;
- the distance from the nearest class divided by that from the next (the ratio test of Lowe, 2004,
  IJCV 60). It finds images of a new class that lies between two others.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # of scikit-learn

from tlkit.errors import DataError
from tlkit.training.linear import Features

KEPT = 0.95
"""The share of held-out training images with a score up to the threshold, which is this number."""
MIN_IMAGES = 20
"""The least number of images, of which 5 % are at least one image."""
MAX_IMAGES = 10_000
"""The largest number of images to fit to; more take longer and change little."""

_MAX_COMPONENTS = 128
_IMAGES_PER_COMPONENT = 8
_MAX_DISTANCES = 1000
_FOLDS = 5
_ITERATIONS = 6
_SHRINKAGE = 1e-2
_NEGLIGIBLE = 1e-5  # times the largest variance; smaller variances are rounding
_PREFIX = "ood_"


@dataclass(frozen=True, kw_only=True, eq=False)
class OODDetector:
    """Gaussians of the features of the training images, and the distances of held-out images.

    Attributes:
        mean: The mean of each feature, `(features,)`.
        projection: `(features, components)`, to principal components of variance 1.
        scale: The divisors of features before the residual is measured, `(features,)`.
        variances: The variances of the components, `(components,)`.
        residual_variance: The mean variance of the other directions.
        whitening: `(components, components)`; it gives classes a variance of 1.
        centres: The whitened centres of the classes, `(classes, components)`.
        standard: The median of each distance of held-out images, and the difference of its 95 %
            quantile from the median, `(2, 3)`.
        distances: The sorted distances of held-out images, at most 1,000.
    """

    mean: np.ndarray
    projection: np.ndarray
    scale: np.ndarray
    variances: np.ndarray
    residual_variance: np.ndarray
    whitening: np.ndarray
    centres: np.ndarray
    standard: np.ndarray
    distances: np.ndarray

    def measure(self, features: np.ndarray) -> np.ndarray:
        """Return the distances of images from the training images, `(count,)`.

        Args:
            features: `(count, features)`.
        """
        return _combine(self._measure_each(features), self.standard)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Return the share of held-out training images that are nearer than each image, `(count,)`.

        Args:
            features: `(count, features)`.
        """
        nearer = np.searchsorted(self.distances, self.measure(features).astype("float32"))
        return np.asarray(nearer / len(self.distances), "float64")

    # The components whiten all images, so that the squared length of a row is its Mahalanobis
    # distance from the mean within the components. The other directions count with their mean
    # variance, as in probabilistic principal component analysis (Tipping and Bishop, 1999). Within
    # the components, all classes share one covariance.
    def _measure_each(self, features: np.ndarray) -> np.ndarray:
        """Return the three distances of each image, `(count, 3)`."""
        centred = features.astype("float32") - self.mean
        whole = centred @ self.projection
        inside = (whole**2).sum(axis=1)
        lengths = ((centred / self.scale) ** 2).sum(axis=1)
        residual = np.maximum(lengths - (whole**2 * self.variances).sum(axis=1), 0)
        within = whole @ self.whitening
        products = within @ self.centres.T
        squares = (within**2).sum(axis=1)[:, None] + (self.centres**2).sum(axis=1)
        classes = np.sort(np.maximum(squares - 2 * products, 0), axis=1)
        nearest, next_nearest = classes[:, 0], classes[:, min(1, classes.shape[1] - 1)]
        ratio = nearest / np.maximum(next_nearest, np.finfo("float32").tiny)
        whole_distance = inside + residual / self.residual_variance
        return np.stack([nearest - inside, whole_distance, ratio], axis=1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model's file stores."""
        return {f"{_PREFIX}{name}": value for name, value in asdict(self).items()}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> OODDetector | None:
    """Return the detector that a model's file stores; None if it stores none."""
    names = [field.name for field in fields(OODDetector)]
    if any(f"{_PREFIX}{name}" not in arrays for name in names):
        return None
    return OODDetector(**{name: arrays[f"{_PREFIX}{name}"] for name in names})


def with_distances(detector: OODDetector, features: np.ndarray) -> OODDetector:
    """Return the detector with its distances replaced by those of other held-out images."""
    arrays = asdict(detector)
    return OODDetector(**{**arrays, "distances": _summarize(detector.measure(features))})


def fit(features: Features, labels: np.ndarray, *, seed: int = 0) -> OODDetector:
    """Fit Gaussians to the features of training images.

    The distances of training images are measured by 5-fold cross-validation: each image is measured
    by a detector that was not fitted to it.

    Args:
        features: `(count, features)`; of more than 10,000 images, a random sample is used.
        labels: Class indices, `(count,)`.
        seed: The seed of the sample and of the folds.

    Raises:
        DataError: There are fewer than 20 images.
    """
    if len(labels) < MIN_IMAGES:
        raise DataError(
            f"`data` must hold at least {MIN_IMAGES} images to tell which images are unlike them, "
            f"got {len(labels)}."
        )
    random = np.random.default_rng(seed)
    with threadpool_limits(1, "blas"):  # several threads wait for each other on a busy processor
        return _fit(features, labels, random)


def draw_images(count: int, random: np.random.Generator) -> np.ndarray:
    """Return the indices of the images to fit to, in order: all of them, or a random sample.

    Args:
        count: The number of images.
        random: The source of the sample.
    """
    if count <= MAX_IMAGES:
        return np.arange(count)
    return np.sort(random.choice(count, MAX_IMAGES, replace=False))


def _fit(features: Features, labels: np.ndarray, random: np.random.Generator) -> OODDetector:
    chosen = draw_images(len(labels), random)
    features, labels = np.asarray(features[chosen], "float32"), labels[chosen]
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    constant = deviation <= 1e-6 * max(float(deviation.max()), 1e-12)
    scale = np.where(constant, np.inf, deviation).astype("float32")
    rows = (features - mean) / scale
    products = rows.T @ rows
    folds = random.permutation(len(labels)) % _FOLDS
    components = random.normal(size=(rows.shape[1], _count_components(rows))).astype("float32")
    components, _ = _find_components(products, components)
    each = np.empty((len(labels), 3))
    for fold in range(_FOLDS):
        held_out = folds == fold
        others = products - rows[held_out].T @ rows[held_out]
        part = _fit_gaussians(rows[~held_out], labels[~held_out], others, components)
        each[held_out] = part._measure_each(rows[held_out])
    median = np.median(each, axis=0)
    standard = np.stack([median, np.maximum(np.quantile(each, KEPT, axis=0) - median, 1e-6)])
    whole = asdict(_fit_gaussians(rows, labels, products, components))
    whole |= {
        "mean": mean + np.where(constant, 0, whole["mean"] * np.where(constant, 0, scale)),
        "projection": whole["projection"] / scale[:, None],
        "scale": scale,
        "standard": standard,
        "distances": _summarize(_combine(each, standard)),
    }
    return OODDetector(**{name: np.asarray(value, "float32") for name, value in whole.items()})


# Each distance is scaled to 0 at the median and 1 at the 95 % quantile of held-out images. The
# logarithm of the sum of exponentials is close to the largest distance if one is large, and counts
# all three if each is moderate: a plain maximum would miss such an image.
def _combine(distances: np.ndarray, standard: np.ndarray) -> np.ndarray:
    median, spread = standard
    standardized = (distances - median) / spread
    return np.asarray(np.logaddexp.reduce(standardized, axis=1))


def _summarize(distances: np.ndarray) -> np.ndarray:
    """Return the sorted distances, or 1,000 quantiles of them if there are more."""
    if len(distances) > _MAX_DISTANCES:
        distances = np.quantile(distances, (np.arange(_MAX_DISTANCES) + 0.5) / _MAX_DISTANCES)
    return np.sort(distances).astype("float32")


def _count_components(rows: np.ndarray) -> int:
    count, size = rows.shape
    return max(1, min(_MAX_COMPONENTS, int(size), int(count) // _IMAGES_PER_COMPONENT))


def _fit_gaussians(
    rows: np.ndarray, labels: np.ndarray, products: np.ndarray, start: np.ndarray
) -> OODDetector:
    """Return a detector of standardised features, without distances of held-out images yet."""
    count, size = rows.shape
    mean = rows.mean(axis=0)
    covariance = products / count - np.outer(mean, mean)
    components, variances = _find_components(covariance, start, iterations=2)
    left_out = float(np.trace(covariance)) - float(variances.sum())
    negligible = _NEGLIGIBLE * max(float(variances.max()), 1e-12)
    projection = components / np.where(variances > negligible, np.sqrt(variances), np.inf)
    left_out /= max(size - len(variances), 1)
    whole = (rows - mean) @ projection
    classes, indices = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(classes), whole.shape[1]))
    np.add.at(sums, indices, whole)  # one-hot rows would take a lot of memory
    centres = (sums / np.bincount(indices)[:, None]).astype("float32")
    deviations = whole - centres[indices]
    within = deviations.T @ deviations / max(count - len(classes), 1)
    within += _SHRINKAGE * np.eye(len(within))
    whitening = np.linalg.cholesky(np.linalg.inv(within))
    return OODDetector(
        mean=mean,
        projection=projection,
        scale=np.ones(size, "float32"),
        variances=variances,
        residual_variance=np.asarray(left_out if left_out > negligible else np.inf),
        whitening=whitening,
        centres=centres @ whitening,
        standard=np.zeros((2, 2)),
        distances=np.zeros(0),
    )


def _find_components(
    covariance: np.ndarray, start: np.ndarray, *, iterations: int = _ITERATIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first principal components and their variances, by subspace iteration.

    It takes a twentieth of the time of all eigenvectors of 2,048 features, and is accurate enough.
    """
    basis = start
    for _ in range(iterations):
        basis, _ = np.linalg.qr(covariance @ basis)
    variances, turned = np.linalg.eigh(basis.T @ covariance @ basis)
    return basis @ turned, np.maximum(variances, 0)
