"""Answer one image: areas and outlines as JSON; mask, overlay and cut-out as pictures."""

from __future__ import annotations

import base64
import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from segtf.inference.prediction import ask
from segtf.inference.predictor import Predictor
from segtf.outputs.files import View, encode_overlay
from segtf.outputs.matting import encode_cutout
from segtf.outputs.polygons import EDGE, TOLERANCE, Region, find_regions, simplify, trace
from segtf.services.http.errors import Refused
from segtf.services.http.schema import (
    MEDIA_TYPES,
    Answer,
    ClassArea,
    ModelFacts,
    Object,
    Output,
    Picture,
)
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image
from voc_builder.pixels.overlay import count_ids
from voc_builder.pixels.png import encode_mask

OBJECTS = 1000  # most objects in one answer: noise has a million


class Cancelled(Exception):
    """The client has gone away."""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    output: Output = "json"
    pictures: tuple[Picture, ...] = ()  # inside the JSON
    polygons: bool = True


def answer(predictor: Predictor, encoded: bytes, wanted: Wanted, cancel: Event) -> bytes:
    """Content of the answer to an encoded image. Raises `Refused` if the image cannot be decoded or
    a picture cannot be made, `Cancelled` soon after `cancel` is set.
    """
    started = time.perf_counter()
    kinds = wanted.pictures if wanted.output == "json" else (wanted.output,)
    if "cutout" in kinds and not has_background(predictor.classes):
        first = predictor.classes[0]
        raise Refused(422, f"no cutout: no class is the background, class 0 is {first}")
    try:
        image = decode_image(encoded, "the upload")
    except UserError as error:
        raise Refused(422, str(error)) from None
    said = ask(predictor, _Cancellable(image, cancel), background="cutout" in kinds)
    view = View(image, said.mask, said.background, None)
    pictures = {kind: _encode(kind, predictor, view) for kind in kinds}
    if wanted.output != "json":
        return pictures[wanted.output]
    height, width = said.mask.shape
    objects, left_out = _objects(predictor.classes, said.mask) if wanted.polygons else ([], 0)
    result = Answer(
        width=width,
        height=height,
        classes=_areas(predictor, said.mask),
        objects=objects,
        objects_left_out=left_out,
        uncertainty=round(said.uncertainty, 4),
        models=model_facts(predictor),
        seconds=round(time.perf_counter() - started, 4),
        pictures={
            kind: f"data:{MEDIA_TYPES[kind]};base64,{base64.b64encode(content).decode()}"
            for kind, content in pictures.items()
        },
    )
    return result.model_dump_json().encode()


def model_facts(predictor: Predictor) -> list[ModelFacts]:
    """Facts of each network of a predictor."""
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


def hex_colour(predictor: Predictor, class_id: int) -> str:
    """Colour of a class, #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*predictor.colours[class_id].tolist())


@dataclass(frozen=True)
class _Cancellable:
    """An image whose rows cannot be read any more once `cancel` is set: tiles are read one by one,
    so that this stops the prediction of a large image.
    """

    image: NDArray[np.uint8]
    cancel: Event

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def __getitem__(self, rows: slice, /) -> NDArray[np.uint8]:
        if self.cancel.is_set():
            raise Cancelled
        return self.image[rows]


def _areas(predictor: Predictor, mask: NDArray[np.uint8]) -> list[ClassArea]:
    pixels = count_ids(mask).tolist()
    return [
        ClassArea(
            id=class_id,
            name=name,
            colour=hex_colour(predictor, class_id),
            pixels=pixels[class_id],
            share=round(pixels[class_id] / mask.size, 6),
        )
        for class_id, name in enumerate(predictor.classes)
    ]


def _objects(classes: Sequence[str], mask: NDArray[np.uint8]) -> tuple[list[Object], int]:
    """The `OBJECTS` largest objects in class ids, shape (H, W), and the number of the others."""
    first = 1 if has_background(classes) else 0
    counter = itertools.count()
    found = zip(find_regions(mask, range(first, len(classes))), counter, strict=False)
    largest = heapq.nlargest(OBJECTS, (region for region, _ in found), key=lambda r: r.area)
    return [_object(classes, region) for region in largest], next(counter) - len(largest)


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


def _encode(kind: Picture, predictor: Predictor, view: View) -> bytes:
    if kind == "mask":
        return encode_mask(view.mask)
    try:
        if kind == "overlay":
            return encode_overlay(view, predictor.classes, predictor.colours)
        assert view.background is not None
        return encode_cutout(view.image, view.background)
    except UserError as error:
        raise Refused(422, f"no {kind} of this image: {error}") from None
