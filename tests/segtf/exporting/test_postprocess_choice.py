"""Rules are chosen on val where they help, and never where they remove true objects."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segtf.exporting.postprocess_choice import Choice, MaskStore, choose_postprocess
from segtf.inference.postprocess import Postprocess, Rule, postprocess

CLASSES = ("background", "chip", "defect")
Masks = NDArray[np.uint8]


def truths(count: int = 4, size: int = 64) -> Masks:
    """A large chip in each, with a defect of 12 x 12 in it."""
    masks = np.zeros((count, size, size), np.uint8)
    masks[:, 8:40, 8:56] = 1
    masks[:, 12:24, 12:24] = 2
    return masks


def choice(predictions: Masks, true: Masks) -> Choice:
    return choose_postprocess(MaskStore(predictions), MaskStore(true), CLASSES)


def chosen(predictions: Masks, true: Masks) -> Postprocess:
    return choice(predictions, true).chosen


def test_small_false_components_are_removed_by_the_lowest_limit_that_does() -> None:
    true = truths()
    predicted = true.copy()
    predicted[:, 48:60:4, 4:60:4] = 2  # 42 components of a pixel
    predicted[:, 48:51, 62:64] = 2  # and one of six
    found = chosen(predicted, true)
    assert found.rules == (Rule("defect", "share", smallest=8 / 64**2),)
    assert found.miou is not None and found.miou < 0.99
    assert found.miou_after == 1
    for prediction, mask in zip(predicted, true, strict=True):
        np.testing.assert_array_equal(postprocess(prediction, found.rules, CLASSES), mask)


def test_holes_are_filled_where_the_truth_has_none() -> None:
    true = truths()
    predicted = true.copy()
    predicted[:, 28:38:5, 12:52:5] = 0
    predicted[:, 29:39:5, 12:52:5] = 0
    predicted[:, 28:31, 52:55] = 0  # nine pixels
    assert chosen(predicted, true).rules == (Rule("chip", "share", hole=16 / 64**2),)


def test_nothing_is_chosen_for_a_network_with_no_or_few_small_components() -> None:
    true = truths()
    assert chosen(true, true) == Postprocess((), 1.0, 1.0)
    predicted = true.copy()
    predicted[:2, 50, 50] = 2
    assert chosen(predicted, true).rules == ()


def test_every_limit_that_was_tried_is_reported_with_gain_and_verdict() -> None:
    true = truths()
    predicted = true.copy()
    predicted[:, 48:60:4, 4:60:4] = 2  # 42 components of a pixel
    predicted[:, 48:51, 62:64] = 2  # and one of six
    found = choice(predicted, true)
    of_defect = [t for t in found.trials if (t.label, t.what) == ("defect", "smallest")]
    assert [trial.limit for trial in of_defect] == [4, 8, 16, 32, 64]
    assert [trial.verdict for trial in of_defect] == [
        "another is taken",
        "taken",
        *["another is taken"] * 3,
    ]
    before, after = found.chosen.miou, found.chosen.miou_after
    assert before is not None and after is not None
    assert of_defect[1].gain == pytest.approx(after - before)
    assert 0.002 < of_defect[0].gain < of_defect[1].gain
    others = [trial for trial in found.trials if trial not in of_defect]
    assert {(trial.label, trial.what) for trial in others} == {
        ("chip", "smallest"),
        ("chip", "hole"),
        ("defect", "hole"),
    }
    assert {trial.verdict for trial in others} == {"gains too little"}
    predicted[1:] = true[1:]
    of_defect = [
        t for t in choice(predicted, true).trials if (t.label, t.what) == ("defect", "smallest")
    ]
    assert {trial.verdict for trial in of_defect} == {"one image"}


def test_a_gain_on_a_single_image_is_not_enough() -> None:
    true = truths()
    predicted = true.copy()
    predicted[2, 44:64:2, 4:60:2] = 2
    assert chosen(predicted, true).rules == ()


def test_a_limit_that_loses_a_true_object_is_refused_however_much_it_gains() -> None:
    true = truths()
    predicted = true.copy()
    predicted[:, 44:48, 4:40:8] = 2  # columns of four pixels
    for left in range(4, 58, 12):
        predicted[:, 50:62, left : left + 3] = 2  # 36 pixels
    predicted[3, 12:24, 12:24] = 1
    predicted[3, 14:20, 14:20] = 2  # a quarter of the true one: that is found
    assert chosen(predicted, true).rules == (Rule("defect", "share", smallest=8 / 64**2),)
    predicted[3, 12:24, 12:24] = 2
    assert chosen(predicted, true).rules == (Rule("defect", "share", smallest=64 / 64**2),)


def test_no_limit_is_larger_than_a_true_object_even_of_one_that_the_network_missed() -> None:
    true = truths()
    predicted = true.copy()
    for left in range(4, 58, 6):
        predicted[:, 50:53, left : left + 3] = 2  # nine pixels
    assert chosen(predicted, true).rules == (Rule("defect", "share", smallest=16 / 64**2),)
    true[3, 58:61, 58:61] = 2
    assert chosen(predicted, true).rules == ()


def test_a_class_that_val_does_not_show_is_not_removed_for_a_better_mean() -> None:
    true = truths()
    true[true == 2] = 1
    predicted = true.copy()
    predicted[:, 50, 50] = 2
    assert chosen(predicted, true).rules == ()


def test_at_full_resolution_limits_are_pixels_whatever_the_size_of_each_image() -> None:
    true, larger = truths(), truths(size=100)
    predicted, more = true.copy(), larger.copy()
    for masks in (predicted, more):
        masks[:, 48:60:4, 4:60:4] = 2
        masks[:, -1, ::2] = 2
    answers, wanted = MaskStore([*predicted, *more]), MaskStore([*true, *larger])
    found = choose_postprocess(answers, wanted, CLASSES, unit="pixels").chosen
    assert found.rules == (Rule("defect", "pixels", smallest=4),)
    assert found.miou_after == 1


def test_masks_are_kept_as_they_were_while_a_network_is_asked() -> None:
    masks = MaskStore()
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    predict = masks.keeping(lambda images: images.astype(np.float32))
    np.testing.assert_array_equal(predict(images[:3]), images[:3])
    predict(images[3:])
    np.testing.assert_array_equal(np.stack(list(masks)), images.argmax(-1))


def test_masks_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 4"):
        chosen(truths(3), truths(4))
