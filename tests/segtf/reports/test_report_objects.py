"""The section of the report about objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

import numpy as np
import pytest

from segtf.outputs.page import Section, render_page
from segtf.reports.report_objects import objects_section
from segtf.scoring import metrics
from segtf.scoring.inspection import objects_by_image
from segtf.scoring.operating import Decided, point_scores
from segtf.scoring.split_scores import ChosenPoint, SplitScores
from segtf.scoring.thresholds import count_thresholds
from tests.segtf.reports.test_report import Links
from tests.segtf.scoring.inspected_images import CLASSES, IMAGES, inspected, inspection
from tests.segtf.split_scores import image_scores, split_scores


@pytest.fixture(scope="module")
def scores() -> SplitScores:
    """The scores of three images."""
    images, confusions = inspected()
    total = sum(confusions, np.zeros((3, 3), np.int64))
    truth, prediction = IMAGES[1]
    counts = count_thresholds((prediction == 2).astype(np.float32), truth, 2)
    chosen = ChosenPoint(true=1, precision=0.5, recall=1.0, f1=2 / 3)
    decided = Decided(0.5, "largest F1 over objects", "val", chosen)
    rows = zip(("first", "a <b>", "third"), objects_by_image(images, CLASSES), strict=True)
    return split_scores(
        dict(zip(CLASSES, metrics.iou(total), strict=True)),
        metrics.miou(total),
        images=3,
        rows=tuple(image_scores(name, objects=objects) for name, objects in rows),
        operating_point=point_scores("defect", decided, counts, images=3),
        **inspection(),
    )


def test_the_section_has_found_missed_and_false_of_each_class(scores: SplitScores) -> None:
    html = objects_section(scores)
    assert "defect</td><td>3</td>" in html
    assert 'style="--share: 66.7%">66.7&nbsp;%</td>' in html
    assert (
        '<td><span class="bad">1</span></td><td>5</td><td><span class="bad">3</span></td>' in html
    )
    assert "<td>0</td><td>3</td><td>0</td><td>0.00</td>" in html, "of the part nothing is wrong"
    assert "at least 25&nbsp;% of its pixels" in html
    assert "less than 10&nbsp;% of its pixels" in html


def test_intervals_of_few_images_carry_a_question_mark_and_their_number(
    scores: SplitScores,
) -> None:
    html = objects_section(scores)
    assert 'title="2 images hold it">' in html
    assert "29.2–100&nbsp;% ?</span>" in html
    assert "fewer than 6 images hold the class" in html


def test_the_images_with_mistakes_are_named_the_worst_first(scores: SplitScores) -> None:
    html = objects_section(scores)
    assert "3 of 3 images have missed objects or false alarms<" in html
    rows = ["third</td><td>0</td><td>2<", "a &lt;b&gt;</td><td>0</td><td>1<"]
    rows.append("first</td><td>1</td><td>0<")
    places = [html.index(f"<tr><td>{row}") for row in rows]
    assert places[0] < min(places[1:])
    nobody = replace(scores, rows=())
    assert "No image has a missed object or a false alarm." in objects_section(nobody)


def test_the_operating_point_is_said_in_words_beside_the_most_probable_class(
    scores: SplitScores,
) -> None:
    html = objects_section(scores)
    assert "A pixel is <b>defect</b> from a probability of <b>0.500</b> on" in html
    assert (
        "(largest F1 over objects, chosen on 1 object in val, a rough guess; there it gave " in html
    )
    assert "<td>most probable class</td>" in html
    assert "<td>from 0.500 on</td>" in html
    assert scores.operating_point
    asked = replace(scores.operating_point, criterion="as asked", split=None, chosen=None)
    assert "on (as asked) instead" in objects_section(replace(scores, operating_point=asked))
    none = replace(scores, operating_point=None)
    assert "Operating point" not in objects_section(none)
    assert "no threshold of defect: &lt;" in objects_section(
        replace(none, no_operating_point="no threshold of defect: <")
    )


def test_the_section_fits_into_the_page_and_shows_its_picture(scores: SplitScores) -> None:
    html = objects_section(scores, figures=[PurePath("objects_val.png")])
    page = Links(render_page("run", "", [Section("objects", "Objects", html)]))
    assert not page.opened
    assert "objects_val.png" in page.targets
    assert "objects_val.png" not in Links(objects_section(scores)).targets


@pytest.mark.parametrize("scores", [None, split_scores({"chip": 0.5})])
def test_a_run_scored_before_there_were_counts_says_so(scores: SplitScores | None) -> None:
    assert objects_section(scores).startswith('<p class="missing">There are no counts of objects')
