"""The drawn photos and their data set, as the tests of training have them."""

from __future__ import annotations

from tests.segtf.conftest import dataset, photos

__all__ = ["dataset", "photos"]
