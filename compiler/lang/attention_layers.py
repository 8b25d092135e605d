"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph.dtypes import BOOL
from ..graph.node import type_text
from ..graph.sizes import Extent
from . import arithmetic as ar
from . import checks, init
from . import functional as fn
from .array import Array
from .attention import scaled_dot_product_attention
from .create import variable
from .explain import complain
from .layers import Linear, advance, own_key
from .lift import as_array
from .module import Module
from .shaping import expand_dims, moveaxis, split


class MultiHeadAttention(Module):
    """Attention of `num_heads` heads of width embed_dim / num_heads; query, key and value are [..., n, embed_dim].

    Parameters are those of PyTorch's: `in_proj_weight` [3 · embed_dim, embed_dim], queries before keys before values,
    `in_proj_bias`, and the layer `out_proj`. The batch comes first, and the weights of attention are not returned.
    `dropout` drops weights in training. Vaswani et al., "Attention Is All You Need", 2017.
    """

    numbered = True

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        seed: Any = None,
        dtype: Any = "float32",
    ) -> None:
        checks.whole("embed_dim", embed_dim, least=1)
        if checks.whole("num_heads", num_heads) < 1 or embed_dim % num_heads:
            text = f"MultiHeadAttention: embed_dim {embed_dim} does not divide into {num_heads} heads"
            raise complain(ShapeError, text)
        fn.checked_probability("MultiHeadAttention", dropout)
        rng = init.generator(seed)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        start = init.xavier_uniform((3 * embed_dim, embed_dim), seed=rng, dtype=dtype)
        self.in_proj_weight = variable(start, name="in_proj_weight")
        start = init.zeros((3 * embed_dim,), dtype=dtype)
        self.in_proj_bias = variable(start, name="in_proj_bias") if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, seed=rng, dtype=dtype)
        if self.out_proj.bias is not None:
            self.out_proj.bias.value = init.zeros((embed_dim,), dtype=dtype)
        if dropout:
            self.key = own_key(rng)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        key_padding_mask: Any = None,
        attn_mask: Any = None,
        is_causal: bool = False,
        training: bool = False,
    ) -> Array:
        """[..., n, embed_dim] for query [..., n, embed_dim], key and value [..., m, embed_dim].

        key                query unless given; `value` is `key` unless given
        key_padding_mask   bool [..., m], TRUE FOR KEYS TO LEAVE OUT, as PyTorch has it
        attn_mask          [n, m] or what broadcasts to [..., heads, n, m]: bools, TRUE WHERE A QUERY DOES NOT SEE A KEY
                           (the opposite of `scaled_dot_product_attention`, in PyTorch too), or numbers that are added
        is_causal          query i sees keys 0 … i

        Raises ShapeError or DTypeError for what does not fit.
        """
        query = as_array(query)
        key = query if key is None else as_array(key)
        value = key if value is None else as_array(value)
        for x in (query, key, value):
            if x.ndim < 2 or x.shape[-1] != self.embed_dim:
                text = f"MultiHeadAttention: [..., n, {self.embed_dim}] is expected, got {type_text(x.shape, x.dtype)}"
                raise complain(ShapeError, text, query, key, value)
        q, k, v = (self._heads(x) for x in self._projected(query, key, value))
        mask = _combined(_inverted(attn_mask), self._of_keys(key_padding_mask, key))
        drops = self.dropout if training else 0.0
        result = scaled_dot_product_attention(
            q, k, v, mask, is_causal, dropout_p=drops, key=self.key if drops else None
        )
        if drops:
            result = advance(result, self.key)
        joined = moveaxis(result, -3, -2)
        return self.out_proj(joined.reshape((*joined.shape[:-2], self.embed_dim)))  # type: ignore[no-any-return]

    def _projected(self, query: Array, key: Array, value: Array) -> list[Array]:
        """Queries, keys and values; in one product where all come from one array."""
        if query is key and key is value:
            return split(fn.linear(query, self.in_proj_weight, self.in_proj_bias), 3, -1)
        weights = split(self.in_proj_weight, 3)
        biases = [None] * 3 if self.in_proj_bias is None else split(self.in_proj_bias, 3)
        return [fn.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]

    def _heads(self, x: Array) -> Array:
        """[..., n, embed_dim] as [..., heads, n, width]."""
        shape: tuple[Extent, ...] = (*x.shape[:-1], self.num_heads, self.embed_dim // self.num_heads)
        return moveaxis(x.reshape(shape), -2, -3)

    def _of_keys(self, mask: Any, key: Array) -> Array | None:
        """The mask of keys that are seen, as [..., 1, 1, m]."""
        if mask is None:
            return None
        mask = as_array(mask)
        if mask.dtype != BOOL:
            raise complain(DTypeError, f"MultiHeadAttention: key_padding_mask must be bool, got {mask.dtype}", mask)
        if mask.shape != key.shape[:-1]:
            texts = f"{type_text(mask.shape, mask.dtype)} for keys {type_text(key.shape, key.dtype)}"
            text = f"MultiHeadAttention: key_padding_mask must have the shape of the keys without their width: {texts}"
            raise complain(ShapeError, text, mask, key)
        return expand_dims(ar.logical_not(mask), (-2, -3))


def _inverted(mask: Any) -> Array | None:
    """A mask that says what is not seen as one that says what is; numbers as they are."""
    if mask is None:
        return None
    mask = as_array(mask)
    return ar.logical_not(mask) if mask.dtype == BOOL else mask


def _combined(mask: Array | None, seen: Array | None) -> Array | None:
    if mask is None or seen is None:
        return mask if seen is None else seen
    return ar.logical_and(mask, seen) if mask.dtype == BOOL else ar.where(seen, mask, -math.inf)
