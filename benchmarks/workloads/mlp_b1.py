"""The network of `mlp` on one example: every contraction is a matrix and a vector."""

import dataclasses

from subject import Subject

from . import mlp


def subject() -> Subject:
    work = mlp.subject()
    inputs = {name: array[:1] for name, array in work.inputs.items()}
    return dataclasses.replace(work, name="mlp_b1", inputs=inputs, by_hand=None)
