"""Draw what an inspection looks for in a pipe, a thing at a time."""

from __future__ import annotations

from numpy.random import Generator

from scripts.drawing.pipe_bodies import draw_deposit, draw_obstacle, draw_root
from scripts.drawing.pipe_openings import draw_broken, draw_crack, draw_lateral
from scripts.drawing.pipe_solids import Layer, empty_layer
from scripts.drawing.pipe_wall import Scene

DRAWN = {
    "root": draw_root,
    "crack": draw_crack,
    "deposit": draw_deposit,
    "obstacle": draw_obstacle,
    "lateral": draw_lateral,
    "broken": draw_broken,
}
KINDS = tuple(DRAWN)


def draw_thing(rng: Generator, scene: Scene, kind: str) -> Layer:
    """A thing of the kind somewhere in the pipe, which is left as it is."""
    layer = empty_layer(scene)
    DRAWN[kind](rng, scene, layer)
    return layer
