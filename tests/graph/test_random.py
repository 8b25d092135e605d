"""Random programs through the verifier, the printer and serialisation; and the maps of structural operations."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from randgraph import random_case

from adjoint.graph.pretty import dump_program
from adjoint.graph.serial import canonical_key, deserialize_program, serialize_program
from adjoint.graph.verify import verify_program


@pytest.mark.parametrize("seed", range(120))
def test_verifies_prints_and_survives_serialisation(seed: int) -> None:
    case = random_case(seed)
    program = case.program
    verify_program(program)
    assert dump_program(program).count("\n") > 2
    key = canonical_key(program, {"target": "x"})
    expected = case.run()
    for loaded in (deserialize_program(serialize_program(program)), pickle.loads(pickle.dumps(program))):
        assert canonical_key(loaded, {"target": "x"}) == key
        verify_program(loaded)
        values = {leaf: case.values[old] for leaf, old in zip(loaded.inputs, program.inputs, strict=True)}
        values |= {v: v["token"].storage.array for v in loaded.variables}
        case_of = copy.copy(case)
        case_of.values = values
        for a, b in zip(expected, case_of.run(loaded), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_program() -> None:
    keys = [canonical_key(random_case(7).program, {}) for _ in range(2)]
    assert keys[0] == keys[1]
    assert len({canonical_key(random_case(s).program, {}) for s in range(20)}) == 20
