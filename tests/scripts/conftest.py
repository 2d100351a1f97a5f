"""The drawn images, their data set and a run, as the tests of training have them."""

from __future__ import annotations

from tests.segtf.conftest import dataset, images, run

__all__ = ["dataset", "images", "run"]
