"""Find out after which layer of a backbone a head should read, by what a linear head gets there."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit import _checks, chunks, cutting, data, engines, graph, solving, taps
from tlkit.classifier import backbone_of, image_range
from tlkit.errors import ConfigError, DataError
from tlkit.graph import Graph, Part, Step, TensorId
from tlkit.taps import Pooling

_ROWS = 512  # images run at a time
_FOLDS = 5
_ALWAYS, _VALIDATION = -1, -2
_MOST_SCORED = 5000
_ENOUGH = 2000  # images of which a fifth is enough to score on
_MOST_TOGETHER = 2048  # features
_HELPS = 0.5  # standard errors
_PENALTY = 1e-3  # what is chosen for a few thousand images, most often


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a linear head gets from one layer.

    Attributes:
        layer: The backbone's layer.
        pooling: How its maps become features, as `pooling` of build_classifier takes it.
        size: How many features an image has.
        work: Multiply-adds for one image, up to this layer.
        weights: How many weights the backbone has up to this layer.
        accuracy: The share of images that a head not fitted to them calls rightly, 0 to 1.
    """

    layer: str
    pooling: Pooling
    size: int
    work: int
    weights: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What linear heads get from a backbone, layer by layer; `print(probe)` shows it.

    Attributes:
        readings: From the first layer to the last.
        solver: What fitted the heads.
        fitted: How many images they were fitted to, but for those of the fold that was scored.
        scored: How many images they were scored on: none that the scored head was fitted to.
        engine: What ran the backbone.
        seconds: How long it all took.
        together: The readings that are best read together, found by adding one after the other;
            with `most_layers=1` the best alone.
        together_accuracy: What a head gets from all of these.
    """

    readings: tuple[Reading, ...]
    solver: str
    fitted: int
    scored: int
    engine: str
    seconds: float
    together: tuple[Reading, ...] = ()
    together_accuracy: float = math.nan

    @property
    def best(self) -> Reading:
        """The most accurate reading."""
        return max(self.readings, key=lambda reading: reading.accuracy)

    @property
    def standard_error(self) -> float:
        """How far chance alone is likely to move the best accuracy."""
        share = self.best.accuracy
        return math.sqrt(share * (1 - share) / self.scored)

    @property
    def chosen(self) -> Reading:
        """The cheapest reading whose accuracy is within one standard error of the best."""
        least = self.best.accuracy - self.standard_error
        good = [reading for reading in self.readings if reading.accuracy >= least]
        return min(good, key=lambda reading: (reading.work, reading.size))

    def __str__(self) -> str:
        width = max(len("layer"), *(len(reading.layer) for reading in self.readings))
        lines = [
            f"{self.solver} on {self.fitted:,} images, {self.scored:,} of them scored by heads "
            f"that had not seen them, in {self.seconds:.1f} s",
            f"{'layer':<{width}}  pooling  features  million multiply-adds  weights  accuracy",
        ]
        for reading in self.readings:
            mark = {self.best: "  best", self.chosen: "  chosen"}.get(reading, "")
            lines.append(
                f"{reading.layer:<{width}}  {_said(reading.pooling):<7}  {reading.size:8,}  "
                f"{reading.work / 1e6:21.2f}  {reading.weights:7,}  "
                f"{100 * reading.accuracy:6.2f} %{mark}"
            )
        if len(self.together) > 1:
            names = " + ".join(reading.layer for reading in self.together)
            lines.append(f"together: {names}  {100 * self.together_accuracy:.2f} %")
        return "\n".join(lines)


def _said(pooling: Pooling) -> str:
    return f"{pooling}x{pooling}" if isinstance(pooling, int) else pooling


def probe(
    model: keras.Model,
    train: data.Data,
    *,
    validation: data.Data | None = None,
    sample: int | None = 5000,
    solver: str = "ridge",
    most_features: int = 1024,
    most_layers: int = 1,
    engine: str = "keras",
    seed: int = 0,
) -> Probe:
    """Fit a linear head to every block of a classifier's backbone, in one pass over the data.

    Linear probes: Alain and Bengio, 2016 (arXiv:1610.01644). Each block's maps are read twice,
    averaged, and as a grid of averages as fine as `most_features` allows.

    Args:
        model: A classifier from build_classifier; it is not changed.
        train: `(images, labels)`, or a dataset of such batches.
        validation: The images to score on; by default the sample itself, in five folds: each is
            scored by heads fitted to the others.
        sample: How many of the training images to use: chosen by chance from arrays, the first of
            a dataset. None uses all: with "ridge", memory does not grow with their number.
        solver: "ridge" (closed form) or "lbfgs" (logistic regression; slower, and it keeps the
            features of the whole sample in memory).
        most_features: The finest grid has at most so many features.
        most_layers: How many layers to try to read together; with "ridge" alone.
        engine: What runs the backbone, as in `Cache`.
        seed: Chooses the sample.

    Raises:
        ConfigError: An argument is wrong, or the model has no graph.
        DataError: Images or labels don't fit the model, or too few are left to score on.
        EngineError: The engine can't run the backbone.

    Examples:
        >>> from tlkit import build_classifier
        >>> inputs = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="edges")(inputs))
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), "uint8")
        >>> [reading.layer for reading in probe(model, (images, np.arange(60) % 2)).readings]
        ['edges', 'edges']
    """
    started = time.perf_counter()
    _checks.one_of("solver", solver, solving.SOLVERS)
    _checks.at_least("most_features", most_features, 1)
    if _checks.at_least("most_layers", most_layers, 1) > 1 and solver != "ridge":
        raise ConfigError(f"`solver` must be 'ridge' where `most_layers` is {most_layers}.")
    if most_layers > 1 and validation is not None:
        raise ConfigError(
            f"`validation` must be left out where `most_layers` is {most_layers}: layers are "
            "joined on the sample's own folds."
        )
    if sample is not None:
        _checks.at_least("sample", sample, 10)
    classes = model.output_shape[-1]
    train = _checked(train, model, "train")
    pieces = _sampled(train, sample, rank=len(model.input_shape), seed=seed)
    first = next(pieces)
    places, readings = _places(model, first.images, most_features)
    runs = engines.prepare(engine, readings, first.images[:128])
    fits = [_Fit(place.size, classes, solver) for place in places]
    random = np.random.default_rng(seed)
    for piece in (first, *pieces):
        folds = random.integers(0, _FOLDS, len(piece.labels))
        if validation is not None:
            folds[:] = _ALWAYS
        _add(fits, runs, piece, folds)
    if validation is not None:
        checked = _checked(validation, model, "validation")
        for piece in _sampled(checked, _MOST_SCORED, rank=len(model.input_shape), seed=seed):
            _add(fits, runs, piece, np.full(len(piece.labels), _VALIDATION))
    fitted, scored = fits[0].counts
    if fitted < 2 * max(classes, _FOLDS):
        raise DataError(
            f"`train` must hold at least {2 * max(classes, _FOLDS)} images to fit and score "
            f"{classes} classes, got {fitted}."
        )
    heads = tuple(
        Reading(
            layer=place.layer,
            pooling=place.pooling,
            size=place.size,
            work=place.work,
            weights=place.weights,
            accuracy=fit.accuracy(),
        )
        for place, fit in zip(places, fits, strict=True)
    )
    together, together_accuracy = _together(heads, fits, most_layers)
    return Probe(
        readings=heads,
        together=together,
        together_accuracy=together_accuracy,
        solver=solver,
        fitted=fitted,
        scored=scored,
        engine=runs.name,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A place to read: a layer's output, pooled in one way."""

    layer: str
    tensor: TensorId
    pooling: Pooling
    size: int
    work: int
    weights: int


class _Readings(Part):
    """Gives the features at every place, of raw images."""

    def __init__(self, whole: Graph, places: Sequence[_Place], input_dtype: str) -> None:
        tensors = [place.tensor for place in places]
        steps = cutting.needed(whole.steps, tensors)
        super().__init__(steps, whole.inputs, tensors, input_dtype=input_dtype, name="readings")
        self._poolings = [place.pooling for place in places]

    @override
    def call(self, images: Any, training: bool | None = None) -> Any:
        maps = super().call(images, training=training)
        return [
            keras.ops.cast(taps.pooled(each, pooling), "float32")
            for each, pooling in zip(maps, self._poolings, strict=True)
        ]


def _add(
    fits: Sequence["_Fit"], runs: engines.Engine, piece: chunks.Chunk, folds: np.ndarray
) -> None:
    labels = data.label_indices(piece.labels)
    for fit, values in zip(fits, runs.run(piece.images), strict=True):
        fit.add(values, labels, folds)


def _together(
    readings: Sequence[Reading], fits: Sequence["_Fit"], most_layers: int
) -> tuple[tuple[Reading, ...], float]:
    """Add to the best reading the one that helps most, as long as one helps by half an error."""
    order = sorted(range(len(readings)), key=lambda index: -readings[index].accuracy)
    chosen, accuracy = [order[0]], readings[order[0]].accuracy
    while len(chosen) < most_layers:
        layers = {readings[index].layer for index in chosen}
        # of each layer only its better reading
        others = {readings[index].layer: index for index in reversed(order)}
        tried = [
            (_joint_accuracy([fits[each] for each in (*chosen, index)]), -index)
            for layer, index in others.items()
            if layer not in layers
            and sum(readings[each].size for each in (*chosen, index)) <= _MOST_TOGETHER
        ]
        count = sum(len(part[1]) for part in fits[0]._kept)
        needed = accuracy + _HELPS * math.sqrt(accuracy * (1 - accuracy) / count)
        if not tried or max(tried)[0] <= needed:
            break
        accuracy = max(tried)[0]
        chosen.append(-max(tried)[1])
    return tuple(readings[index] for index in sorted(chosen)), accuracy


def _joint_accuracy(fits: Sequence["_Fit"]) -> float:
    """Return what ridge regression gets from several readings of the images that were kept."""
    parts = [[np.concatenate(part) for part in zip(*fit._kept, strict=True)] for fit in fits]
    features = np.concatenate([part[0] for part in parts], axis=1)
    _, labels, folds = parts[0]
    joint = _Fit(features.shape[1], fits[0]._classes, "ridge")
    joint.add(features, labels, folds % _FOLDS)
    return joint.accuracy()


class _Fit:
    """Takes one place's features, and says what a head fitted to them gets on other images.

    Images are dealt into folds; each fold is scored by a head that was fitted to all the others.
    A fold of -1 is fitted to always, one of -2 scored by a head fitted to all folds.
    """

    def __init__(self, size: int, classes: int, solver: str) -> None:
        self._size, self._classes, self._solver = size, classes, solver
        self._moments: dict[int, solving.Moments] = {}
        self._kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._fitted: dict[int, int] = {}

    def add(self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> None:
        room = _MOST_SCORED - sum(len(part[1]) for part in self._kept)
        if self._solver != "ridge":
            self._kept.append((features, labels, folds))
        elif room > 0:
            mine = (folds != _ALWAYS).nonzero()[0][:room]
            self._kept.append((features[mine], labels[mine], folds[mine]))
        for fold in np.unique(folds[folds != _VALIDATION]).tolist():
            mine = (folds == fold).nonzero()[0]
            self._fitted[fold] = self._fitted.get(fold, 0) + len(mine)
            if self._solver == "ridge":
                if fold not in self._moments:
                    self._moments[fold] = solving.Moments(self._size, self._classes)
                self._moments[fold].add(features[mine], labels[mine])

    @property
    def counts(self) -> tuple[int, int]:
        """How many images heads are fitted to, and how many they are scored on."""
        scored = sum(int((part[2] != _ALWAYS).sum()) for part in self._kept)
        if self._solver != "ridge":
            folds = np.concatenate([part[2] for part in self._kept])
            scored = int(np.isin(folds, self._scored_folds(folds)).sum())
        return sum(self._fitted.values()), scored

    def accuracy(self) -> float:
        features, labels, folds = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        if self._solver == "ridge":
            return self._by_ridge(features, labels, folds)
        right = []
        for fold in self._scored_folds(folds):
            held, fitted = folds == fold, (folds != fold) & (folds != _VALIDATION)
            found = solving.lbfgs(
                features[fitted], labels[fitted], classes=self._classes, penalty=_PENALTY
            )
            right.append(found.logits(features[held]).argmax(axis=1) == labels[held])
        return float(np.concatenate(right).mean())

    def _scored_folds(self, folds: np.ndarray) -> list[int]:
        """Return the folds to score: one is enough, and much faster, where it has many images."""
        there = [fold for fold in np.unique(folds).tolist() if fold != _ALWAYS]
        many = len(folds) > _ENOUGH
        return there[:1] if many or _VALIDATION in there else there

    def _by_ridge(self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> float:
        """Return the accuracy with the penalty that is best over all folds."""
        whole = solving.Moments(self._size, self._classes)
        for moments in self._moments.values():
            whole = whole.plus(moments)
        right = np.zeros(len(solving.PENALTIES))
        for fold in np.unique(folds).tolist():
            held = folds == fold
            rest = whole.without(self._moments[fold]) if fold in self._moments else whole
            right += [
                (linear.logits(features[held]).argmax(axis=1) == labels[held]).sum()
                for linear in rest.solve()
            ]
        return float(right.max() / len(labels))


def _places(
    model: keras.Model, sample: np.ndarray, most_features: int
) -> tuple[list[_Place], _Readings]:
    backbone = backbone_of(model)
    whole = graph.flatten(model)
    dtype = model.inputs[0].dtype
    everything = Part(whole.steps, whole.inputs, whole.outputs, input_dtype=dtype, name="whole")
    known = everything.run(keras.ops.convert_to_tensor(sample[:1]), training=False)[1]
    made = {id(step.operation): step for step in whole.steps}
    places = []
    for layer in _ends(backbone, {key: known[step.outputs[0]] for key, step in made.items()}):
        tensor = made[id(layer)].outputs[0]
        work, weights = _cost(cutting.needed(whole.steps, [tensor]), known)
        for pooling, size in _poolings(tuple(known[tensor].shape), most_features):
            places.append(
                _Place(
                    layer=layer.name,
                    tensor=tensor,
                    pooling=pooling,
                    size=size,
                    work=work,
                    weights=weights,
                )
            )
    return places, _Readings(whole, places, dtype)


def _ends(backbone: keras.Model, outputs: dict[int, Any]) -> list[Any]:
    """Return the layers after which a block ends, or a bottleneck opens again.

    A layer outside residual blocks is one of them where the next layer gives more numbers.
    """
    padding = keras.layers.ZeroPadding2D
    ends = graph.block_ends(backbone)
    layers = backbone.layers
    sizes = [_numbers(outputs.get(id(layer))) for layer in layers]
    found = []
    residual = False  # whether a residual block ended since the last layer that was taken
    for index, layer in enumerate(layers):
        if ends[index] != index or id(layer) not in outputs:
            continue
        residual = residual or (index > 0 and ends[index - 1] == index)
        after = [n for n in range(index + 1, len(layers)) if not isinstance(layers[n], padding)]
        last = not after
        following = 0 if last else sizes[after[0]]
        if last or following > sizes[index] or (residual and following != sizes[index]):
            found.append(layer)
            residual = False
    return [layer for layer in found if len(outputs[id(layer)].shape) in (2, 4)]


def _numbers(tensor: Any) -> int:
    return 0 if tensor is None else math.prod(tensor.shape[1:])


def _cost(steps: Sequence[Step], known: dict[TensorId, Any]) -> tuple[int, int]:
    work = sum(cutting.work(step.operation, known[step.outputs[0]].shape) for step in steps)
    layers = {id(step.operation): step.operation for step in steps}.values()
    return work, sum(layer.count_params() for layer in layers if isinstance(layer, keras.Layer))


def _poolings(shape: tuple[int, ...], most: int) -> Iterator[tuple[Pooling, int]]:
    yield "avg", shape[-1]
    if len(shape) == 2 or shape[1:3] == (1, 1):
        return
    side = max(shape[1:3])
    cells = min(math.isqrt(most // shape[-1]), side)
    if cells >= side:
        yield "flatten", math.prod(shape[1:])
    elif cells > 1:
        squares = [-(-length // cells) for length in shape[1:3]]
        sides = [-(-length // square) for length, square in zip(shape[1:3], squares, strict=True)]
        yield cells, math.prod(sides) * shape[-1]


def _sampled(
    source: data.Data, count: int | None, *, rank: int, seed: int
) -> Iterator[chunks.Chunk]:
    """Yield about so many images: some by chance of arrays, the first of a dataset."""
    if data.is_arrays(source):
        images, labels = source
        order = np.random.default_rng(seed).permutation(len(images))
        chosen = order if count is None else order[:count]
        pieces = (chosen[start : start + _ROWS] for start in range(0, len(chosen), _ROWS))
        for piece in pieces:
            yield from chunks.read((images[piece], labels[piece]), rows=_ROWS, rank=rank)
        return
    seen = 0
    for chunk in chunks.read(source, rows=_ROWS, rank=rank):
        if count is not None and seen >= count:
            return
        seen += len(chunk.labels)
        yield chunk


def _checked(source: data.Data, model: keras.Model, name: str) -> data.Data:
    return data.checked(
        source,
        name=name,
        input_shape=model.input_shape,
        num_classes=model.output_shape[-1],
        image_range=image_range(model),
    )
