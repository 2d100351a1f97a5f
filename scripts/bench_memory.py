"""Measure the memory of training after each epoch, with few images and with many.

`measure_memory` trains in fresh processes. Where the images are to be seen, the network is one of
two convolutions, so that many images take little time: everything else is that of `segtf.train`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from scripts.bench_child import told_by_child
from scripts.bench_table import Table, met, network_name
from scripts.bench_watch import draw_dataset, train_watched
from segtf.run.config import TrainConfig
from segtf.run.size import HeightWidth
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note
from voc_builder.tree.voc import Dataset, read_dataset

STATUS = Path("/proc/self/status")
MEGABYTE = 10**6
GROWTH = 1 * MEGABYTE  # an epoch, that may be chance: what waits to be used comes and goes
HELD = 0.1  # share of the images' bytes that may be found in memory, by chance again
MARK = "memory: "  # before the line that a child prints
DRAWN = 96  # pixels; it is the size of training that takes memory
Memory = dict[str, int]  # bytes, by kind


def read_memory() -> Memory:
    """Bytes of this process: RssAnon is its own, RssFile and RssShmem are pages of files, which the
    system takes back when it needs them. What glibc's allocator holds free is given back before: it
    comes and goes by tens of megabytes, and a leak of one could not be told from it.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = re.findall(
        r"^(VmRSS|RssAnon|RssFile|RssShmem):\s+(\d+) kB", STATUS.read_text("ascii"), re.M
    )
    return {name: int(kilobytes) * 1024 for name, kilobytes in found}


def tiny_network(arch: str, encoder: str, classes: int, shape: HeightWidth) -> Any:
    """A stand-in for `segtf.networks.model.build_model`: one answer for each 4 x 4 pixels."""
    import keras
    from keras import layers

    pixels = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 4, strides=4, activation="relu")(pixels)
    x = layers.UpSampling2D(4)(layers.Conv2D(classes, 1)(x))
    network = keras.Model(pixels, x, name="network")
    image = keras.Input((*shape, 3), dtype="uint8")
    return keras.Model(image, layers.Softmax()(network(layers.Rescaling(1 / 255)(image))))


def train_once(config: TrainConfig, disk: Path, *, tiny: bool) -> list[Memory]:
    """Trains in this process; its memory after each epoch, when every other callback is done."""
    import keras

    from segtf.training import fitting, prepare

    found: list[Memory] = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            found.append(read_memory())

    with contextlib.ExitStack() as stack:
        if tiny:
            for module in (prepare, fitting):
                stack.enter_context(patch.object(module, "build_model", tiny_network))
        train_watched(config, read_dataset(config.data), disk, lambda calls: [*calls, Watch()])
    return found


def memory_of(dataset: Dataset, settings: dict[str, Any], *, tiny: bool) -> list[Memory]:
    """What `train_once` finds in a fresh process. Raises RuntimeError with what it said if it
    fails.
    """
    wanted = json.dumps({**settings, "data": str(dataset.path.resolve()), "tiny": tiny})
    return list(told_by_child("scripts.bench_memory", [wanted], MARK))


def settled(after: Sequence[Memory]) -> tuple[int, int]:
    """The least that a process had of its own in the second and in the last quarter of its epochs,
    bytes. In the first one buffers fill.
    """
    own = [memory["RssAnon"] for memory in after]
    quarter = len(own) // 4
    return min(own[quarter : 2 * quarter]), min(own[-quarter:])


def growth(after: Sequence[Memory]) -> float:
    """Bytes an epoch from the second quarter of the epochs, four of them at least, to the last: a
    leak of so much shows in full, whatever the batches on their way take now and then.
    """
    then, now = settled(after)
    return (now - then) / (len(after) - 2 * (len(after) // 4))


def measure_memory(
    network: dict[str, Any], folder: Path, *, few: int, many: int, size: int, epochs: int
) -> Table:
    """Trains `network` (settings of `segtf.train`) on `few` images for `epochs`, and the tiny
    network on as many and on `many` images of `size` x `size`. Raises `UserError` where memory
    cannot be told apart.
    """
    from segtf.data.records import BYTES_A_PIXEL

    if not STATUS.is_file():
        raise UserError(f"no {STATUS} here: measure memory on Linux, or leave it out of --only")
    sets = {n: draw_dataset(folder / str(n), n, DRAWN) for n in (few, many)}
    common = {"epochs": epochs, "size": size, "batch": 16, "cache": "disk", "patience": 0}
    name = network_name(network["arch"], network["encoder"])
    runs: dict[str, tuple[int, dict[str, Any], bool]] = {
        f"{name} at {network['size']}, {few} images, disk": (few, {**common, **network}, False),
        f"tiny network, {few} images, disk": (few, common, True),
        f"tiny network, {many} images, disk": (many, common, True),
        f"tiny network, {many} images, memory": (many, {**common, "cache": "memory"}, True),
    }
    found, held = {}, {}
    for name, (count, settings, tiny) in runs.items():
        note(f"memory: {name}")
        loaded = sum(len(sets[count].splits[split]) for split in ("train", "val"))
        held[name] = loaded * int(settings["size"]) ** 2 * BYTES_A_PIXEL
        found[name] = memory_of(sets[count], settings, tiny=tiny)
    return memory_table(found, held)


def memory_table(found: dict[str, list[Memory]], held: dict[str, int]) -> Table:
    """Of four runs, in the order of `measure_memory`: what each had after every epoch, and the
    bytes of its decoded images.
    """
    rows = []
    for name, after in found.items():
        files = after[-1]["VmRSS"] - after[-1]["RssAnon"]
        whole = (held[name], after[0]["RssAnon"], *settled(after), files, after[-1]["VmRSS"])
        cells = [f"{value / MEGABYTE:.0f}" for value in whole]
        cells.insert(4, f"{growth(after) / MEGABYTE:+.2f}")
        rows.append((name, str(len(after)), *cells))
    real, small, large, _ = found
    grown = max(growth(found[name]) for name in (real, small, large))
    more = settled(found[large])[1] - settled(found[small])[1]
    images = held[large] - held[small]
    return Table(
        title="Memory after each epoch, MB",
        columns=(
            *("run", "epochs", "decoded images", "own, epoch 1", "own, 2nd quarter"),
            *("own, last quarter", "growth an epoch", "pages of files", "resident in all"),
        ),
        rows=tuple(rows),
        verdict="Own memory, free parts of it given back, is the least of a quarter of the "
        "epochs; in the first, buffers fill. "
        f"Wanted: no growth from epoch to epoch with the images on disk: {met(grown, GROWTH)} (at "
        f"most {grown / MEGABYTE:.2f} MB an epoch from the second quarter to the last; "
        f"{GROWTH / MEGABYTE:.0f} may be chance). Wanted: no growth with the images on disk: "
        f"{met(more, HELD * images)} ({more / MEGABYTE:.0f} MB more of its own for "
        f"{images / MEGABYTE:.0f} MB more of images; {HELD * images / MEGABYTE:.0f} may be chance)."
        " Pages of files, which the disk cache is, are dropped when another program wants the "
        "memory.",
        figures={"after_each_epoch": found, "decoded_photos": held},
    )


def main() -> None:
    """The child: settings as JSON."""
    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    settings = json.loads(sys.argv[1])
    tiny = settings.pop("tiny")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {**settings, "data": Path(settings["data"]), "artifacts": folder, "run": "run"}
        config = TrainConfig(**settings, encoder_weights="none")
        print(MARK + json.dumps(train_once(config, folder / "disk", tiny=tiny)), flush=True)


if __name__ == "__main__":
    main()
