"""Sums of columns: where a row of results fits the registers, it stays there while the rows go by."""

from __future__ import annotations

from ..graph import index
from ..graph.index import Index, IVar
from .ir import Buf, Const, Expr, Load, Loop, Reduce, Stmt, Store

MOST = 8  # vectors of a row that is held in registers: enough sums side by side, and room for what they are made of


class Columns:
    """The results of a row of columns `j`, kept in a register for each vector. `clear`, `add` and `keep` are the
    statements before, within and after the loops over what is summed. A sum has the same terms in the same order as one
    that lies in memory, without waiting for its last value to come back from there."""

    def __init__(self, home: Buf, where: tuple[Index, ...], j: IVar, extent: Index, lanes: int, zero: Const) -> None:
        width = extent.const
        assert isinstance(width, int) and not extent.terms, extent
        self.home, self.where, self.j, self.extent, self.lanes, self.zero = home, where, j, extent, lanes, zero
        self.row = Buf("column", home.dtype, (-(-width // lanes) * lanes,), "register")

    @staticmethod
    def fit(extent: Index, limit: Index | None, lanes: int) -> bool:
        """Whether the columns are of a number that is known, and few enough."""
        return limit is None and not extent.terms and isinstance(extent.const, int) and extent.const <= MOST * lanes

    @property
    def clear(self) -> Stmt:
        return self._over(Store(self.row, (index.of(self.j),), self.zero))

    def add(self, combine: str, value: Expr) -> Stmt:
        return self._over(Reduce(self.row, (index.of(self.j),), combine, value))

    @property
    def keep(self) -> Stmt:
        return self._over(Store(self.home, self.where, Load(self.row, (index.of(self.j),), self.home.dtype)))

    def _over(self, statement: Stmt) -> Stmt:
        return Loop(self.j, index.ZERO, self.extent, "vec", [statement], self.lanes)
