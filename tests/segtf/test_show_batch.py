"""The sheet of the first training batches, and the class frequencies on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtf.data.pipelines import load_pipeline, write_pipeline
from segtf.reports.batch_sheet import Frequencies, Frequency, draw_sheet, frequency_table
from segtf.run.config import TrainConfig
from segtf.run.folder import write_config
from segtf.show_batch import main
from voc_builder.base.command import parse
from voc_builder.pixels.images import decode_image
from voc_builder.tree.voc import Dataset

CLASSES = ("background", "chip", "crack")


@pytest.fixture
def two_images(dataset: Dataset) -> Dataset:
    """A data set that shows chips in one of its two training images."""
    return Dataset(
        **{
            **vars(dataset),
            "classes": CLASSES,
            "splits": {"train": ("a", "b"), "val": (), "test": ()},
            "pixels": {"train": {"background": 60, "chip": 20, "__ignore__": 20}},
            "images": {"train": {"background": 2, "chip": 1, "__ignore__": 1}},
        }
    )


@pytest.mark.slow
def test_fractions_are_of_labelled_pixels_and_those_of_void_of_all_pixels(
    two_images: Dataset,
) -> None:
    masks = np.zeros((4, 10, 10), np.uint8)
    masks[0, :4] = 255
    masks[1, :2] = 1
    masks[2] = 255
    frequencies = Frequencies.of(masks, two_images)
    assert frequencies == Frequencies(
        classes=(
            Frequency(240 / 260, 60 / 80, 3, 2),
            Frequency(20 / 260, 20 / 80, 1, 1),
            Frequency(0.0, 0.0, 0, 0),
        ),
        void=Frequency(140 / 400, 20 / 100, 2, 1),
        samples=4,
        images=2,
    )
    lines = frequency_table(frequencies, CLASSES).splitlines()
    assert lines[0].split() == ["drawn", "in", "training", "samples", "images"]
    assert lines[2].split() == ["chip", "7.7", "%", "25", "%", "1", "of", "4", "1", "of", "2"]
    assert lines[4].split()[0] == "void"


@pytest.mark.slow
def test_batches_of_void_alone_have_no_labelled_pixels(two_images: Dataset) -> None:
    frequencies = Frequencies.of(np.full((1, 4, 4), 255, np.uint8), two_images)
    assert [one.drawn for one in frequencies.classes] == [0, 0, 0]
    assert frequencies.void.drawn == 1


@pytest.mark.parametrize("shape", [(64, 64), (512, 512), (320, 240), (64, 96)])
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("count", [2, 12])
def test_a_sheet_shows_every_sample_beside_its_mask_at_a_readable_size(
    shape: tuple[int, int], batch: int, count: int
) -> None:
    classes = ["background", *(f"a class with the long name number {i}" for i in range(1, count))]
    one = Frequency(0.5, 0.5, 1, 1)
    frequencies = Frequencies((one,) * count, one, batch, 1)
    # grey levels that nothing else on the sheet has, far more of them than letters could make
    levels = 101 + 7 * np.arange(batch)
    images = np.broadcast_to(levels[:, None, None, None], (batch, *shape, 3)).astype(np.uint8)
    masks = np.zeros((batch, *shape), np.uint8)
    masks[:, : shape[0] // 4] = 1
    sheet = draw_sheet(
        images, masks, classes, frequencies, title="t" * 200, settings=["s"] * 50, batch=batch
    )
    assert 700 < sheet.shape[1] <= 2000
    grey = (sheet[..., 0] == sheet[..., 1]) & (sheet[..., 1] == sheet[..., 2])
    for level in levels:
        shown = np.count_nonzero(grey & (sheet[..., 0] == level))
        # the image and the part of its mask that is background
        assert shown > 1.6 * 190**2 * min(shape) / max(shape)


def test_each_batch_starts_a_new_row() -> None:
    one = Frequency(0.5, 0.5, 1, 1)
    frequencies = Frequencies((one, one), one, 6, 1)
    images, masks = np.full((6, 32, 32, 3), 120, np.uint8), np.zeros((6, 32, 32), np.uint8)
    shapes = [
        draw_sheet(
            images[:count],
            masks[:count],
            ["background", "chip"],
            frequencies,
            title="",
            settings=["s"],
            batch=3,
        ).shape
        for count in (3, 6)
    ]
    assert shapes[1][1] == shapes[0][1]
    assert shapes[1][0] > shapes[0][0] + 288  # the side of an image


@pytest.mark.slow
def test_show_batch_draws_the_first_training_batches_with_class_frequencies(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from segtf.data.batches import training_batches
    from segtf.data.records import load_splits, loading
    from segtf.data.sampling import Sampler

    flags = ["--data", str(dataset.path), "--size", "64", "--batch", "4", "--batches", "2"]
    flags += ["--mosaic", "0.5", "--augment", "heavy", "--seed", "7", "--artifacts", str(tmp_path)]
    assert main(flags) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(tmp_path / "batches.png")
    picture = decode_image((tmp_path / "batches.png").read_bytes(), "batches.png")

    config = TrainConfig(
        data=dataset.path, size=64, batch=4, mosaic=0.5, augment="heavy", seed=7, artifacts=tmp_path
    )
    [train] = load_splits(dataset, ("train",), loading(config, tmp_path / "disk"))
    sampler = Sampler(train, config, len(dataset.classes), range(1), len(train))
    images, masks = map(
        np.concatenate, zip(*training_batches(sampler, range(2)).as_numpy_iterator(), strict=True)
    )
    table = frequency_table(Frequencies.of(masks, dataset), dataset.classes)
    assert printed[: len(table.splitlines())] == table.splitlines()
    grown = images[0].repeat(7, 0).repeat(7, 1)  # 64 pixels as 448
    found = picture[:, 24 : 24 + 448]
    assert any(np.array_equal(found[top : top + 448], grown) for top in range(len(found) - 447))


@pytest.mark.slow
def test_with_crop_the_batch_is_the_first_one_that_training_takes(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three crops of 64 x 64 cover an image of 96 x 96: the 16 images fill a batch of 20."""
    from segtf.reports import batch_sheet
    from segtf.train import train
    from segtf.training import fitting

    class Taken(Exception):
        pass

    shown: list[np.ndarray] = []
    taken: list[np.ndarray] = []
    batches = fitting.training_batches

    def show(images: np.ndarray, masks: np.ndarray, *rest: Any, **more: Any) -> np.ndarray:
        shown.extend([images, masks])
        return draw_sheet(images, masks, *rest, **more)

    def take(*which: Any) -> None:
        taken.extend(next(batches(*which).as_numpy_iterator()))
        raise Taken

    monkeypatch.setattr(batch_sheet, "draw_sheet", show)
    monkeypatch.setattr(fitting, "training_batches", take)
    flags = ["--data", str(dataset.path), "--crop", "64", "--batch", "20", "--arch", "unet_plain"]
    assert main([*flags, "--artifacts", str(tmp_path)]) == 0
    with pytest.raises(Taken):
        train(parse(TrainConfig, "train", [*flags, "--artifacts", str(tmp_path)]))
    np.testing.assert_array_equal(shown[0], taken[0])
    np.testing.assert_array_equal(shown[1], taken[1])


@pytest.mark.slow
def test_a_run_gives_settings_and_pipeline_and_flags_override_them(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from segtf.run.folder import AUGMENT, DATA, write_json

    mine = tmp_path / "mine.yaml"
    write_pipeline(load_pipeline("light"), mine)
    config = TrainConfig(
        data=dataset.path, size=64, batch=4, augment=str(mine), run="old", artifacts=tmp_path
    )
    write_config(config, config.run_folder)
    write_pipeline(load_pipeline("light"), config.run_folder / AUGMENT)
    about = {"path": str(dataset.path), "sha256": dataset.sha256, "classes": list(dataset.classes)}
    write_json(about, config.run_folder / DATA)
    write_pipeline(load_pipeline("heavy"), mine)  # the run keeps its own copy
    flags = ["--run", "old", "--artifacts", str(tmp_path)]

    assert main(flags) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(config.run_folder / "batches.png")
    assert " of 4 " in printed
    assert "void" not in printed.replace("(void: of all pixels)", "")  # `light` uncovers nothing

    out = tmp_path / "here" / "other.jpg"
    assert main([*flags, "--augment", "heavy", "--batch", "6", "--out", str(out)]) == 0
    assert " of 6 " in capsys.readouterr().out
    assert out.read_bytes()[:2] == b"\xff\xd8"

    assert main([*flags, "--split", "70/20/10"]) == 2
    assert "--split: the data set of --run old" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--out", "sheet.gif"], "--out sheet.gif: must end with one of .png, .jpg, .jpeg"),
        (["--batches", "0"], "--batches takes a number from 1 on"),
        (["--run", "nothing-of-that-name"], "not a run folder"),
        (["--augment", "nothing"], "--augment nothing: neither one of"),
    ],
)
def test_a_wrong_flag_gets_one_line(
    flags: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags, "--artifacts", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_batches_that_cannot_be_drawn_are_refused_before_images_are_read(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data", str(dataset.path), "--artifacts", str(tmp_path)]
    assert main([*flags, "--size", "64", "--batch", "17"]) == 2
    assert "--batch 17: the data set has 16 training images" in capsys.readouterr().err
    assert main([*flags, "--crop", "64", "--batch", "49"]) == 2
    assert "has 16 training images, 3 crops of each: take fewer" in capsys.readouterr().err
    bad = tmp_path / "mine.yaml"
    bad.write_text(
        "transform:\n  __class_fullname__: Compose\n  transforms:\n"
        "  - {__class_fullname__: Normalize, p: 0.1}\n"
    )
    assert main([*flags, "--size", "64", "--augment", str(bad)]) == 2
    assert "transform 1 (Normalize)" in capsys.readouterr().err
