"""The backbones to choose from, each with its constructor's options, weights and image sizes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError
from tlkit.models import starter
from tlkit.models.backbones import PixelFormat

# A name, then optionally a colon and options. The name may be a path or an address with colons, so
# options start at the first colon that a word and "=" follow. A comma separates options only if a
# word and "=" follow it.
_FORM = re.compile(r"(?P<backbone>.+?)(:(?P<options>[^\W\d]\w*=.+))?", re.DOTALL)
_SEPARATOR = re.compile(r",(?=[^\W\d]\w*=)")


@check_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class BackboneCandidate:
    """A backbone to compare with others; `str(candidate)` is its text for `--backbones`.

    Attributes:
        backbone: A name that `build_classifier` takes, or a model.
        options: Other arguments of its constructor.
        weights: "imagenet", "starter", None for random weights, or a weights file.
        image_sizes: The image sizes to choose from; empty for those of the search.
        pixels: The pixels that it takes, as for `build_classifier`.
        num_prefix_tokens: Tokens before the patches, as for `build_classifier`.

    Examples:
        >>> candidate = BackboneCandidate.parse("mobilenet_v2:alpha=0.35,image_size=96")
        >>> candidate.options, candidate.image_sizes
        ({'alpha': 0.35}, (96,))
    """

    backbone: str | keras.Model
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = "imagenet"
    image_sizes: tuple[int | tuple[int, int], ...] = ()
    pixels: PixelFormat | tuple[float, float] | str | None = None
    num_prefix_tokens: int | None = None

    @classmethod
    @check_arguments
    def parse(cls, text: str, *, weights: str | None = "imagenet") -> "BackboneCandidate":
        """Return the candidate that a text of the form name or name:option=value,... describes.

        Args:
            text: A name, or a name with options. Options are arguments of the backbone's
                constructor, and `weights`, `pixels`, `num_prefix_tokens` and `image_size`. The name
                "starter" means mobilenet_v2 with the weights that are part of tlkit.
            weights: The weights of a text that does not name weights.

        Raises:
            ConfigError: The text has another form.
        """
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None or _lacks_options(found["backbone"]):
            raise ConfigError(
                Argument("backbones"),
                f" must be names, or name:option=value,option=value, got {show(text)}. For example "
                "mobilenet_v2:alpha=0.35, mobilenet:weights=file.h5 or starter:image_size=32.",
            )
        name = found["backbone"]
        if name == starter.WEIGHTS:
            name, weights = starter.BACKBONE, starter.WEIGHTS
        options: dict[str, Any] = {}
        for part in _SEPARATOR.split(found["options"] or ""):
            option, _, value = part.partition("=")
            options |= {option: _read_value(value)} if option else {}
        given = [options.pop("image_size")] if "image_size" in options else []
        return cls(
            backbone=name,
            weights=options.pop("weights", weights),
            pixels=options.pop("pixels", None),
            num_prefix_tokens=options.pop("num_prefix_tokens", None),
            options=options,
            image_sizes=tuple(arguments.parse_size("image_size", size) for size in given),
        )

    @property
    def name(self) -> str:
        """The backbone's name."""
        return self.backbone if isinstance(self.backbone, str) else self.backbone.name

    def __str__(self) -> str:
        options = dict(self.options)
        if self.weights == starter.WEIGHTS and self.name == starter.BACKBONE:
            name = starter.WEIGHTS
        else:
            name = self.name
            options |= {} if self.weights == "imagenet" else {"weights": self.weights}
            options |= {"pixels": self.pixels} if isinstance(self.pixels, str) else {}
        if self.num_prefix_tokens is not None:
            options["num_prefix_tokens"] = self.num_prefix_tokens
        if not isinstance(self.backbone, str):
            return name
        return ":".join(filter(None, [name, ",".join(format_options(options))]))


def format_options(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return options as a user types them: {"alpha": 0.35} as ("alpha=0.35",)."""
    return tuple(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in options.items()
    )


def read_candidates(
    backbones: Sequence[str | keras.Model | BackboneCandidate], weights: str | None
) -> list[BackboneCandidate]:
    """Return the candidates of a list, without duplicates.

    Args:
        backbones: Texts as for `BackboneCandidate.parse`, or candidates.
        weights: The weights of a text that does not name weights.

    Raises:
        ConfigError: The list is empty, or an entry is neither such a text nor a candidate.
    """
    if isinstance(backbones, str) or not isinstance(backbones, Sequence) or not backbones:
        raise ConfigError(
            Argument("backbones"),
            f" must be a list of at least one backbone, got {show(backbones)}.",
        )
    found = []
    for each in dict.fromkeys(backbones):
        if isinstance(each, BackboneCandidate):
            found.append(each)
        elif isinstance(each, keras.Model):
            raise ConfigError(
                Argument("backbones"),
                f" must hold a model with the pixels that it takes, got {each.name!r} alone: "
                "BackboneCandidate(backbone=model, pixels=(-1, 1)).",
            )
        else:
            found.append(BackboneCandidate.parse(each, weights=weights))
    return found


def _lacks_options(name: str) -> bool:
    return ":" in name and "://" not in name and not Path(name).exists()


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return text
