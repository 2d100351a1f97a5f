"""Ask one network or several about an image of any size: squeezed or in tiles, mirrored and turned,
together.

Images are RGB uint8, shape (H, W, 3), arrays or read by rows; probabilities are float32, shape
(H, W, C). An answer comes in strips of the image's rows, so that it needs never be held as a whole.
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

NUMBERS_A_STRIP = 2**23  # probabilities of a strip of a squeezed image: 32 MB
# whether rows and columns change places, rows are turned over, columns are turned over
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
    """One network or several, ready to answer about images of any size.

    `mode` resize squeezes an image to the height and width that the network was trained on, tile
    cuts parts of that shape out of the image as it is, which share `overlap` (0 to below 1) of a
    side with their neighbours; auto is what training did. With `tta` the network sees each of them
    also mirrored (flips) and turned (d4, squares only), and the mean is taken.

    `ensemble` puts several networks together: mean of the probabilities; vote, the share of the
    networks that name the class; per-class, for networks that each know other classes beside the
    background. Raises `UserError` for networks that do not fit together.

    With `postprocess` masks are swept by the `rules` that were chosen on val for the networks, see
    `segtf.inference.postprocess`; probabilities are not. Several networks must agree about the
    rules (of a class, for per-class): else none is followed, which is said on stderr.
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
        """The probabilities of `classes`, from the image's top to its bottom."""
        answers = [self._strips_of(model, image) for model in self.models]
        if len(answers) == 1 and self.ensemble == "mean":
            yield from answers[0]
            return
        for top, found in _side_by_side(answers):
            yield top, together(found, self.known, self.ensemble)

    def probabilities(self, image: Rows) -> NDArray[np.float32]:
        """Of each pixel and class, shape (H, W, C)."""
        result = np.empty((*image.shape[:2], len(self.classes)), np.float32)
        for top, strip in self.strips(image):
            result[top : top + len(strip)] = strip
        return result

    def mask(self, image: Rows) -> NDArray[np.uint8]:
        """The most probable class of each pixel, shape (H, W), the lowest id of equals; after the
        `rules`.
        """
        result = np.empty(image.shape[:2], np.uint8)
        for top, strip in self.strips(image):
            result[top : top + len(strip)] = most_probable(strip)
        postprocess_in_place(result, self.rules, self.classes)
        return result

    def postprocess(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of the class ids of a whole image, shape (H, W), after the `rules`."""
        return postprocess(mask, self.rules, self.classes)

    def _strips_of(self, model: OnnxModel, image: Rows) -> Iterator[Strip]:
        network, shape = turned(model.probabilities, self.turns), model.info.shape
        height, width = image.shape[:2]
        if (model.info.mode if self.mode == "auto" else self.mode) == "resize":
            squeezed = resize_image(image[:], *shape)
            return stretched_strips(network(squeezed[None])[0], height, width)
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
    """Raises `UserError` naming the first network, given as path and shape of what it sees, that
    cannot be asked about images turned so.
    """
    for path, (height, width) in networks:
        if height != width and any(swapped for swapped, _, _ in TURNS[tta]):
            raise UserError(
                f"--tta {tta}: turns what {path} sees, {describe((height, width))}, by a quarter, "
                "which only a square allows: use --tta flips"
            )


def turned(network: Network, turns: Sequence[tuple[bool, bool, bool]]) -> Network:
    """A network that answers by the mean of what `network` says of its images turned so, each
    answer turned back.
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


def stretched_strips(
    probabilities: NDArray[np.float32], height: int, width: int
) -> Iterator[Strip]:
    """Probabilities of a squeezed image, shape (h, w, C), at the image's size, strip by strip:
    bilinear, as `cv2.resize` of the whole, which an image of many megapixels has no memory for.
    """
    rows, _, classes = probabilities.shape
    wide = np.empty((rows, width, classes), np.float32)
    for class_id in range(classes):  # OpenCV resizes four channels at most
        plane = np.ascontiguousarray(probabilities[..., class_id])
        wide[..., class_id] = cv2.resize(plane, (width, rows), interpolation=cv2.INTER_LINEAR)
    flat = wide.reshape(rows, width * classes)
    centres = np.clip((np.arange(height) + 0.5) * rows / height - 0.5, 0, rows - 1)
    above = centres.astype(np.int64)
    below, share = np.minimum(above + 1, rows - 1), (centres - above).astype(np.float32)
    each = max(NUMBERS_A_STRIP // (width * classes), 1)
    for top, end in pairwise([*range(0, height, each), height]):
        first, last = int(above[top]), int(below[end - 1])
        weights = np.zeros((end - top, last - first + 1), np.float32)
        places = np.arange(end - top)
        np.add.at(weights, (places, above[top:end] - first), 1 - share[top:end])
        np.add.at(weights, (places, below[top:end] - first), share[top:end])
        yield top, (weights @ flat[first : last + 1]).reshape(end - top, width, classes)


def _side_by_side(
    answers: Sequence[Iterator[Strip]],
) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
    """Strips of several networks cut where any of them is cut; so much of each is held as one of
    them is ahead.
    """
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
    """The rules that all networks have; with `each`, class by class those of the networks that
    know it. Where networks differ there are none, and a line on stderr says so.
    """
    if not each:
        first, *others = (_rules_of(model) for model in models)
        if all(other == first for other in others):
            return first
        note("the networks have other post-processing rules: none is followed")
        return ()
    agreed, disputed = [], []
    for name in dict.fromkeys(name for model in models for name in model.info.classes):
        knowing = [_rules_of(model) for model in models if name in model.info.classes]
        rules = {next((rule for rule in of_one if rule.label == name), None) for of_one in knowing}
        if len(rules) > 1:
            disputed.append(name)
        else:
            agreed += [rule for rule in rules if rule is not None]
    if disputed:
        names = ", ".join(disputed)
        note(f"the networks have other post-processing rules of {names}: none of it is followed")
    return tuple(agreed)


def _rules_of(model: OnnxModel) -> tuple[Rule, ...]:
    found = model.info.postprocess
    return found.rules if found else ()
