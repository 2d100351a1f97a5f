"""Put the scores of a split together, and write them into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtf.run.folder import write_json
from segtf.run.size import HeightWidth, size_of
from segtf.scoring.evaluation import Evaluation, score_table, scores
from segtf.scoring.inspection import object_table
from segtf.scoring.operating import Decided, Target, operating_table, operating_values

Json = dict[str, Any]


def results(
    evaluation: Evaluation, classes: Sequence[str], target: Target | None, decided: Decided | None
) -> Json:
    """The scores of a split and what they are at the threshold that was decided on, if any; else
    why there is none.
    """
    values = scores(evaluation, classes)
    point = why_none = None
    if target is not None and decided is not None:
        assert evaluation.thresholds is not None
        name, images = classes[target.class_id], len(evaluation.images)
        if decided.threshold is None:
            why_none = f"no threshold of {name}: {decided.text}"
        else:
            point = operating_values(name, decided, evaluation.thresholds, images=images)
    return {**values, "operating_point": point, "no_operating_point": why_none}


def result_tables(values: Json) -> str:
    """The tables of pixels, of objects and of the operating point."""
    tables = [score_table(values)]
    if values["objects"]["classes"]:
        tables.append(object_table(values))
    if values["operating_point"]:
        tables.append(operating_table(values))
    if values["no_operating_point"]:
        tables.append(values["no_operating_point"])
    return "\n\n".join(tables)


def write_results(
    values: Json,
    split: str,
    out: Path,
    *,
    model: str,
    shape: HeightWidth,
    data: dict[str, str],
    asked: Json | None = None,
) -> None:
    """Writes `metrics_SPLIT.json`, `confusion_SPLIT.png`, `objects_SPLIT.png` and, with an
    operating point, `thresholds_SPLIT.png` into the folder `out`; for a SavedModel or an ONNX file
    `metrics_SPLIT_saved_model.json`, `metrics_SPLIT_onnx.json` and so on, with `asked`, which is
    how the networks were asked if not one as it is, `metrics_SPLIT_onnx_vote_flips.json`.
    """
    from segtf.reports.figures import draw_confusion
    from segtf.reports.object_figures import draw_objects, draw_thresholds

    how = asked or {}
    several = how["ensemble"] if len(how.get("models", [])) > 1 else None
    turned = how["tta"] if how.get("tta", "none") != "none" else None
    # a run keeps those of its training
    name = "_".join(filter(None, [split, model if model != "keras" else None, several, turned]))
    height, width = shape
    seen = {"size": size_of(shape), "height": height, "width": width}
    record = {"split": split, **seen, "model": model, **how, "data": data, **values}
    write_json(record, out / f"metrics_{name}.json")
    draw_confusion(np.array(values["confusion"]), values["classes"], out / f"confusion_{name}.png")
    if values["objects"]["classes"]:
        draw_objects(record, out / f"objects_{name}.png")
    curve = out / f"thresholds_{name}.png"
    if values["operating_point"]:
        draw_thresholds(record, curve)
    else:
        curve.unlink(missing_ok=True)  # that of another time
