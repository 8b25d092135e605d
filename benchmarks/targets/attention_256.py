"""The attention target with 256 positions."""

from attention import Attention


def workload() -> Attention:
    return Attention("attention_256", 256)
