"""Write the scores of a split, and charts of them, into a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segtf.run.folder import write_json
from segtf.scoring.split_scores import SplitScores, metrics_file


def write_results(scores: SplitScores, out: Path) -> None:
    """Writes `metrics_SPLIT.json`, `confusion_SPLIT.png`, `objects_SPLIT.png` and, with an
    operating point, `thresholds_SPLIT.png` into the folder `out`; for a SavedModel or an ONNX file
    `metrics_SPLIT_saved_model.json`, `metrics_SPLIT_onnx.json` and so on, for an ensemble or with
    test-time augmentation `metrics_SPLIT_onnx_vote_flips.json`.
    """
    from segtf.reports.figures import draw_confusion
    from segtf.reports.object_figures import draw_objects, draw_thresholds

    origin = scores.origin
    assert scores.objects is not None
    # files of a run's own scores have no suffix
    kind = origin.model if origin.model != "keras" else None
    ensemble = origin.ensemble if len(origin.models or ()) > 1 else None
    tta = origin.tta if origin.tta != "none" else None
    name = "_".join(filter(None, [origin.split, kind, ensemble, tta]))
    write_json(scores.to_json(), out / metrics_file(name))
    draw_confusion(np.array(scores.confusion), scores.classes, out / f"confusion_{name}.png")
    if scores.objects.classes:
        draw_objects(scores.objects, out / f"objects_{name}.png")
    curve = out / f"thresholds_{name}.png"
    if scores.operating_point:
        draw_thresholds(scores.operating_point, origin.split, curve)
    else:
        curve.unlink(missing_ok=True)  # of an earlier evaluation
