"""The answer to an image: areas and outlines as JSON; mask, overlay and cut-out as pictures."""

from __future__ import annotations

import base64
import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from segtf.inference.prediction import ask
from segtf.inference.predictor import Predictor
from segtf.outputs.files import View, encode_overlay
from segtf.outputs.matting import encode_cutout
from segtf.outputs.polygons import EDGE, TOLERANCE, Region, find_regions, simplify, trace
from segtf.services.http.upload import Refused
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image
from voc_builder.pixels.overlay import count_ids
from voc_builder.pixels.png import encode_mask

OBJECTS = 1000  # in one answer, the largest ones: noise makes a million of them
Picture = Literal["mask", "overlay", "cutout"]
Output = Literal["json", "mask", "overlay", "cutout"]
MEDIA_TYPES: dict[Output, str] = {
    "json": "application/json",
    "mask": "image/png",
    "overlay": "image/jpeg",
    "cutout": "image/png",
}


class Facts(BaseModel):
    """A part of an answer; the texts below its fields are those of the OpenAPI page."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ModelFacts(Facts):
    """A network that answers."""

    file: str
    """Name of its ONNX file."""
    arch: str
    encoder: str
    height: int
    """Of what it sees, pixels."""
    width: int
    """Of what it sees, pixels."""
    mode: str
    """What it sees of an image: resize, all of it squeezed to that height and width, or tile, parts
    of that height and width as they are."""
    provider: str
    """What onnxruntime runs it on."""
    version: str
    """Of the package that exported it."""
    dataset_sha256: str
    """Of the data that it learned from."""


class ClassArea(Facts):
    """What an image shows of a class."""

    id: int
    """Class id: the value of its pixels in the mask."""
    name: str
    colour: str
    """As in mask and overlay, #rrggbb."""
    pixels: int
    share: float
    """Of the image's pixels, 0 to 1."""


class Object(Facts):
    """A connected area of a class other than the background."""

    class_id: int
    name: str
    pixels: int
    box: tuple[int, int, int, int]
    """Left, top, width, height, pixels."""
    polygon: list[tuple[float, float]]
    """Its outline, (x, y) in pixels from the image's top left corner; a pixel may be cut off."""
    holes: list[list[tuple[float, float]]]
    """The outlines of its holes."""


class Answer(Facts):
    """What the network finds in an image."""

    width: int
    """Pixels, of the image as it is looked at: turned as its EXIF says."""
    height: int
    classes: list[ClassArea]
    """Every class that the network knows, by its id."""
    objects: list[Object]
    """The largest first."""
    objects_left_out: int
    """Smaller ones than those that are listed."""
    uncertainty: float
    """0 to 1: by how much the best class falls short of a probability of 1, in the mean over the
    twentieth of the pixels that is the least sure."""
    models: list[ModelFacts]
    seconds: float
    """From the image's turn to the answer."""
    pictures: dict[Picture, str] = {}
    """Those asked for with `pictures`, as data: URLs."""


class Gone(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    output: Output = "json"
    pictures: tuple[Picture, ...] = ()  # inside JSON
    polygons: bool = True


def answer(predictor: Predictor, encoded: bytes, wanted: Wanted, gone: Event) -> bytes:
    """The content of the answer to an encoded image. Raises `Refused` if that cannot be decoded or
    a picture cannot be made of it, `Gone` as soon as `gone` is set.
    """
    started = time.perf_counter()
    drawn = wanted.pictures if wanted.output == "json" else (wanted.output,)
    if "cutout" in drawn and not has_background(predictor.classes):
        first = predictor.classes[0]
        raise Refused(
            422,
            f"no cutout: no class of this network is the background, its first is {first}: there "
            "is nothing to cut out of",
        )
    try:
        image = decode_image(encoded, "the upload")
    except UserError as error:
        raise Refused(422, str(error)) from None
    said = ask(predictor, _WhileWanted(image, gone), background="cutout" in drawn)
    view = View(image, said.mask, said.background, None)
    pictures = {name: _draw(name, predictor, view) for name in drawn}
    if wanted.output != "json":
        return pictures[wanted.output]
    height, width = said.mask.shape
    objects, left_out = _objects(predictor.classes, said.mask) if wanted.polygons else ([], 0)
    found = Answer(
        width=width,
        height=height,
        classes=_areas(predictor, said.mask),
        objects=objects,
        objects_left_out=left_out,
        uncertainty=round(said.uncertainty, 4),
        models=facts_of(predictor),
        seconds=round(time.perf_counter() - started, 4),
        pictures={name: _data_url(name, content) for name, content in pictures.items()},
    )
    return found.model_dump_json().encode()


def facts_of(predictor: Predictor) -> list[ModelFacts]:
    """Of each network of a predictor."""
    return [
        ModelFacts(
            file=model.path.name,
            arch=model.info.arch,
            encoder=model.info.encoder,
            height=model.info.shape[0],
            width=model.info.shape[1],
            mode=model.info.mode if predictor.mode == "auto" else predictor.mode,
            provider=model.provider,
            version=model.info.version,
            dataset_sha256=model.info.dataset_sha256,
        )
        for model in predictor.models
    ]


def colour_of(predictor: Predictor, class_id: int) -> str:
    """#rrggbb."""
    red, green, blue = (int(value) for value in predictor.colours[class_id])
    return f"#{red:02x}{green:02x}{blue:02x}"


@dataclass(frozen=True)
class _WhileWanted:
    """An image that cannot be read any more when nobody waits for it: a large one is asked for tile
    by tile.
    """

    image: NDArray[np.uint8]
    gone: Event

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def __getitem__(self, rows: slice, /) -> NDArray[np.uint8]:
        if self.gone.is_set():
            raise Gone
        return self.image[rows]


def _areas(predictor: Predictor, mask: NDArray[np.uint8]) -> list[ClassArea]:
    pixels = count_ids(mask).tolist()
    return [
        ClassArea(
            id=class_id,
            name=name,
            colour=colour_of(predictor, class_id),
            pixels=pixels[class_id],
            share=round(pixels[class_id] / mask.size, 6),
        )
        for class_id, name in enumerate(predictor.classes)
    ]


def _objects(classes: Sequence[str], mask: NDArray[np.uint8]) -> tuple[list[Object], int]:
    """The largest `OBJECTS` in class ids, shape (H, W), and how many there are besides."""
    count = 0

    def counted() -> Iterator[Region]:
        nonlocal count
        first = 1 if has_background(classes) else 0
        for region in find_regions(mask, range(first, len(classes))):
            count += 1
            yield region

    largest = heapq.nlargest(OBJECTS, counted(), key=lambda region: region.area)
    return [_object(classes, region) for region in largest], count - len(largest)


def _object(classes: Sequence[str], region: Region) -> Object:
    height, width = region.pixels.shape
    borders = (region.outer, *region.holes)
    outline, *holes = (simplify(trace(border, EDGE), TOLERANCE).tolist() for border in borders)
    return Object(
        class_id=region.class_id,
        name=classes[region.class_id],
        pixels=region.area,
        box=(region.left, region.top, width, height),
        polygon=outline,
        holes=holes,
    )


def _draw(picture: Picture, predictor: Predictor, view: View) -> bytes:
    if picture == "mask":
        return encode_mask(view.mask)
    try:
        if picture == "overlay":
            return encode_overlay(view, predictor.classes, predictor.colours)
        assert view.background is not None
        return encode_cutout(view.image, view.background)
    except UserError as error:
        raise Refused(422, f"no {picture} of this image: {error}") from None


def _data_url(picture: Picture, content: bytes) -> str:
    return f"data:{MEDIA_TYPES[picture]};base64,{base64.b64encode(content).decode()}"
