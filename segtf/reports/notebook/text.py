"""Write the paragraphs of a notebook about the data and the training of a run, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segtf.reports.markdown import code, plain
from segtf.reports.notebook.data import separation
from segtf.reports.notebook.findings import choice, epoch_sentence
from segtf.reports.notebook.material import NAMES, Material, listed, pixels, target
from segtf.reports.notebook.network import count_weights
from segtf.reports.notebook.runs import run_doubts
from segtf.reports.notebook.training import changes, pipeline_of, untouched
from segtf.reports.runs import Run
from segtf.run.architectures import has_encoder, is_padded, padding_of
from segtf.run.folder import BEST, read_sizing
from segtf.run.size import padded
from voc_builder.base.classes import has_background
from voc_builder.pixels.overlay import format_fraction
from voc_builder.tree.voc import Dataset

SQUEEZED = 1.02  # times that one side shrinks more than the other: that is worth saying


def task(of: Material) -> str:
    """What is asked of the network."""
    classes = of.dataset.classes
    rest = f"Class 0, {plain(classes[0])}, is all that remains. " if has_background(classes) else ""
    return (
        f"The task is to name the class of every pixel of an image: {listed(target(classes))}. "
        f"{rest}Pixels that are marked void are neither learned nor scored."
    )


def splits(of: Material) -> str:
    """How many images there are, what each split is for, and what is rare."""
    counts = {name: len(ids) for name, ids in of.dataset.splits.items()}
    fold = "" if of.config.fold is None else f" (fold {of.config.fold} of {of.config.folds})"
    tested = (
        f"the {counts['test']:,} of test had no part in any decision"
        if counts["test"]
        else "there is no test split, so that no image is left that took part in no decision"
    )
    return (
        f"There are {sum(counts.values()):,} images. The network learned from the "
        f"{counts['train']:,} of train; the {counts['val']:,} of val{fold} decided which epoch was "
        f"kept, what is swept out of masks and which threshold is taken; {tested}. "
        f"{_rarest(of.dataset)}"
    )


def _rarest(dataset: Dataset) -> str:
    """Which class there is least of to learn from, and which not at all."""
    counts, wanted = dataset.pixels["train"], target(dataset.classes)
    shown = [name for name in wanted if counts.get(name, 0)]
    absent = [name for name in wanted if name not in shown]
    lost = f" No image of train shows {listed(absent)}: that cannot be learned." if absent else ""
    if not shown:
        return lost.strip()
    rare = min(shown, key=lambda name: counts[name])
    share = counts[rare] / sum(counts.get(name, 0) for name in dataset.classes)
    what = f"The rarest class is {plain(rare)}:" if len(wanted) > 1 else f"{plain(rare)} covers"
    return (
        f"{what} {format_fraction(share)} of the labelled pixels of train, on "
        f"{dataset.images['train'].get(rare, 0):,} images.{lost}"
    )


def proof(of: Material) -> str:
    """That no image and no group is in two splits, counted."""
    found = separation(of.dataset)
    if found.images_twice or found.groups_twice:
        return (
            f"**{len(found.images_twice)} images and {len(found.groups_twice)} groups are in two "
            "splits**: the scores below are too good."
        )
    groups = (
        f"{found.grouped:,} images belong to {found.groups:,} groups, each in one split alone"
        if found.groups
        else "no two images are equal byte for byte, share a mask or were grouped by a pattern"
    )
    return (
        "Images that belong together must stay together, or the network would be asked about what "
        f"it learned by heart. Counted from the lists: none of {found.images:,} images is in two "
        f"splits, and {groups}."
    )


def sizes(of: Material) -> str:
    """Sizes of images and of the smallest objects."""
    low, height, high = of.survey["heights"]
    narrow, width, wide = of.survey["widths"]
    text = f"Images are {height:,} high and {width:,} wide"
    if (low, narrow) != (high, wide):
        text += f" (medians; {low:,} to {high:,} high, {narrow:,} to {wide:,} wide)"
    objects = of.survey["objects"]
    if not objects:
        return f"{text}. No object is marked on train and val."
    smallest = min(objects, key=lambda each: float(each["share"]))
    return (
        f"{text}. Objects are connected pixels of a class; the table has the size that the "
        "smallest 5 % of each class do not exceed, as the square root of their area. The smallest "
        f"are those of {plain(smallest['name'])}: {smallest['size']:.1f} pixels."
    )


def seen(of: Material) -> str:
    """What happens to an image before the network and inside it."""
    config = of.config
    shape = pixels(config.shape)
    if config.crop:
        outside = (
            f"Images keep their resolution: training sees {config.crops or 'some'} crops of "
            f"{shape} of each image an epoch, {config.foreground:.0%} of them centred on a "
            "pixel of a rare class; val and test are cut into tiles that show each pixel once, and "
            "put together again."
        ).replace("%", " %")
    else:
        down, across = (
            of.survey[sides][1] / seen
            for sides, seen in zip(("heights", "widths"), config.shape, strict=True)
        )
        outside = (
            f"Images are squeezed to {shape}, by area where they shrink, and masks by the nearest "
            f"pixel: a pixel of the network stands for {down:.3g} x {across:.3g} pixels of a "
            "median image (height x width)."
        )
        if down == across == 1:
            outside = f"Images are of the training size as they are, {shape}."
        if max(down, across) > SQUEEZED * min(down, across):
            outside += " The two differ, so shapes change as well as their size."
    scaling = (
        f"to what {config.encoder} was trained on" if has_encoder(config.arch) else "to -1 to 1"
    )
    inside = "Nothing is padded"
    if is_padded(config.arch, config.shape):
        height, width = padded(config.shape, padding_of(config.arch, config.shape))
        inside = f"The network pads them to {height} x {width} and cuts its answer back"
    return (
        f"{outside} {inside}. All else is inside the network too: it takes RGB from 0 to 255, "
        f"scales it {scaling}, and answers with the probabilities of the classes, which sum to 1."
    )


def augmentation(of: Material) -> str:
    """What is changed at random while training."""
    config, named = of.config, code(f"--augment {of.config.augment}")
    found = changes(pipeline_of(of.folder, config), config.shape)
    balance = (
        "Images with rare classes are drawn more often (`--balance`)."
        if config.balance
        else "Every image is drawn equally often (`--no-balance`)."
    )
    if not found:
        return f"Training images are not changed ({named}). {balance}"
    several = f"{len(found)} random changes" if len(found) > 1 else "1 random change"
    same = untouched(pipeline_of(of.folder, config), config.shape)
    return (
        f"Training images pass through {several} ({named}), new ones each "
        f"time; about {format_fraction(same)} of the samples stay as they are. {balance} "
        "What a change uncovers is void. Images of val and test are never changed."
    )


def hypotheses(of: Material, runs: Sequence[Run]) -> str:
    """What was tried and what was chosen."""
    text = choice(runs, of.run)
    doubts = run_doubts(runs)
    if doubts:
        text += f" With care: {'; '.join(map(plain, doubts))}, so the scores differ in more than "
        text += "the network."
    return text


def course(of: Material) -> str:
    """How training went."""
    return f"{epoch_sentence(of.run)} Training is dashed, validation solid, the kept epoch dotted."


def network(of: Material) -> str:
    """Why this network, at this size."""
    config = of.config
    weights = of.folder / BEST
    count = f" of {count_weights(weights) / 1e6:.1f} million weights" if weights.is_file() else ""
    what = f"{NAMES[config.arch]}{count}"
    if has_encoder(config.arch):
        start = Path(config.encoder_weights).name
        begun = "random weights" if start == "none" else f"the weights {code(start)}"
        what += f" on the encoder {config.encoder}, which began with {begun}"
    sizing = read_sizing(of.folder)
    why = "" if sizing is None else f"\n\nWhy this size and batch: {plain(sizing['paragraph'])}"
    rate = of.run.log["learning_rate"].max()
    return (
        f"The network is {what}. Its loss is {code(config.loss)}"
        f"{'' if config.class_weights == 'none' else f', classes weighed {config.class_weights}'}; "
        f"{config.optimizer}, learning rate up to {rate:.2g}, {config.schedule} schedule."
        f"{why}"
    )
