"""Random programs through the verifier, the printer and serialisation; and the maps of structural operations."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

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


def test_keys_do_not_depend_on_the_process() -> None:
    """Hash seeds, ids and the tokens that were made before differ between processes."""
    tests = Path(__file__).parent.parent
    code = "import randgraph as r, adjoint.graph.serial as s\n"
    code += "print(*(s.canonical_key(r.random_case(k).program, {}) for k in range(10)))"
    expected = " ".join(canonical_key(random_case(k).program, {}) for k in range(10))
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tests)}
        command = [sys.executable, "-c", code]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == expected


def test_the_same_seed_gives_the_same_program() -> None:
    keys = [canonical_key(random_case(7).program, {}) for _ in range(2)]
    assert keys[0] == keys[1]
    assert len({canonical_key(random_case(s).program, {}) for s in range(20)}) == 20
