"""Write the paragraphs of a notebook about what a run came to, in Markdown."""

from __future__ import annotations

import shlex

from segtf.inference.onnx_model import MODEL_FILE
from segtf.inference.postprocess import describe
from segtf.reports.markdown import code, fence, plain
from segtf.reports.notebook.failures import scored_split
from segtf.reports.notebook.material import NAMES, Material, listed, pixels, target
from segtf.run.architectures import has_encoder
from segtf.scoring.tables import compared, decision_text


def summary(of: Material) -> str:
    """The result in one paragraph, under the title."""
    split = scored_split(of.run)
    values = of.run.scores[split]
    how = "crops of" if of.config.crop else "images at"
    encoder = f" on {of.config.encoder}" if has_encoder(of.config.arch) else ""
    miou = "no" if values.miou is None else f"a mean IoU of **{values.miou:.4f}**"
    name = NAMES[of.config.arch]
    return (
        f"{name[0].upper()}{name[1:]}{encoder} ({how} {pixels(of.config.shape)}) that finds "
        f"{listed(target(of.dataset.classes))} reaches {miou} on {values.images:,} images of "
        f"{split}. This notebook tells how: the data, what was tried, what was chosen and why, and "
        "where it fails. Its cells read the run's folder, in which it lies, and can be executed "
        "from top to bottom with `segtf` installed; no training framework is needed."
    )


def results(of: Material) -> str:
    """The best and the worst class, and what the intervals mean."""
    split = scored_split(of.run)
    values = of.run.scores[split]
    scored = {name: iou for name, iou in values.iou.items() if iou is not None}
    if not scored:
        return f"No class has a score on {split}."
    best, worst = max(scored, key=scored.__getitem__), min(scored, key=scored.__getitem__)
    missing = [name for name in of.run.classes if name not in scored]
    absent = f" {listed(missing)}: neither shown nor predicted there." if missing else ""
    size = "at their own size" if of.config.crop else "at the training size"
    return (
        f"On {split} {plain(best)} is best, with an IoU of {scored[best]:.4f}, and {plain(worst)} "
        f"worst, with {scored[worst]:.4f}.{absent} Scores are of all pixels of a split, "
        f"{size}. The 95 % intervals say between which values the score over all images of this "
        "kind lies, by drawing whole images again; a question mark: fewer than 6 images hold the "
        "class, so it is a rough guess."
    )


def operating_point(of: Material, split: str) -> str:
    """The threshold of the class that is target, and what it changes; nothing without one."""
    point = of.run.scores[split].operating_point
    if not point:
        return ""
    (_, _, usual), (_, _, at) = compared(of.run.scores[split])
    return (
        f"A pixel counts as {plain(point.class_name)} from a probability of "
        f"{point.threshold:.3f} on ({decision_text(point)}). On {split} that finds "
        f"{at.found} of {at.true} objects with {at.false_positives} false alarms; taking the most "
        f"probable class finds {usual.found} with {usual.false_positives}."
    )


def postprocessing(of: Material) -> str:
    """What was tried and taken, with the score before and after."""
    if of.export is None:
        again = shlex.join(["python", "-m", "segtf.export", str(of.folder)])
        return f"None was tried, as the network was not exported: {code(again)}."
    chosen, trials = of.export.postprocess, of.export.trials
    limits = "1 limit was" if len(trials) == 1 else f"{len(trials)} limits were"
    good = sum(trial.verdict != "gains too little" for trial in trials)
    taken = sum(trial.verdict == "taken" for trial in trials)
    same = not chosen.rules and chosen.miou is not None
    score = f" The mean IoU on val stays {chosen.miou:.4f}." if same else ""
    return (
        "Small components of a class may be removed from masks, and holes in it filled, by limits "
        f"chosen on val. Taken here: {plain(describe(chosen))}.{score} {limits} tried, one after "
        f"the other on what those before had left: {good} gained at least 0.002 of the mean IoU, "
        f"{taken} taken. A limit must also gain whichever image is left out and lose no object "
        "that was found; limits above the smallest true object, and classes on fewer than two "
        "images of val, are not tried."
    )


def failures(of: Material) -> str:
    """Which images are shown, and from where the numbers are."""
    split = scored_split(of.run)
    if (of.folder / MODEL_FILE).is_file():
        how = (
            "as the exported network answers them at their own size, post-processing included: all "
            "numbers here are of these answers"
        )
    else:
        again = shlex.join(["python", "-m", "segtf.export", str(of.folder)])
        how = f"without predictions, as there is no {MODEL_FILE} ({code(again)})"
    return (
        f"The images of {split} with the most missed objects and false alarms, then with the most "
        f"wrong pixels, the worst first, {how}."
    )


def commands(of: Material) -> str:
    """How to do all of it again."""
    folder = shlex.quote(str(of.folder))
    lines = [str(of.run.environment.get("command", f"# not recorded: see {folder}/config.yaml"))]
    if "test" in of.run.scores:
        lines.append(f"python -m segtf.evaluate {folder} --split test")
    lines.append(f"python -m segtf.export {folder}")
    lines.append(f"python -m segtf.predict {folder}/{MODEL_FILE} PHOTOS --out predictions")
    lines.append(f"python -m segtf.report {folder} --notebook")
    text = "\n".join(lines)
    return f"To repeat it:\n\n{fence(text)}\n{text}\n{fence(text)}"
