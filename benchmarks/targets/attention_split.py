"""The attention target as two kernels, forward and backward."""

from attention import Attention


def workload() -> Attention:
    return Attention("attention_split", 64)
