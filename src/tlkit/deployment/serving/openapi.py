"""The OpenAPI description of a request to predict, and of its answers."""

from typing import Any

from tlkit.deployment.serving.limits import Limits
from tlkit.deployment.serving.refusal import CODES

DEFAULT_TOP = 5
"""The default number of classes for each image in an answer."""

_TEXT = {"type": "string"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_CLASS = {
    "type": "object",
    "required": ["class", "probability"],
    "properties": {"class": _TEXT, "probability": _SHARE},
}
_PREDICTION = {
    "type": "object",
    "required": ["name", "classes"],
    "properties": {
        "name": {"type": ["string", "null"], "description": "The name of the file."},
        "classes": {
            "type": "array",
            "items": _CLASS,
            "description": "The most probable first.",
        },
        "labels": {
            "type": "array",
            "items": _TEXT,
            "description": "Of a multi-label classifier: the classes above their thresholds.",
        },
        "ood_score": {
            **_SHARE,
            "description": "The share of the training images that are less unusual.",
        },
        "is_unlike": {
            "type": "boolean",
            "description": "Whether the image is probably none of the classes.",
        },
    },
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": _TEXT,
                "message": _TEXT,
                "image": {"type": "integer", "description": "The index of the wrong image."},
                "name": {**_TEXT, "description": "The name of its file."},
            },
        }
    },
}
_MEANINGS = {
    400: "The body can't be read",
    408: "The upload took too long",
    413: "Something is above a limit",
    415: "The content type is not supported",
    422: "A file is no image, or a value is wrong",
    500: "The prediction failed; the server's log says why",
    503: "The server has too much to do",
    504: "The prediction took too long",
}


def describe_predict(limits: Limits) -> dict[str, Any]:
    """Return the parameters and bodies that `/predict` accepts.

    Args:
        limits: The limits on requests.
    """
    most = {"maxItems": limits.max_images, "minItems": 1}
    binary = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": binary, **most}
    coded = {"type": "array", "items": {"type": "string", "format": "byte"}, **most}
    size = f"{limits.max_image_megabytes:g} MB and {limits.max_pixels:,} pixels"
    return {
        "parameters": [
            {
                "name": "top",
                "in": "query",
                "description": "How many classes to name for each image.",
                "schema": {"type": "integer", "minimum": 1, "default": DEFAULT_TOP},
            }
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {limits.max_images:,} images of {size}, and "
            f"{limits.max_request_megabytes:g} MB in all.",
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"images": several}}
                },
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["images"],
                        "properties": {"images": coded},
                    }
                },
                "image/*": {"schema": binary},
            },
        },
    }


def describe_answers() -> dict[int | str, dict[str, Any]]:
    """Return the answers of `/predict`, by status."""
    predictions = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": _PREDICTION}},
    }
    answers: dict[int | str, dict[str, Any]] = {
        status: {
            "description": f"{meaning}: {', '.join(CODES[status])}.",
            "content": {"application/json": {"schema": _ERROR}},
        }
        for status, meaning in _MEANINGS.items()
    }
    right = {"description": "Predictions", "content": {"application/json": {"schema": predictions}}}
    return {200: right, **answers}
