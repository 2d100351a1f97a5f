"""Every knob of a training, and the run folder that remembers them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from segtf.architectures import Arch, check_encoder, check_size
from segtf.loss_expression import parse_loss
from voc_builder.command import parse
from voc_builder.errors import UserError
from voc_builder.files import replacing
from voc_builder.voc import Dataset, read_dataset

# what lies in a run folder
CONFIG, DATA, ENVIRONMENT, EXPORT = "config.yaml", "data.json", "environment.json", "export.json"
LOG, BEST, BACKUP, SAVED_MODEL = "log.csv", "best.keras", "backup", "saved_model"
OVERLAYS, PROGRESS = "overlays", "progress"  # the second lies in the first
LARGEST_SEED = 2**32 - 1  # that NumPy takes


@dataclass(frozen=True)
class TrainConfig:
    """Train a network on annotated photos; then evaluate, export and draw it."""

    data: Path = Path("fishki_labelme")
    """Folder annotated in labelme, or a VOC tree with TFRecords."""
    size: int = 512
    """Training resolution, pixels: photos are squeezed to a square of it."""
    arch: Arch = "unet"
    """Architecture."""
    encoder: str = "efficientnetb0"
    """Encoder of the network; unet_plain has none."""
    encoder_weights: str = "auto"
    """auto (ImageNet if it can be had), imagenet, none, or a file of weights."""
    loss: str = "ce + dice"
    """Sum of ce and dice with weights, such as '0.7*ce + 0.3*dice'."""
    epochs: int = 60
    """Passes over the training photos."""
    batch: int | None = None
    """Photos a step, over all GPUs; null: what fits."""
    learning_rate: float | None = None
    """Peak of Adam's learning rate, warm-up before and cosine decay after it; null: 3e-4 with a
    trained encoder, 1e-3 from random weights."""
    augment: Literal["none", "light", "medium"] = "medium"
    """Random changes to training photos."""
    patience: int | None = None
    """Epochs without a better val_miou after which training stops; 0: never; null: half of all."""
    precision: Literal["auto", "float32", "mixed"] = "auto"
    """auto: mixed on a GPU that has it, float32 elsewhere."""
    seed: int = 42
    """Decides split, first weights, order and augmentation."""
    classes: Path | None = None
    """File of class names, one a line, the background first; null: the folder's own."""
    split: str = "80/10/10"
    """Shares of train, val and test in percent, for a folder of annotations."""
    group_by: str | None = None
    """Regular expression: photos whose ids match with the same text stay in one split."""
    unlabelled: Literal["report", "background"] = "report"
    """Photos without JSON: name them and leave them out, or take them as empty."""
    skip_bad: bool = False
    """Leave out files with errors and list them, instead of stopping."""
    run: str | None = None
    """Name of the run folder; null: made of data, network and size."""
    artifacts: Path = Path("artifacts")
    """Where runs and data sets go."""
    resume: bool = False
    """Go on with --run NAME after its last whole epoch, with its settings."""
    overwrite: bool = False
    """Replace the run of this name."""

    def __post_init__(self) -> None:
        check_size(self.arch, self.size)
        if self.arch != "unet_plain":
            check_encoder(self.encoder, self.arch)
        parse_loss(self.loss)
        if self.seed > LARGEST_SEED:
            raise UserError(f"--seed {self.seed}: must be at most {LARGEST_SEED}")
        least = {"epochs": 1, "batch": 1, "patience": 0, "seed": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise UserError(f"--{name} {value}: must be at least {minimum}")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise UserError(f"--learning-rate {self.learning_rate}: must lie between 0 and 1")
        if self.run is not None and (self.run in ("", ".", "..") or {"/", "\\"} & set(self.run)):
            raise UserError(f"--run {self.run!r}: must be a name, not a path")
        if self.resume and self.run is None:
            raise UserError("--resume: name the run to go on with: --run NAME --resume")
        if self.resume and self.overwrite:
            raise UserError("--resume and --overwrite exclude each other")

    @property
    def patient_epochs(self) -> int:
        """`patience` with its default: the rate falls over the whole run, and the last steps, the
        smallest, are often the best.
        """
        return self.epochs // 2 if self.patience is None else self.patience

    @property
    def run_folder(self) -> Path:
        """Where everything about this run is written."""
        if self.run is not None:
            return self.artifacts / "runs" / self.run
        parts = [self.data.resolve().name, self.arch, self.encoder, str(self.size)]
        if self.arch == "unet_plain":
            parts.remove(self.encoder)
        return self.artifacts / "runs" / "-".join(parts)


def write_config(config: TrainConfig, run: Path) -> None:
    """Writes `config.yaml`; it is also what `--config` reads."""
    values = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(config).items()
        if key not in ("resume", "overwrite")
    }
    with replacing(run / CONFIG) as beside:
        beside.write_text(
            yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )


def read_config(run: Path) -> TrainConfig:
    """The settings of a run. Raises `UserError` if `run` is not a run folder."""
    path = run / CONFIG
    if not path.is_file():
        raise UserError(f"{run}: not a run folder (no {CONFIG}): name one of artifacts/runs")
    return parse(TrainConfig, str(path), ["--config", str(path)])


def resumed(config: TrainConfig, given: Collection[str] = ()) -> TrainConfig:
    """The settings that the run began with. Raises `UserError` if one of the fields that were
    `given` has another value in `config`.
    """
    saved = read_config(config.run_folder)
    asked = [
        f"--{field.name.replace('_', '-')} {getattr(config, field.name)} "
        f"(the run has {getattr(saved, field.name)})"
        for field in dataclasses.fields(config)
        if field.name in given
        and field.name not in ("run", "artifacts", "resume", "overwrite")
        and getattr(config, field.name) != getattr(saved, field.name)
    ]
    if asked:
        raise UserError(f"--resume keeps a run's settings; leave out {', '.join(asked)}")
    return dataclasses.replace(saved, run=config.run, artifacts=config.artifacts, resume=True)


def write_json(values: dict[str, Any], path: Path) -> None:
    """Writes readable JSON; NaN is not JSON and must not be in `values`."""
    with replacing(path) as beside:
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def read_data(run: Path) -> dict[str, Any]:
    """The data set that a run was trained on: `path` of its VOC tree, `sha256`, `classes`, number
    of `images` and `pixels` by split. Raises `UserError` if the run has none.
    """
    path = run / DATA
    if not path.is_file():
        raise UserError(f"{run}: not a run folder (no {DATA}): name one of artifacts/runs")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["path"], values["sha256"], values["classes"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error!r}): train the run again") from None
    return values


def read_run_dataset(run: Path) -> Dataset:
    """The data set that a run was trained on. Raises `UserError` if it is gone or another by now:
    with other splits, photos of training would be scored as unseen.
    """
    data = read_data(run)
    dataset = read_dataset(Path(data["path"]))
    if dataset.sha256 != data["sha256"]:
        raise UserError(
            f"{dataset.path}: not the data set that {run} was trained on any more (SHA-256 "
            f"{dataset.sha256[:10]}, then {data['sha256'][:10]}): train again"
        )
    return dataset
