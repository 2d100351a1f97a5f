"""Settings of a training."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from segtf.run.architectures import Arch, check_encoder, check_size, has_encoder
from segtf.run.loss_expression import check_class_weights, parse_loss
from segtf.run.size import HeightWidth, parse_size
from voc_builder.base.errors import UserError
from voc_builder.sources.config import SourceConfig, name_of
from voc_builder.sources.listing import unique_ids

SIZE = 512  # pixels, without --size and --crop
LARGEST_SEED = 2**32 - 1  # of NumPy
Optimizer = Literal["adam", "adamw", "lion", "sgd"]
Schedule = Literal["cosine", "poly", "one-cycle", "plateau", "constant"]
# of one start of a run, not of the run: it may be resumed elsewhere, on other machines
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
    "backup_fraction": (0.001, 1),
    "seed": (0, LARGEST_SEED),
    "split_seed": (0, LARGEST_SEED),
    "folds": (0, math.inf),
    "fold": (1, math.inf),
    "processes": (1, math.inf),
    "process_id": (0, math.inf),
    "shards": (1, math.inf),
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
    """Folder of annotated images, CSV of pairs, COCO JSON, or VOC tree with TFRecords."""
    size: int | str | None = None
    """Training resolution, pixels. Images are resized to a square, or to HEIGHTxWIDTH such as
    320x240, which the network pads where it needs to; auto: chosen from images, objects and
    machine; null: 512, unless --crop is given."""
    crop: int | None = None
    """Train on crops of this many pixels at full resolution, instead of resized images."""
    arch: Arch = "unet"
    """Architecture; tiny is for tests and smoke runs."""
    encoder: str = "efficientnetb0"
    """Encoder of the network; unet_plain and tiny have none."""
    encoder_weights: str = "auto"
    """auto (ImageNet if available), imagenet, none, or a file of weights."""
    init_from: Path | None = None
    """Parent run: initialise with the weights of its best network, of the same architecture and
    encoder; a run folder or a .keras file."""
    freeze_encoder: int = 0
    """Epochs at the start during which the encoder is frozen."""
    loss: str = "ce + dice"
    """Sum of ce, dice, jaccard, focal, tversky, focal_tversky, lovasz with weights and parameters,
    such as '0.7*ce + 0.3*tversky(beta=0.7)'."""
    class_weights: str = "none"
    """none, balanced (by the pixels of each class), or a number per class: 1,1,5."""
    epochs: int = 60
    """Passes over the training images."""
    batch: int | None = None
    """Images per step, over all GPUs and machines; null: as many as fit into memory."""
    accumulate: int = 1
    """Steps whose gradients are averaged for one update of the weights."""
    optimizer: Optimizer = "adam"
    """Optimiser, by its Keras name."""
    learning_rate: float | None = None
    """Peak of the learning rate; null: for Adam 3e-4 with a pretrained encoder and 1e-3 from random
    weights, for lion a tenth of that, for sgd thirty times as much."""
    schedule: Schedule = "cosine"
    """Learning-rate schedule."""
    warm_up: float = 0.05
    """Fraction of steps used for learning-rate warm-up; one-cycle uses 0.3, plateau none."""
    weight_decay: float | None = None
    """Fraction of each weight subtracted per step, times the learning rate; null: Keras's default,
    0.004 for adamw and none for the others."""
    clip: float | None = None
    """Maximum norm of the gradient over all weights."""
    ema_epochs: float = 2.0
    """Window of the moving average of the weights, epochs, a tenth of the run at most; the average
    is validated and exported. 0: the weights of the last step."""
    batchnorm_epochs: float = 1.0
    """Window of the moving averages of batch normalisation, epochs, a tenth of the run at most; 0:
    the defaults of Keras and the encoder."""
    augment: str = "light"
    """Augmentation of training images: none, light, medium, heavy, upright (images with an up and a
    down), or a YAML file of albumentations."""
    mosaic: float = 0.0
    """Fraction of training samples made of the quarters of four images."""
    crops: int | None = None
    """Crops per image and epoch, with --crop; null: as many as cover it, sixteen at most, and on a
    CPU what three minutes allow."""
    foreground: float = 0.33
    """Fraction of crops centred on a pixel of a rare class, with --crop."""
    balance: bool = True
    """Sample images with rare classes more often."""
    patience: int | None = None
    """Epochs without a better val_miou before training stops; 0: never; null: half of all."""
    precision: Literal["auto", "float32", "mixed"] = "auto"
    """auto: mixed on a GPU that supports it, float32 elsewhere."""
    cache: Literal["auto", "memory", "disk"] = "auto"
    """Where decoded images are cached; auto: on disk if they take half of the free memory."""
    seed: int = 42
    """Seed for initialisation, shuffling and augmentation."""
    deterministic: bool = False
    """The same numbers, bit for bit, on the same kind of machine; slower on a GPU."""
    split: str | None = None
    """Percentages of train, val and test, for annotations; null: the split of the source, else
    80/10/10."""
    split_from: Path | None = None
    """Built data set, such as that of an earlier run (path in its data.json), whose images stay in
    their train, val or test; new images are split."""
    split_seed: int = 42
    """Seed for the split into train, val and test, for a folder of annotations."""
    folds: int = 0
    """Folds of cross-validation, for a folder of annotations; 0: none."""
    fold: int | None = None
    """Validate on this fold, from 1, and train on the others; null: train and val as split."""
    unlabelled: Literal["report", "background"] = "report"
    """Images without annotation: report them and leave them out, or use them as background."""
    skip_bad: bool = False
    """Leave out files with errors and list them, instead of stopping."""
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    """Backend of Keras: tensorflow for a CPU, jax for GPUs and several machines."""
    processes: int = 1
    """Processes that train together, one per machine; with --backend jax."""
    process_id: int = 0
    """Index of this process, from 0; process 0 writes the run folder."""
    coordinator: str | None = None
    """HOST:PORT at which the others reach process 0."""
    shards: int | None = field(default=None, metadata={"old_name": "shares"})
    """Shards of the training images. Each process reads its own, and each step takes equally many
    images from each; null: one per process. The same number repeats a run on fewer machines."""
    export: bool = True
    """Export, draw and report the network after its evaluation."""
    predict: str | None = None
    """Images to predict after training, each place into predictions/NAME with a gallery:
    comma-separated folders or patterns, relative to --data."""
    predict_save: str = "mask,overlay"
    """Files to write for them, as for segtf.predict --save."""
    backup_fraction: float = field(default=0.02, metadata={"old_name": "backup_share"})
    """Maximum fraction of the time spent on saving: short epochs are not all saved, and a crash
    costs some. 1: every epoch is saved."""
    run: str | None = None
    """Name of the run folder; null: made of data, network and size."""
    artifacts: Path = Path("artifacts")
    """Folder of runs and data sets."""
    resume: bool = False
    """Continue --run NAME where it was stopped, with its settings."""
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
            raise UserError("--crop: pspnet takes one size only, images have many: use unet")
        if self.predict is not None and not self.export:
            raise UserError("--predict: needs the exported network: leave out --no-export")
        parse_loss(self.loss)
        check_class_weights(self.class_weights)
        self._check_numbers()
        self._check_processes()
        if self.run is not None and (self.run in ("", ".", "..") or {"/", "\\"} & set(self.run)):
            raise UserError(f"--run {self.run!r}: must be a name, not a path")
        if self.resume and self.run is None:
            raise UserError("--resume: name the run to continue: --run NAME --resume")
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
                "which has the encoder's weights too: leave one of them out"
            )
        if self.freeze_encoder and (not has_encoder(self.arch) or self.encoder_weights == "none"):
            raise UserError(
                f"--freeze-encoder {self.freeze_encoder}: the encoder has random weights: leave it "
                "out, or name --encoder-weights"
            )

    def _check_processes(self) -> None:
        # backend and batch of a resumed run are known once its settings are read
        known = not self.resume or self.shards is not None
        if self.processes > 1 and (self.coordinator is None or (known and self.backend != "jax")):
            raise UserError(
                f"--processes {self.processes}: several processes need --backend jax and "
                "--coordinator HOST:PORT"
            )
        if self.coordinator is not None and not re.fullmatch(r"\S+:\d{1,5}", self.coordinator):
            raise UserError(f"--coordinator {self.coordinator}: must be HOST:PORT")
        if self.coordinator is not None and not 0 < int(self.coordinator.split(":")[-1]) < 65535:
            raise UserError(
                f"--coordinator {self.coordinator}: must have a port from 1 to 65534, as "
                "the next one is used too"
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
        if known and self.shard_count % self.processes:
            raise UserError(
                f"--shards {self.shards}: must be a multiple of --processes {self.processes}"
            )
        if self.batch is not None and self.batch % self.shard_count:
            raise UserError(
                f"--batch {self.batch}: must be a multiple of the {self.shard_count} shards "
                "(--shards), so that all take equally many images per step"
            )

    @property
    def _resized(self) -> int | str:
        """`size` with its default."""
        return SIZE if self.size is None else self.size

    @property
    def shape(self) -> HeightWidth:
        """Height and width of the training samples, pixels; `size` must not be auto any more."""
        return parse_size(self.crop or self._resized)

    @property
    def samples_per_image(self) -> int:
        """Samples per training image and epoch."""
        return self.crops or 1 if self.crop else 1

    @property
    def shard_count(self) -> int:
        """`shards` with its default."""
        return self.processes if self.shards is None else self.shards

    @property
    def patient_epochs(self) -> int:
        """`patience` with its default, half of all epochs: the learning rate falls over the whole
        run, and the last, smallest steps are often the best.
        """
        return self.epochs // 2 if self.patience is None else self.patience

    @property
    def predicted(self) -> dict[str, Path]:
        """The places of `predict` by the unique name of the folder for their results, the same for
        the same setting.
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
