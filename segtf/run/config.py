"""Every knob of a training."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segtf.run.architectures import Arch, check_encoder, check_size, has_encoder
from segtf.run.loss_expression import check_class_weights, parse_loss
from segtf.run.size import HeightWidth, parse_size
from voc_builder.base.errors import UserError
from voc_builder.sources.config import SourceConfig, name_of
from voc_builder.sources.listing import unique_ids

SIZE = 512  # pixels, where neither size nor crop is named
LARGEST_SEED = 2**32 - 1  # that NumPy takes
Optimizer = Literal["adam", "adamw", "lion", "sgd"]
Schedule = Literal["cosine", "poly", "one-cycle", "plateau", "constant"]
# what belongs to one start of a run, not to the run: it may go on elsewhere, with other machines
OF_THIS_START = ("resume", "overwrite", "processes", "process_id", "coordinator")
LIMITS: dict[str, tuple[float, float]] = {
    "crop": (1, math.inf),
    "freeze_encoder": (0, math.inf),
    "epochs": (1, math.inf),
    "batch": (1, math.inf),
    "accumulate": (1, math.inf),
    "warm_up": (0, 0.9),
    "weight_decay": (0, 1),
    "ema_epochs": (0, math.inf),
    "batchnorm_epochs": (0, math.inf),
    "crops": (1, math.inf),
    "mosaic": (0, 1),
    "foreground": (0, 1),
    "patience": (0, math.inf),
    "backup_share": (0.001, 1),
    "seed": (0, LARGEST_SEED),
    "split_seed": (0, LARGEST_SEED),
    "folds": (0, math.inf),
    "fold": (1, math.inf),
    "processes": (1, math.inf),
    "process_id": (0, math.inf),
    "shares": (1, math.inf),
}


AUGMENTATIONS = Path(__file__).parents[1] / "augmentations"  # a YAML file for each preset


def augmentation_file(augment: str) -> Path:
    """The YAML file of a preset, or the file that `augment` names. Raises `UserError`."""
    preset = AUGMENTATIONS / f"{augment}.yaml"
    path = preset if re.fullmatch(r"\w+", augment) and preset.is_file() else Path(augment)
    if not path.is_file():
        presets = sorted(path.stem for path in AUGMENTATIONS.glob("*.yaml"))
        raise UserError(f"--augment {augment}: neither one of {', '.join(presets)} nor a YAML file")
    return path


@dataclass(frozen=True)
class TrainConfig(SourceConfig):
    """Train a network on annotated images; then evaluate, export and draw it."""

    data: Path = Path("fishki_labelme")
    """Folder of annotated images, a CSV of pairs, COCO JSON, or a VOC tree with TFRecords."""
    size: int | str | None = None
    """Training resolution, pixels: images are squeezed to a square of it, or to HEIGHTxWIDTH such
    as 320x240, which the network pads within itself where it needs to; auto: a square chosen from
    images, objects and machine; null: 512, unless --crop is given."""
    crop: int | None = None
    """Train on crops of this many pixels at full resolution, instead of resized images."""
    arch: Arch = "unet"
    """Architecture; tiny is for tests and smoke runs."""
    encoder: str = "efficientnetb0"
    """Encoder of the network; unet_plain and tiny have none."""
    encoder_weights: str = "auto"
    """auto (ImageNet if it can be had), imagenet, none, or a file of weights."""
    init_from: Path | None = None
    """Begin with the weights of another run's best network, of the same architecture and encoder:
    its run folder, or a .keras file."""
    freeze_encoder: int = 0
    """Epochs at the start in which the encoder keeps its weights."""
    loss: str = "ce + dice"
    """Sum of ce, dice, jaccard, focal, tversky, focal_tversky, lovasz with weights and parameters,
    such as '0.7*ce + 0.3*tversky(beta=0.7)'."""
    class_weights: str = "none"
    """none, balanced (by the pixels of each class), or a number for each class: 1,1,5."""
    epochs: int = 60
    """Passes over the training images."""
    batch: int | None = None
    """Images a step, over all GPUs and machines; null: what fits."""
    accumulate: int = 1
    """Steps whose gradients are averaged before the weights change."""
    optimizer: Optimizer = "adam"
    """Optimiser, by Keras's name."""
    learning_rate: float | None = None
    """Peak of the learning rate; null: for Adam 3e-4 with a trained encoder and 1e-3 from random
    weights, for lion a tenth of that, for sgd thirty times as much."""
    schedule: Schedule = "cosine"
    """Course of the learning rate."""
    warm_up: float = 0.05
    """Share of all steps in which the rate rises to its peak; one-cycle takes 0.3, plateau none."""
    weight_decay: float | None = None
    """Share of each weight that is taken off a step, times the learning rate; null: as Keras has
    it, 0.004 for adamw and none for the others."""
    clip: float | None = None
    """Largest length of the gradient, all weights together."""
    ema_epochs: float = 2.0
    """Epochs that the moving average of the weights remembers, a tenth of the run at most; it is
    what is validated and exported. 0: the weights of the last step."""
    batchnorm_epochs: float = 1.0
    """Epochs that the averages of batch normalisation remember, a tenth of the run at most; 0: as
    Keras and the encoder set them."""
    augment: str = "light"
    """Random changes to training images: none, light, medium, heavy, upright (images with an up and
    a down), or a YAML file of albumentations."""
    mosaic: float = 0.0
    """Share of training samples that are put together from the quarters of four."""
    crops: int | None = None
    """Crops of each image an epoch, with --crop; null: as many as cover it, sixteen at most, and on
    a CPU what three minutes allow."""
    foreground: float = 0.33
    """Share of crops that are centred on a pixel of a rare class, with --crop."""
    balance: bool = True
    """Draw images with rare classes more often."""
    patience: int | None = None
    """Epochs without a better val_miou after which training stops; 0: never; null: half of all."""
    precision: Literal["auto", "float32", "mixed"] = "auto"
    """auto: mixed on a GPU that has it, float32 elsewhere."""
    cache: Literal["auto", "memory", "disk"] = "auto"
    """Where decoded images are kept; auto: on disk if they would take half of the free memory."""
    seed: int = 42
    """Decides first weights, order and augmentation."""
    deterministic: bool = False
    """The same numbers, bit for bit, every time on one kind of machine; slower on a GPU."""
    split: str | None = None
    """Shares of train, val and test in percent, for annotations; null: the split that the images
    came with, else 80/10/10."""
    split_from: Path | None = None
    """A built data set, such as that of an earlier run (path in its data.json): images that it
    holds stay in its train, val or test, new ones are dealt."""
    split_seed: int = 42
    """Decides which images are train, val and test, for a folder of annotations."""
    folds: int = 0
    """Folds of cross-validation, for a folder of annotations; 0: none."""
    fold: int | None = None
    """Validate on this fold, from 1, and train on the others; null: train and val as split."""
    unlabelled: Literal["report", "background"] = "report"
    """Images without annotation: name them and leave them out, or take them as empty."""
    skip_bad: bool = False
    """Leave out files with errors and list them, instead of stopping."""
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    """What Keras computes with: tensorflow for a CPU, jax for GPUs and several machines."""
    processes: int = 1
    """Processes that train together, one a machine; with --backend jax."""
    process_id: int = 0
    """Which of them this one is, from 0; that one writes the run folder."""
    coordinator: str | None = None
    """HOST:PORT at which process 0 can be reached by the others."""
    shares: int | None = None
    """Parts of the training images, of which each process reads its own and each step takes as many
    from each; null: as many as processes. The same number repeats a run on fewer machines."""
    export: bool = True
    """Export, draw and report the network after its scores; a sweep over settings may not need
    it."""
    predict: str | None = None
    """Images that the finished network predicts, each place into predictions/NAME with a gallery:
    folders or patterns seen from --data, with commas."""
    predict_save: str = "mask,overlay"
    """What is written of them, as segtf.predict --save takes it."""
    backup_share: float = 0.02
    """Share of the time that saving may take: where epochs are too short for that, not every one is
    saved, and a crash costs some. 1: every epoch is saved."""
    run: str | None = None
    """Name of the run folder; null: made of data, network and size."""
    artifacts: Path = Path("artifacts")
    """Where runs and data sets go."""
    resume: bool = False
    """Go on with --run NAME where it was stopped, with its settings."""
    overwrite: bool = False
    """Replace the run of this name."""

    def __post_init__(self) -> None:
        if self.crop:
            check_size(self.arch, self.crop, "--crop")
        elif self.size != "auto":
            check_size(self.arch, self._resized)
        if has_encoder(self.arch):
            check_encoder(self.encoder, self.arch)
        if self.crop and self.size not in (None, "auto", self.crop):
            raise UserError(
                f"--size {self.size} beside --crop {self.crop}: images are either resized or cut: "
                "leave one of them out"
            )
        if self.crop and self.arch == "pspnet":
            raise UserError("--crop: pspnet answers at one size only, images have many: use unet")
        if self.predict is not None and not self.export:
            raise UserError("--predict: asks the exported network: leave out --no-export")
        parse_loss(self.loss)
        check_class_weights(self.class_weights)
        self._check_numbers()
        self._check_processes()
        if self.run is not None and (self.run in ("", ".", "..") or {"/", "\\"} & set(self.run)):
            raise UserError(f"--run {self.run!r}: must be a name, not a path")
        if self.resume and self.run is None:
            raise UserError("--resume: name the run to go on with: --run NAME --resume")
        if self.resume and self.overwrite:
            raise UserError("--resume and --overwrite exclude each other")

    def _check_numbers(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            flag = f"--{name.replace('_', '-')} {value}"
            if value is not None and not least <= value <= most:
                upper = "" if math.isinf(most) else f" and at most {most}"
                raise UserError(f"{flag}: must be at least {least}{upper}")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise UserError(f"--learning-rate {self.learning_rate}: must lie between 0 and 1")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise UserError(f"--clip {self.clip}: must be above 0")
        if not has_encoder(self.arch) and self.encoder_weights not in ("auto", "none"):
            raise UserError(
                f"--encoder-weights {self.encoder_weights}: {self.arch} has no encoder: choose "
                "another --arch, or leave it out"
            )
        if self.init_from is not None and self.encoder_weights != "auto":
            raise UserError(
                f"--encoder-weights {self.encoder_weights} beside --init-from {self.init_from}, "
                "which brings the encoder's weights too: leave one of them out"
            )
        if self.freeze_encoder and (not has_encoder(self.arch) or self.encoder_weights == "none"):
            raise UserError(
                f"--freeze-encoder {self.freeze_encoder}: a network without a trained encoder has "
                "nothing worth keeping: leave it out, or name --encoder-weights"
            )

    def _check_processes(self) -> None:
        # of a run that goes on, backend and batch are known when its settings have been read
        known = not self.resume or self.shares is not None
        if self.processes > 1 and (self.coordinator is None or (known and self.backend != "jax")):
            raise UserError(
                f"--processes {self.processes}: several processes need --backend jax and "
                "--coordinator HOST:PORT"
            )
        if self.coordinator is not None and not re.fullmatch(r"\S+:\d{1,5}", self.coordinator):
            raise UserError(f"--coordinator {self.coordinator}: must be HOST:PORT")
        if self.coordinator is not None and not 0 < int(self.coordinator.split(":")[-1]) < 65535:
            raise UserError(
                f"--coordinator {self.coordinator}: must have a port from 1 to 65534; the one "
                "after it is used too"
            )
        if self.processes > 1 and known and None in (self.run, self.batch):
            raise UserError(
                f"--processes {self.processes}: name --run and --batch, which must be the same in "
                "every process"
            )
        if self.process_id >= self.processes:
            raise UserError(
                f"--process-id {self.process_id}: the {self.processes} processes are counted from 0"
            )
        if known and self.part_count % self.processes:
            raise UserError(
                f"--shares {self.shares}: must be a multiple of --processes {self.processes}"
            )
        if self.batch is not None and self.batch % self.part_count:
            raise UserError(
                f"--batch {self.batch}: must be a multiple of the {self.part_count} shares, so "
                "that each process has as many images a step"
            )

    @property
    def _resized(self) -> int | str:
        """`size` with its default."""
        return SIZE if self.size is None else self.size

    @property
    def shape(self) -> HeightWidth:
        """Height and width of what the network is trained on, pixels; `size` auto must be decided
        by now.
        """
        return parse_size(self.crop or self._resized)

    @property
    def samples_per_image(self) -> int:
        """Samples of each training image an epoch."""
        return self.crops or 1 if self.crop else 1

    @property
    def part_count(self) -> int:
        """`shares` with its default."""
        return self.processes if self.shares is None else self.shares

    @property
    def patient_epochs(self) -> int:
        """`patience` with its default: the rate falls over the whole run, and the last steps, the
        smallest, are often the best.
        """
        return self.epochs // 2 if self.patience is None else self.patience

    @property
    def predicted(self) -> dict[str, Path]:
        """What `predict` names, by the name of the folder for its results: no two alike, and the
        same for the same setting.
        """
        root = self.data if self.data.is_dir() else self.data.parent
        named = (place.strip() for place in (self.predict or "").split(","))
        places = [place for place in dict.fromkeys(named) if place]
        names = [re.sub(r"[^\w-]+", "_", place).strip("_") or "photos" for place in places]
        ids = unique_ids([Path(name) for name in names])
        return {name: root / place for name, place in zip(ids, places, strict=True)}

    @property
    def run_folder(self) -> Path:
        """Where everything about this run is written."""
        if self.run is not None:
            return self.artifacts / "runs" / self.run
        network = [self.arch, self.encoder] if has_encoder(self.arch) else [self.arch]
        scale = f"crop{self.crop}" if self.crop else str(self._resized)
        fold = [] if self.fold is None else [f"fold{self.fold}"]
        parts = [name_of(self.data), *network, scale, *fold]
        return self.artifacts / "runs" / "-".join(parts)
