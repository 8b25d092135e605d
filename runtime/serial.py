"""Artifact to JSON and back, without pickle: what the graph cache stores."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from adjoint.artifact import Artifact, CheckInfo, DimSpec, KernelInfo, Param, Target, Unit


def artifact_to_json(artifact: Artifact, library: str | None = None) -> bytes:
    """Canonical JSON of an artifact and of the blob name of its library (None when it was not built yet)."""
    record = {"artifact": asdict(artifact), "library": library}
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def artifact_from_json(data: bytes) -> tuple[Artifact, str | None]:
    """The artifact and the blob name of its library. Raises ValueError when the data is of another version."""
    try:
        record = json.loads(data)
        return _artifact(record["artifact"]), record["library"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the JSON of an artifact of this version: {error!r}") from error


def _artifact(a: dict[str, Any]) -> Artifact:
    target = dict(a["target"], cflags=tuple(a["target"]["cflags"]))
    return Artifact(
        **dict(
            a,
            target=Target(**target),
            units=tuple(Unit(**u) for u in a["units"]),
            params=tuple(Param(**dict(p, shape=tuple(p["shape"]))) for p in a["params"]),
            dims=tuple(DimSpec(**d) for d in a["dims"]),
            kernels=tuple(KernelInfo(**dict(k, sites=tuple(k["sites"]))) for k in a["kernels"]),
            checks=tuple(CheckInfo(**c) for c in a["checks"]),
        )
    )
