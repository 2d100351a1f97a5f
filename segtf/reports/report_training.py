"""Summarise how the training of a run went, and whether input or computation limited it."""

from __future__ import annotations

from typing import Any

from segtf.run.log import Log, best_epoch, waiting

# fraction of the training time spent waiting for input: below the first input costs next to
# nothing, from the second on a third of the time or so could be saved
LITTLE, MUCH = 0.1, 0.3
Json = dict[str, Any]


def values(
    config: Json, environment: Json | None, sizing: Json | None, log: Log | None
) -> dict[str, object]:
    """The values of the section about training, from the files of a run."""
    return {
        "course": None if log is None else _course(config, environment or {}, log),
        "settings": _main_settings(config, environment or {}, sizing or {}),
        "duration": _duration,
        "little": LITTLE,
        "much": MUCH,
    }


def _course(config: Json, environment: Json, log: Log) -> Json:
    """Epochs, seconds, best epoch and bottleneck of a training; None for what is not logged."""
    best, waited = best_epoch(log), waiting(log)
    bound, advice = (None, None) if waited is None else bottleneck(config, environment, waited)
    return {
        "epochs": len(log["epoch"]),
        "planned": config.get("epochs"),
        "seconds": float(log["seconds"].sum()) if "seconds" in log else None,
        "total": environment.get("seconds"),
        "best": None
        if best is None
        else {"score": float(log["val_miou"][best]), "epoch": int(log["epoch"][best]) + 1},
        "waiting": waited,
        "bound": bound,
        "advice": advice,
    }


def bottleneck(config: Json, environment: Json, waited: float) -> tuple[str, str]:
    """Which of input and computation limits training, and how to make it faster; `waited` is the
    fraction of the time spent waiting for input.
    """
    gpu = "a faster GPU" if environment.get("gpus") else "a GPU"
    compute = f"{gpu}, a smaller --size or --crop, or a lighter --encoder"
    memory = "" if config.get("cache") == "memory" else ", --cache memory if the images fit there"
    loading = f"a lighter --augment, no --mosaic{memory}, or more CPU cores"
    if waited < LITTLE:
        return "Training is compute-bound", f"To make it faster: {compute}."
    if waited < MUCH:
        advice = f"To make it faster: {compute}; {loading} save {100 * waited:.0f} % at most."
        return "Training is mostly compute-bound", advice
    advice = f"To make it faster: {loading}. Faster computation would save nothing."
    return "Training is input-bound", advice


def _main_settings(config: Json, environment: Json, sizing: Json) -> Json:
    """The settings that influence a training most, as far as the run's files have them."""
    found = {}
    for key in ("loss", "class_weights", "augment", "mosaic"):
        if key in config and (config[key] or key != "mosaic"):
            found[key.replace("_", " ")] = config[key]
    if "fold" in config:
        fold, folds = config["fold"], config.get("folds")
        of_all = f"{fold} of {folds}" if folds else fold
        found["fold"] = "none: train and val as split" if fold is None else of_all
    for key in ("backend", "processes"):
        for source in (environment, sizing, config):
            if key in source:
                found[key] = source[key]
                break
    return found


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
