"""What the OpenAPI page says of the server."""

from __future__ import annotations

from typing import Any

from segtf.services.http.answer import Answer, Facts, ModelFacts
from segtf.services.http.upload import FIELD, FORMATS

ABOUT = """What a segmentation network sees in an image.

    curl -F file=@photo.jpg ADDRESS/predict
    curl --data-binary @photo.jpg "ADDRESS/predict?output=overlay" -o overlay.jpg

Every error is JSON, `{"error": "one sentence"}`, under any status of 400 and above."""
EXAMPLE = {
    "width": 1280,
    "height": 960,
    "classes": [
        {
            "id": 0,
            "name": "__background__",
            "colour": "#000000",
            "pixels": 1204000,
            "share": 0.979818,
        },
        {"id": 1, "name": "chip", "colour": "#800000", "pixels": 24800, "share": 0.020182},
    ],
    "objects": [
        {
            "class_id": 1,
            "name": "chip",
            "pixels": 24800,
            "box": [400, 310, 200, 124],
            "polygon": [[400.0, 310.0], [600.0, 310.0], [600.0, 434.0], [400.0, 434.0]],
            "holes": [],
        }
    ],
    "objects_left_out": 0,
    "uncertainty": 0.0142,
    "models": [
        {
            "file": "model.onnx",
            "arch": "unet",
            "encoder": "mobilenetv2",
            "height": 256,
            "width": 256,
            "mode": "resize",
            "provider": "CPUExecutionProvider",
            "version": "0.1.0",
            "dataset_sha256": "ac9cde6368c789b4f4e63f88fb50e9e354bf81ed4a5ad6992038384c5a3841ca",
        }
    ],
    "seconds": 0.041,
    "pictures": {},
}
BINARY = {"type": "string", "format": "binary"}


class Error(Facts):
    """Why there is no answer."""

    error: str


class Health(Facts):
    """Whether images are answered."""

    status: str
    """ready, or unready while the network is being warmed up or the server ends."""
    version: str
    """Of segtf."""
    models: list[ModelFacts]
    error: str | None = None
    """Why it is unready."""


def _failures(*statuses: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Error, "description": text} for status, text in statuses}


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Answer,
        "description": "JSON, or the picture that was asked for.",
        "content": {
            "application/json": {"example": EXAMPLE},
            "image/png": {"schema": BINARY},
            "image/jpeg": {"schema": BINARY},
        },
    },
    **_failures(
        (406, "The Accept header asks for what there is not."),
        (408, "The upload took too long."),
        (413, "Too many bytes or pixels; the limit is named."),
        (415, "Not an image."),
        (422, "An image that is damaged, or a request without one."),
        (429, "The queue is full; Retry-After says when to come again."),
        (500, "The network could not be run."),
    ),
}
BODY = {
    "required": True,
    "description": f"The image itself, whatever its Content-Type, or a form with the field {FIELD}."
    f" {', '.join(FORMATS.values())}.",
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: BINARY}}
        },
        "application/octet-stream": {"schema": BINARY},
        "image/*": {"schema": BINARY},
    },
}
OUTPUT = """What is answered: `json`; `mask`, a palette PNG of class ids; `overlay`, a JPEG of the
image with the classes drawn on it; `cutout`, a PNG with a transparent background. Without it the
Accept header decides: application/json, image/png (the mask) or image/jpeg (the overlay); JSON if
it leaves the choice."""
PICTURES = "Pictures to put into the JSON as data: URLs, with commas: one request gives all."
