"""Predict an image of any size with one network or an ensemble: resized or in tiles, with test-time
augmentation.

Images are RGB uint8, shape (H, W, 3), arrays or read by rows; probabilities are float32, shape
(H, W, C). They come in strips of rows, so that those of the whole image need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.inference.decision import most_probable
from segtf.inference.ensembles import Ensemble, classes_together, together
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.postprocess import Rule, postprocess, postprocess_in_place
from segtf.inference.providers import Provider
from segtf.inference.tiles import Network, blended_strips
from segtf.run.size import HeightWidth, describe
from voc_builder.base.colours import voc_colours
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note
from voc_builder.pixels.image_rows import Rows
from voc_builder.pixels.images import resize_image

Mode = Literal["auto", "resize", "tile"]
Tta = Literal["none", "flips", "d4"]
Strip = tuple[int, NDArray[np.float32]]  # first row; probabilities of some rows, (h, W, C)

NUMBERS_A_STRIP = 2**23  # probabilities in a strip of a resized image: 32 MB
# whether rows and columns are swapped, rows are reversed, columns are reversed
TURNS: dict[Tta, tuple[tuple[bool, bool, bool], ...]] = {
    "none": ((False, False, False),),
    "flips": tuple((False, down, across) for down in (False, True) for across in (False, True)),
    "d4": tuple(
        (swapped, down, across)
        for swapped in (False, True)
        for down in (False, True)
        for across in (False, True)
    ),
}


class Predictor:
    """One network or an ensemble, for images of any size.

    `mode` resize resizes an image to the height and width of training; tile cuts tiles of that
    shape at full resolution, which overlap by a fraction `overlap` (0 to below 1) of their side;
    auto is the mode of training. `tta` averages over mirrored inputs (flips), or also over quarter
    turns (d4, squares only).

    `ensemble` combines several networks, see `segtf.inference.ensembles`. Raises `UserError` for
    networks that cannot be combined.

    With `postprocess` masks, not probabilities, are post-processed by the `rules` that were chosen
    on val, see `segtf.inference.postprocess`. Networks of an ensemble must have equal rules (per
    class, for per-class): otherwise none is applied, with a note on stderr.
    """

    def __init__(
        self,
        models: Sequence[OnnxModel],
        *,
        mode: Mode = "auto",
        overlap: float = 0.25,
        tta: Tta = "none",
        ensemble: Ensemble = "mean",
        postprocess: bool = True,
    ) -> None:
        if not 0 <= overlap < 1:
            raise UserError(f"--overlap {overlap}: must be at least 0 and below 1")
        self.models = tuple(models)
        self.mode = mode
        self.overlap = overlap
        self.turns = TURNS[tta]
        self.ensemble = ensemble
        self.known = [(str(model.path), model.info.classes) for model in self.models]
        check_turns(tta, [(str(model.path), model.info.shape) for model in self.models])
        self.classes = classes_together(self.known, ensemble)
        self.colours = (
            voc_colours(len(self.classes))
            if ensemble == "per-class"
            else np.array(self.models[0].info.colours, np.uint8)
        )
        self.rules = _agreed(self.models, each=ensemble == "per-class") if postprocess else ()

    def strips(self, image: Rows) -> Iterator[Strip]:
        """The probabilities of `classes`, strip by strip from top to bottom."""
        answers = [self._strips_of(model, image) for model in self.models]
        if len(answers) == 1 and self.ensemble == "mean":
            yield from answers[0]
            return
        for top, found in _side_by_side(answers):
            yield top, together(found, self.known, self.ensemble)

    def probabilities(self, image: Rows) -> NDArray[np.float32]:
        """The probabilities of each pixel, shape (H, W, C)."""
        result = np.empty((*image.shape[:2], len(self.classes)), np.float32)
        for top, strip in self.strips(image):
            result[top : top + len(strip)] = strip
        return result

    def mask(self, image: Rows) -> NDArray[np.uint8]:
        """The most probable class of each pixel after post-processing, shape (H, W)."""
        result = np.empty(image.shape[:2], np.uint8)
        for top, strip in self.strips(image):
            result[top : top + len(strip)] = most_probable(strip)
        postprocess_in_place(result, self.rules, self.classes)
        return result

    def postprocess(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of the class ids of a whole image, shape (H, W), post-processed."""
        return postprocess(mask, self.rules, self.classes)

    def _strips_of(self, model: OnnxModel, image: Rows) -> Iterator[Strip]:
        network, shape = turned(model.probabilities, self.turns), model.info.shape
        height, width = image.shape[:2]
        if (model.info.mode if self.mode == "auto" else self.mode) == "resize":
            resized = resize_image(image[:], *shape)
            return resized_strips(network(resized[None])[0], height, width)
        return blended_strips(
            network,
            lambda top, end: image[top:end],
            height,
            width,
            tile=shape,
            overlap=self.overlap,
        )


def open_predictor(
    paths: Sequence[Path],
    *,
    mode: Mode = "auto",
    overlap: float = 0.25,
    tta: Tta = "none",
    ensemble: Ensemble = "mean",
    threads: int = 0,
    provider: Provider = "auto",
    postprocess: bool = True,
) -> Predictor:
    """The predictor of ONNX files or run folders. Raises `UserError`."""
    return Predictor(
        [OnnxModel(path, threads=threads, provider=provider) for path in paths],
        mode=mode,
        overlap=overlap,
        tta=tta,
        ensemble=ensemble,
        postprocess=postprocess,
    )


def check_turns(tta: Tta, networks: Sequence[tuple[str, HeightWidth]]) -> None:
    """Raises `UserError` naming the first network, given as path and training shape, for which the
    turns are impossible.
    """
    for path, (height, width) in networks:
        if height != width and any(swapped for swapped, _, _ in TURNS[tta]):
            raise UserError(
                f"--tta {tta}: needs a square input for its quarter turns, and that of {path} is "
                f"{describe((height, width))}: use --tta flips"
            )


def turned(network: Network, turns: Sequence[tuple[bool, bool, bool]]) -> Network:
    """A network that averages the answers of `network` to its images in these turns, each answer
    turned back.
    """
    if list(turns) == [(False, False, False)]:
        return network

    def mean(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = [_turn_back(network(_turn(images, turn)), turn) for turn in turns]
        return np.mean(answers, axis=0, dtype=np.float32)

    return mean


def _turn(images: NDArray[np.uint8], turn: tuple[bool, bool, bool]) -> NDArray[np.uint8]:
    swapped, down, across = turn
    if swapped:
        images = images.swapaxes(1, 2)
    return np.ascontiguousarray(images[:, :: -1 if down else 1, :: -1 if across else 1])


def _turn_back(answers: NDArray[np.float32], turn: tuple[bool, bool, bool]) -> NDArray[np.float32]:
    swapped, down, across = turn
    answers = answers[:, :: -1 if down else 1, :: -1 if across else 1]
    return answers.swapaxes(1, 2) if swapped else answers


def resized_strips(probabilities: NDArray[np.float32], height: int, width: int) -> Iterator[Strip]:
    """Probabilities, shape (h, w, C), resized to the image's height and width strip by strip:
    bilinear, as `cv2.resize` of the whole, for which large images leave no memory.
    """
    rows, _, classes = probabilities.shape
    wide = np.empty((rows, width, classes), np.float32)
    for class_id in range(classes):  # OpenCV resizes four channels at most
        plane = np.ascontiguousarray(probabilities[..., class_id])
        wide[..., class_id] = cv2.resize(plane, (width, rows), interpolation=cv2.INTER_LINEAR)
    flat = wide.reshape(rows, width * classes)
    centres = np.clip((np.arange(height) + 0.5) * rows / height - 0.5, 0, rows - 1)
    above = centres.astype(np.int64)
    below, weight = np.minimum(above + 1, rows - 1), (centres - above).astype(np.float32)
    each = max(NUMBERS_A_STRIP // (width * classes), 1)
    for top, end in pairwise([*range(0, height, each), height]):
        first, last = int(above[top]), int(below[end - 1])
        weights = np.zeros((end - top, last - first + 1), np.float32)
        places = np.arange(end - top)
        np.add.at(weights, (places, above[top:end] - first), 1 - weight[top:end])
        np.add.at(weights, (places, below[top:end] - first), weight[top:end])
        yield top, (weights @ flat[first : last + 1]).reshape(end - top, width, classes)


def _side_by_side(
    answers: Sequence[Iterator[Strip]],
) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
    """The strips of several networks, cut wherever one of them is cut."""
    held = [next(answer) for answer in answers]
    ends = [top + len(strip) for top, strip in held]
    top = 0
    while True:
        end = min(ends)
        yield top, [strip[top - begin : end - begin] for begin, strip in held]
        top = end
        for i, answer in enumerate(answers):
            if ends[i] == top:
                following = next(answer, None)
                if following is None:
                    return
                held[i], ends[i] = following, top + len(following[1])


def _agreed(models: Sequence[OnnxModel], *, each: bool) -> tuple[Rule, ...]:
    """The rules that all networks share; with `each`, class by class those shared by the networks
    of that class. A note on stderr tells where they differ; there are none then.
    """
    if not each:
        first, *others = (_rules_of(model) for model in models)
        if all(other == first for other in others):
            return first
        note("the networks have different post-processing rules: none is applied")
        return ()
    agreed, different = [], []
    for name in dict.fromkeys(name for model in models for name in model.info.classes):
        knowing = [_rules_of(model) for model in models if name in model.info.classes]
        rules = {next((rule for rule in of_one if rule.label == name), None) for of_one in knowing}
        if len(rules) > 1:
            different.append(name)
        else:
            agreed += [rule for rule in rules if rule is not None]
    if different:
        names = ", ".join(different)
        note(
            f"the networks have different post-processing rules for {names}: these are not applied"
        )
    return tuple(agreed)


def _rules_of(model: OnnxModel) -> tuple[Rule, ...]:
    found = model.info.postprocess
    return found.rules if found else ()
