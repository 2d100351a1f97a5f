"""The colours are those that Pascal VOC publishes."""

from __future__ import annotations

import numpy as np

from voc_builder.base.colours import VOID, voc_colours

PUBLISHED = [  # VOC 2012 development kit: background, aeroplane, ... tvmonitor
    *[(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)],
    *[(0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0)],
    *[(64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0)],
    *[(0, 192, 0), (128, 192, 0), (0, 64, 128)],
]


def test_the_first_21_colours_are_the_published_ones() -> None:
    np.testing.assert_array_equal(voc_colours(21), PUBLISHED)


def test_void_is_the_pale_cream_of_voc() -> None:
    np.testing.assert_array_equal(voc_colours()[VOID], (224, 224, 192))


def test_no_two_class_ids_share_a_colour() -> None:
    assert voc_colours().shape == (256, 3)
    assert voc_colours().dtype == np.uint8
    assert len(np.unique(voc_colours(), axis=0)) == 256
