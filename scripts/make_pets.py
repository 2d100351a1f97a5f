"""Draw photos of pets with masks, or fetch real ones: python -m scripts.make_pets"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scripts.own_files import refuse_taken_folder
from voc_builder.base.command import given, run
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import progress

if TYPE_CHECKING:
    from scripts.drawing.pet import Breed
    from scripts.drawing.pet_photo import Shot

PROG = "python -m scripts.make_pets"
Layout = Literal["pets", "dogs", "splits"]
SMALLEST = 64  # pixels; below that a pet has no pixel within its border
SIDES = ((4, 3), (3, 4), (3, 2), (1, 1), (4, 3), (2, 3), (4, 3), (16, 9))  # width to height
QUALITY = 92  # of the JPEGs, 1 to 100
SPLIT = ("train",) * 7 + ("valid",) * 2 + ("test",)  # of photos one after the other
OWN_FILE = re.compile(
    r"images|masks|(train|valid)(_mask)?|test|annotations|annotations/trimaps|"
    r"(images|masks|(train|valid)(_mask)?|test|annotations/trimaps)/[A-Za-z]+_\d+\.(jpg|png)|"
    r"annotations/(list|trainval|test)\.txt|obj\.names"
)
HEADER = """#Image CLASS-ID SPECIES BREED ID
#ID: 1:{classes} Class ids
#SPECIES: 1:Cat 2:Dog
#BREED ID: 1-{cats}:Cat 1:{dogs}:Dog
#All images with 1st letter as capital are cat images
#images with small first letter are dog images
"""


@dataclass(frozen=True)
class PetsConfig:
    """Draw photos of cats and dogs in the layout of Oxford-IIIT Pet, or fetch that set itself."""

    out: Path
    """Folder to write."""
    download: bool = False
    """Fetch the photos and trimaps of Oxford-IIIT Pet, 811 MB, instead of drawing some. What was
    fetched before a break is kept in the folder."""
    layout: Layout = "pets"
    """pets: images, trimaps and lists of trainval and test; dogs: dogs alone, images and masks of
    0 and 255; splits: these as train, train_mask, valid, valid_mask and test, which has no masks,
    all photos three wide to four high."""
    count: int = 160
    """Number of photos."""
    size: int = 500
    """Longest side of a photo, pixels; most are smaller."""
    seed: int = 1
    """The same seed gives the same files, byte for byte; photo N is the same for any count."""
    overwrite: bool = False
    """Replace the folder if it exists and holds nothing but such files."""


def make_pets(config: PetsConfig) -> None:
    """Write the drawn photos with their masks; raises `UserError` for a folder that exists, or that
    holds other files than are written here.
    """
    import cv2

    from scripts.drawing.pet import BREEDS
    from scripts.drawing.pet_photo import draw_trimap
    from voc_builder.pixels.images import encode_jpeg

    if config.count < 2 or config.size < SMALLEST or config.seed < 0:
        raise UserError(
            f"--count must be at least 2, --size at least {SMALLEST}, --seed 0 or more. "
            f"Received: {config.count}, {config.size}, {config.seed}"
        )
    refuse_taken_folder(config.out, OWN_FILE, overwrite=config.overwrite)
    pets = config.layout == "pets"
    breeds = [breed for breed in BREEDS if pets or not breed.cat]
    with replacing(config.out) as folder:
        folder.mkdir(parents=True)
        for index in progress(range(config.count), config.count, "photos", patience=3):
            name = photo_name(index, breeds)
            photos, masks = folders_of(index, config.layout)
            shot = draw_shot(index, breeds, config)
            mask = draw_trimap(shot.pet) if pets else shot.pet.astype("uint8") * 255
            files = {f"{photos}/{name}.jpg": encode_jpeg(shot.photo, quality=QUALITY)}
            if masks:
                files[f"{masks}/{name}.png"] = cv2.imencode(".png", mask)[1].tobytes()
            for file, content in files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
        if pets:
            write_lists(folder / "annotations", config.count, breeds)
        elif config.layout == "dogs":  # the recipe of ready-made splits has names of its own
            (folder / "obj.names").write_text("background\ndog\n", "utf-8")


def folders_of(index: int, layout: Layout) -> tuple[str, str]:
    """The folders of a photo and of its mask; none for one whose mask is kept back."""
    if layout == "splits":
        split = SPLIT[index % len(SPLIT)]
        return split, "" if split == "test" else f"{split}_mask"
    return "images", "annotations/trimaps" if layout == "pets" else "masks"


def photo_name(index: int, breeds: Sequence[Breed]) -> str:
    """Breed and number, from 1: the breeds take turns."""
    turn, place = divmod(index, len(breeds))
    return f"{breeds[place].name}_{turn + 1}"


def draw_shot(index: int, breeds: Sequence[Breed], config: PetsConfig) -> Shot:
    """Photo and pet, of a shape and size of its own."""
    import numpy as np

    from scripts.drawing.pet_photo import take_photo

    rng = np.random.default_rng((config.seed, index))
    across, down = (3, 4) if config.layout == "splits" else SIDES[rng.integers(len(SIDES))]
    longest = max(config.size * rng.choice([1.0, 1.0, 0.8, 0.6]), SMALLEST)
    width, height = (round(longest * side / max(across, down)) for side in (across, down))
    return take_photo(rng, breeds[index % len(breeds)], height, width)


def write_lists(annotations: Path, count: int, breeds: Sequence[Breed]) -> None:
    """`list.txt`, and its halves `trainval.txt` and `test.txt`, to which the photos of each breed
    go in turn. A line is NAME CLASS SPECIES BREED, all counted from 1 in the order of the names.
    """
    alphabet = sorted(breeds, key=lambda breed: breed.name.casefold())
    kinds = {
        breed.name: [other for other in alphabet if other.cat == breed.cat] for breed in breeds
    }
    lines = {}
    for index in range(count):
        breed, name = breeds[index % len(breeds)], photo_name(index, breeds)
        species, number = 1 if breed.cat else 2, kinds[breed.name].index(breed) + 1
        lines[index] = f"{name} {alphabet.index(breed) + 1} {species} {number}"
    half = [(sum(divmod(index, len(breeds)))) % 2 for index in range(count)]
    for file, wanted in (("list", (0, 1)), ("trainval", (0,)), ("test", (1,))):
        chosen = [lines[index] for index in range(count) if half[index] in wanted]
        head = ""
        if file == "list":
            cats = sum(breed.cat for breed in breeds)
            head = HEADER.format(classes=len(breeds), cats=cats, dogs=len(breeds) - cats)
        text = head + "".join(f"{line}\n" for line in sorted(chosen, key=str.casefold))
        (annotations / f"{file}.txt").write_text(text, "utf-8")


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: PetsConfig) -> None:
        if config.download:
            from scripts.download_pets import download_pets

            for name in sorted(given(PetsConfig, PROG, argv) - {"out", "download", "config"}):
                raise UserError(f"--{name}: of drawn photos alone: leave it or --download out")
            download_pets(config.out)
        else:
            make_pets(config)
            print(f"{config.out}: {config.count} photos, none longer than {config.size} pixels")

    return run(command, PetsConfig, PROG, argv)


if __name__ == "__main__":
    sys.exit(main())
