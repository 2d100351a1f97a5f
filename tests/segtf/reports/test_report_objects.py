"""The sections of the report about objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segtf.reports.report import sections
from segtf.scoring import metrics
from segtf.scoring.inspection import objects_by_image
from segtf.scoring.operating import Decision, point_scores
from segtf.scoring.split_scores import ChosenPoint, SplitScores
from segtf.scoring.thresholds import count_thresholds
from tests.segtf.scoring.inspected_images import CLASSES, IMAGES, inspected, inspection
from tests.segtf.split_scores import image_scores, split_scores, write_scores


@pytest.fixture(scope="module")
def scores() -> SplitScores:
    """The scores of three images."""
    images, confusions = inspected()
    total = sum(confusions, np.zeros((3, 3), np.int64))
    truth, prediction = IMAGES[1]
    counts = count_thresholds((prediction == 2).astype(np.float32), truth, 2)
    chosen = ChosenPoint(true=1, precision=0.5, recall=1.0, f1=2 / 3)
    decided = Decision(0.5, "largest F1 over objects", "val", chosen)
    rows = zip(("first", "a <b>", "third"), objects_by_image(images, CLASSES), strict=True)
    return split_scores(
        dict(zip(CLASSES, metrics.iou(total), strict=True)),
        metrics.miou(total),
        images=3,
        rows=tuple(image_scores(name, objects=objects) for name, objects in rows),
        operating_point=point_scores("defect", decided, counts, images=3),
        **inspection(),
    )


def section(run: Path, scores: SplitScores, name: str = "objects-val") -> str:
    """The HTML of a section of a run that was scored on val alone."""
    (run / "config.yaml").write_text("size: 256\n")
    write_scores(run, "val", scores)
    return {each.id: each.html for each in sections(run)}[name]


def test_each_class_has_its_found_missed_and_false_objects(
    scores: SplitScores, tmp_path: Path
) -> None:
    html = section(tmp_path, scores)
    assert "defect</td><td>3</td>" in html
    assert 'style="--share: 66.7%">66.7&nbsp;%</td>' in html
    assert (
        '<td><span class="bad">1</span></td><td>5</td><td><span class="bad">3</span></td>' in html
    )
    assert "<td>0</td><td>3</td><td>0</td>\n<td>0.00</td>" in html, "of the part nothing is wrong"


def test_an_interval_of_few_images_has_a_question_mark_and_their_number(
    scores: SplitScores, tmp_path: Path
) -> None:
    html = section(tmp_path, scores)
    assert 'title="2 images ' in html
    assert "29.2–100&nbsp;% ?</span>" in html


def test_images_with_faults_are_listed_worst_first(scores: SplitScores, tmp_path: Path) -> None:
    html = section(tmp_path, scores)
    assert "3 of 3 images" in html
    rows = ["third</td><td>0</td><td>2<", "a &lt;b&gt;</td><td>0</td><td>1<"]
    rows.append("first</td><td>1</td><td>0<")
    places = [html.index(f"<tr><td>{row}") for row in rows]
    assert places[0] < min(places[1:])
    assert "<details><summary>3 of" not in section(tmp_path, replace(scores, rows=()))


def test_the_operating_point_stands_beside_the_most_probable_class(
    scores: SplitScores, tmp_path: Path
) -> None:
    html = section(tmp_path, scores)
    assert "<b>defect</b> from a probability of <b>0.500</b> on (largest F1 over objects" in html
    assert "precision 0.500, recall 1.000, F1 0.667" in html
    assert "<td>most probable class</td>" in html
    assert "<td>from 0.500 on</td>" in html
    assert scores.operating_point
    given = replace(scores.operating_point, criterion="as asked", split=None, chosen=None)
    html = section(tmp_path, replace(scores, operating_point=given))
    assert "(as asked)" in html and "F1" not in html
    none = replace(scores, operating_point=None)
    assert "Operating point" not in section(tmp_path, none)
    why_none = replace(none, no_operating_point="no threshold of defect: <")
    assert "no threshold of defect: &lt;" in section(tmp_path, why_none)


def test_a_section_shows_the_pictures_of_its_split(scores: SplitScores, tmp_path: Path) -> None:
    (tmp_path / "objects_val.png").write_bytes(b"")
    (tmp_path / "objects_test.png").write_bytes(b"")
    html = section(tmp_path, scores)
    assert 'src="objects_val.png"' in html
    assert "objects_test.png" not in html
    assert "thresholds_val.png" not in html


def test_a_run_that_was_scored_without_objects_says_so(tmp_path: Path) -> None:
    html = section(tmp_path, split_scores({"chip": 0.5}), "objects")
    assert html.strip().startswith('<p class="missing">')
