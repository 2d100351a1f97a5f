"""Draw images of pets with masks, or download real ones: python -m scripts.make_pets OUT"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scripts.drawing.folder import check_ranges, new_folder, write
from voc_builder.base.command import given, run
from voc_builder.base.errors import UserError
from voc_builder.base.progress import progress

if TYPE_CHECKING:
    from scripts.drawing.pets import Breed

PROG = "python -m scripts.make_pets"
Layout = Literal["pets", "dogs", "splits"]
SMALLEST = 64  # pixels
SIDES = ((4, 3), (3, 4), (3, 2), (1, 1), (4, 3), (2, 3), (4, 3), (16, 9))  # width to height
QUALITY = 92  # of the JPEGs, 1 to 100
SPLIT = ("train",) * 7 + ("valid",) * 2 + ("test",)  # of ten images in a row
OWN_FILE = re.compile(
    r"images|masks|(train|valid)(_mask)?|test|annotations|annotations/trimaps|"
    r"(images|masks|(train|valid)(_mask)?|test|annotations/trimaps)/[A-Za-z]+_\d+\.(jpg|png)|"
    r"annotations/(list|trainval|test)\.txt|obj\.names"
)


@dataclass(frozen=True)
class PetsConfig:
    """Draw images of cats and dogs in the layout of Oxford-IIIT Pet, or download that set."""

    out: Path
    """Folder to write."""
    download: bool = False
    """Download the images and trimaps of Oxford-IIIT Pet, 811 MB, instead of drawing some."""
    layout: Layout = "pets"
    """pets: images, trimaps and lists of trainval and test; dogs: only dogs, images and masks of
    0 and 255; splits: the same as train, train_mask, valid, valid_mask and test, which has no
    masks, all images with a ratio of width to height of 3 to 4."""
    count: int = 160
    """Number of images."""
    size: int = 500
    """Longest side of an image, pixels; some are smaller."""
    seed: int = 1
    """The same seed gives the same files, byte for byte; image N is the same for any count."""
    overwrite: bool = False
    """Replace the folder if it exists and holds only such files."""


def make_pets(config: PetsConfig) -> None:
    """Write the drawn images and masks. Raises `UserError` for a number out of range, and for a
    folder that exists or holds other files.
    """
    import cv2
    import numpy as np

    from scripts.drawing.pets import BREEDS, draw_pet, draw_trimap
    from voc_builder.pixels.images import encode_jpeg

    check_ranges(
        ("--count", config.count, 2, None),
        ("--size", config.size, SMALLEST, None),
        ("--seed", config.seed, 0, None),
    )
    pets = config.layout == "pets"
    breeds = [breed for breed in BREEDS if pets or not breed.cat]
    with new_folder(config.out, OWN_FILE, overwrite=config.overwrite) as folder:
        for index in progress(range(config.count), config.count, "images", patience=3):
            rng = np.random.default_rng((config.seed, index))
            sides = SIDES[rng.integers(len(SIDES))] if config.layout != "splits" else (3, 4)
            longest = max(config.size * rng.choice([1.0, 1.0, 0.8, 0.6]), SMALLEST)
            width, height = (round(longest * side / max(sides)) for side in sides)
            image, pet = draw_pet(rng, breeds[index % len(breeds)], height, width)
            mask = draw_trimap(pet) if pets else pet.astype(np.uint8) * 255
            name = image_name(index, breeds)
            images, masks = folders_of(index, config.layout)
            write(folder / images / f"{name}.jpg", encode_jpeg(image, quality=QUALITY))
            if masks:
                write(folder / masks / f"{name}.png", cv2.imencode(".png", mask)[1].tobytes())
        if pets:
            write_lists(folder / "annotations", config.count, breeds)
        elif config.layout == "dogs":  # the recipe for splits names its classes itself
            write(folder / "obj.names", "background\ndog\n")


def folders_of(index: int, layout: Layout) -> tuple[str, str]:
    """The folders of an image and of its mask, which is empty for an image without a mask."""
    if layout == "splits":
        split = SPLIT[index % len(SPLIT)]
        return split, "" if split == "test" else f"{split}_mask"
    return "images", "annotations/trimaps" if layout == "pets" else "masks"


def image_name(index: int, breeds: Sequence[Breed]) -> str:
    """Breed and number, from 1; the breeds take turns."""
    turn, place = divmod(index, len(breeds))
    return f"{breeds[place].name}_{turn + 1}"


def write_lists(annotations: Path, count: int, breeds: Sequence[Breed]) -> None:
    """Write `list.txt` and its halves `trainval.txt` and `test.txt`, to which the images of each
    breed go in turn. A line is NAME CLASS SPECIES BREED, counted from 1 in alphabetical order, with
    species 1 for cats and 2 for dogs.
    """
    alphabet = sorted(breeds, key=lambda breed: breed.name.casefold())
    lines: tuple[list[str], list[str]] = ([], [])  # trainval, test
    for index in range(count):
        breed = breeds[index % len(breeds)]
        species = [other for other in alphabet if other.cat == breed.cat]
        ids = alphabet.index(breed) + 1, 1 if breed.cat else 2, species.index(breed) + 1
        line = f"{image_name(index, breeds)} {' '.join(map(str, ids))}\n"
        lines[sum(divmod(index, len(breeds))) % 2].append(line)
    header = "#Image CLASS-ID SPECIES BREED ID\n#SPECIES: 1:Cat 2:Dog\n"
    trainval, test = (sorted(part, key=str.casefold) for part in lines)
    write(annotations / "trainval.txt", "".join(trainval))
    write(annotations / "test.txt", "".join(test))
    write(annotations / "list.txt", header + "".join(sorted(trainval + test, key=str.casefold)))


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: PetsConfig) -> None:
        if not config.download:
            make_pets(config)
            print(f"{config.out}: {config.count} images, at most {config.size} pixels wide or high")
            return
        from scripts.download_pets import download_pets

        for name in sorted(given(PetsConfig, PROG, argv) - {"out", "download", "config"}):
            raise UserError(f"--{name} is for drawn images: remove it or --download")
        download_pets(config.out)

    return run(command, PetsConfig, PROG, argv)


if __name__ == "__main__":
    sys.exit(main())
