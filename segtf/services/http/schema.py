"""JSON of the answers, and their description in OpenAPI."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from segtf.services.http.upload import FIELD
from voc_builder.pixels.untrusted import KINDS

Picture = Literal["mask", "overlay", "cutout"]
Output = Literal["json", "mask", "overlay", "cutout"]
MEDIA_TYPES: dict[Output, str] = {
    "json": "application/json",
    "mask": "image/png",
    "overlay": "image/jpeg",
    "cutout": "image/png",
}


class Part(BaseModel):
    """A part of an answer; OpenAPI shows the docstrings of its fields."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ModelFacts(Part):
    """A network."""

    file: str
    """Name of its ONNX file."""
    arch: str
    encoder: str
    height: int
    """Of its input, pixels."""
    width: int
    """Of its input, pixels."""
    mode: str
    """resize: images are resized to that height and width; tile: cut into tiles of that size."""
    provider: str
    """Execution provider of onnxruntime."""
    version: str
    """Of segtf at the export."""
    dataset_sha256: str
    """Hash of the training data."""


class ClassArea(Part):
    """Area of a class in the image."""

    id: int
    """Class id, as in the mask."""
    name: str
    colour: str
    """In mask and overlay, #rrggbb."""
    pixels: int
    share: float
    """Fraction of the image's pixels, 0 to 1."""


class Object(Part):
    """Connected pixels of a class other than the background."""

    class_id: int
    name: str
    pixels: int
    box: tuple[int, int, int, int]
    """Left, top, width, height, pixels."""
    polygon: list[tuple[float, float]]
    """Outline, (x, y) in pixels from the top left corner of the image, simplified to one pixel."""
    holes: list[list[tuple[float, float]]]
    """Outlines of the holes."""


class Answer(Part):
    """Prediction for an image."""

    width: int
    """Of the image after its EXIF rotation, pixels."""
    height: int
    classes: list[ClassArea]
    """Every class of the network, by id."""
    objects: list[Object]
    """The largest first."""
    objects_left_out: int
    """Number of smaller objects that are not listed."""
    uncertainty: float
    """1 - probability of the most probable class, mean over the least certain twentieth of the
    pixels; 0 to 1."""
    models: list[ModelFacts]
    seconds: float
    """From the image's turn to the answer."""
    pictures: dict[Picture, str] = {}
    """Pictures asked for with `pictures`, as data: URLs."""


class Error(Part):
    """Reason why there is no answer."""

    error: str


class Health(Part):
    """Whether the server answers images."""

    status: str
    """ready; or unready, while the network warms up and when the server ends."""
    version: str
    """Of segtf."""
    models: list[ModelFacts]
    error: str | None = None
    """Why the server is unready."""


ABOUT = """Segmentation of images.

    curl -F file=@image.jpg ADDRESS/predict
    curl --data-binary @image.jpg "ADDRESS/predict?output=overlay" -o overlay.jpg

Every error is JSON, `{"error": "one sentence"}`, with a status code from 400 on."""
BINARY = {"type": "string", "format": "binary"}
ERRORS = {
    406: "The Accept header allows none of the outputs.",
    408: "The upload took too long.",
    413: "Too many bytes or pixels; the error names the limit.",
    415: "Not an image.",
    422: "A damaged image, or a request without an image.",
    429: "The queue is full; Retry-After says when to try again.",
    500: "The network cannot run.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Answer,
        "description": "JSON, or the picture that was asked for.",
        "content": {"image/png": {"schema": BINARY}, "image/jpeg": {"schema": BINARY}},
    },
    **{status: {"model": Error, "description": text} for status, text in ERRORS.items()},
}
BODY = {
    "required": True,
    "description": f"The image itself with any Content-Type, or a form with the field {FIELD}: "
    f"{KINDS}.",
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: BINARY}}
        },
        "application/octet-stream": {"schema": BINARY},
        "image/*": {"schema": BINARY},
    },
}
OUTPUT = """`json`; `mask`, a palette PNG of class ids; `overlay`, a JPEG of the image with the
classes drawn on it; `cutout`, a PNG with transparent background. By default the Accept header
decides: application/json, image/png (mask) or image/jpeg (overlay); JSON if it allows several."""
PICTURES = "Pictures to add to the JSON as data: URLs, separated by commas."
