"""What optimisers have in common: learning rates, groups of variables, state, and `minimize`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, GradientError, GraphError, ShapeError
from ..graph.dtypes import BOOL
from ..graph.node import Node, toposort, type_text
from . import arithmetic as ar
from . import checks
from .array import Array
from .clipping import clip_by_global_norm, clip_by_value
from .create import handle, variable
from .explain import complain, refuse
from .grads import grad
from .lift import as_numpy

# Options that all optimisers which have them take in the same range: the greatest number, from 0 on; and flags.
_NUMBERS = {"momentum": math.inf, "weight_decay": math.inf, "dampening": 1.0, "eps": math.inf, "alpha": 1.0}
_FLAGS = {"nesterov", "centered"}

Updates = dict[Array, Array]
Options = dict[str, Any]


def trainable(loss: Array) -> list[Array]:
    """The variables that `loss` depends on and that require gradients, in order of first use."""
    if not isinstance(loss, Array):
        raise refuse(GradientError, f"a loss is a symbolic array, got {type(loss).__name__}", loss)
    reached = [n for n in toposort([loss.node]) if n.op.name == "variable" and n["token"].requires_grad]
    return [handle(n) for n in reached]


def _checked_rate(lr: Any) -> None:
    if isinstance(lr, Array):
        if lr.shape != ():
            text = f"a learning rate is a number or a 0-d array, got {type_text(lr.shape, lr.dtype)}"
            raise refuse(ShapeError, text, lr)
        if lr.dtype == BOOL:
            raise refuse(DTypeError, f"a learning rate is a number, got {lr.dtype}", lr)
    elif not checks.is_number(lr):
        if not callable(lr):
            text = f"a learning rate is a number, a 0-d input, a variable or a schedule, got {lr!r}"
            raise refuse(DTypeError, text)
    else:
        checks.number("a learning rate", lr, least=0)


class Optimizer:
    """Base of optimisers. Subclasses define `kind` and `step`, and hand their options to this constructor.

    The learning rate is a number, a 0-d input or variable, or a schedule: a function of the number of steps done before
    (a 0-d array) such as those of `ad.optim`. `state` lists the variables that hold momenta and the like, by name, once
    `minimize` has made them; all start from zeros, and `ad.save(path, optimizer.state.values())` keeps them.
    """

    kind = "optimizer"

    def __init__(self, **options: Any) -> None:
        if "lr" not in options:
            raise complain(GraphError, f'{self.kind}: an optimiser has the option "lr"')
        self.defaults: Options = options
        self.check(options)
        self.state: dict[str, Array] = {}
        self._slots: dict[tuple[str, Node], Array] = {}
        self._options: dict[Node, Options] = {}
        self._first: dict[Any, Array] = {}
        self._updates: Updates = {}

    @property
    def lr(self) -> Any:
        return self.defaults["lr"]

    def minimize(
        self,
        loss: Array,
        variables: Sequence[Array | Mapping[str, Any]] | None = None,
        *,
        clip_norm: float | Array | None = None,
        clip_value: float | Array | None = None,
    ) -> Updates:
        """Updates of variables and of the state, for `ad.compile(updates=…)`.

        variables   by default all that the loss reaches and that require gradients. Groups with options of their own
                    are dicts: `[{"params": decayed}, {"params": others, "weight_decay": 0.0, "lr": 1e-4}]`
        clip_value  holds every element of every gradient within ±clip_value
        clip_norm   then scales all gradients together to a joint Euclidean norm of at most this

        Raises GradientError when the loss is not a floating scalar or nothing is left to update, GraphError for an
        option that the optimiser does not have.
        """
        reached = trainable(loss)
        chosen = reached if variables is None else self._grouped(variables)
        if not chosen:
            raise complain(GradientError, f"{self.kind}: the loss reaches no variable that requires a gradient", loss)
        gradients = grad(loss, chosen)
        if clip_value is not None:
            gradients = clip_by_value(gradients, clip_value)
        if clip_norm is not None:
            gradients, _ = clip_by_global_norm(gradients, clip_norm)
        return self.apply(dict(zip(chosen, gradients, strict=True)))

    def apply(self, gradients: Mapping[Array, Array]) -> Updates:
        """Updates for given gradients, such as ones from another source."""
        self._updates = updates = {}
        # What variables share is named after the first of them, so that two optimisers fit into one step.
        self._first = {}
        if not isinstance(gradients, Mapping):
            raise complain(GradientError, f"{self.kind}: gradients come as a dict, variable → gradient", gradients)
        for v, g in gradients.items():
            self._updatable(v)
            shape = g.shape if isinstance(g, Array) else as_numpy(g).shape
            if shape not in ((), v.shape):
                text = f"{self.kind}: the gradient of {v.describe()} must have its shape, got {list(shape)}"
                raise complain(ShapeError, text, v, g)
            self._first.setdefault(self._family(v), v)
        for v, g in gradients.items():
            step = self.step(v, g, self.options(v))
            updates[v] = ar.subtract(v, step)
        return updates

    def step(self, v: Array, g: Array, options: Options) -> Array:
        """What is subtracted from `v`; state is read by `slot` and written by `put`."""
        raise complain(GraphError, f"{type(self).__name__} defines no step()")

    def check(self, options: Options) -> None:
        """Raises for options that make no sense; those of a group come together with the defaults."""
        _checked_rate(options["lr"])
        for name in _NUMBERS.keys() & options.keys():
            if not isinstance(options[name], Array):
                checks.number(name, options[name], least=0, most=_NUMBERS[name])
        for name in _FLAGS & options.keys():
            checks.flag(name, options[name])

    def options(self, v: Array) -> Options:
        """The options of the group of a variable."""
        return self._options.get(v.node, self.defaults)

    def _grouped(self, given: Sequence[Array | Mapping[str, Any]]) -> list[Array]:
        """The variables of all groups; notes their options."""
        chosen: list[Array] = []
        if isinstance(given, Mapping):
            given = [given]
        for group in checks.sequence("variables", given, kind=GradientError):
            own = dict(group) if isinstance(group, Mapping) else {"params": group}
            if "params" not in own:
                raise complain(GraphError, f'{self.kind}: a group of variables is a dict with "params", got {own!r}')
            members = own.pop("params")
            unknown = sorted(set(own) - set(self.defaults))
            if unknown:
                known = ", ".join(self.defaults)
                raise complain(GraphError, f"{self.kind}: no option is called {unknown[0]!r}; there are {known}")
            options = {**self.defaults, **own} if own else self.defaults
            self.check(options)
            listed = [members] if isinstance(members, Array) else checks.sequence("params", members, kind=GradientError)
            for v in listed:
                self._updatable(v)
                if any(v is c for c in chosen):
                    raise complain(GradientError, f'{self.kind}: variable "{v.name}" is listed twice', v)
                chosen.append(v)
                self._options[v.node] = options
        return chosen

    def _updatable(self, v: Any) -> None:
        if not isinstance(v, Array) or v.node.op.name != "variable":
            what = v.describe() if isinstance(v, Array) else repr(v)
            raise complain(GradientError, f"{self.kind}: only variables can be updated, not {what}", v)

    def _family(self, v: Array) -> Any:
        """What variables have in common that share scalars of state: their dtype and their group."""
        return v.dtype, id(self.options(v))

    def rate(self, v: Array) -> Any:
        """The learning rate in the dtype of `v`."""
        lr = self.options(v)["lr"]
        if callable(lr) and not isinstance(lr, Array):
            lr = checks.function("a schedule of the learning rate", lr, 0)(self.count())
            _checked_rate(lr)
        return ar.astype(lr, v.dtype) if isinstance(lr, Array) else lr

    def count(self) -> Array:
        """The number of steps done before this one, int64."""
        first = next(iter(self._first.values()))
        counter = self.slot("step", first, (), "int64")
        self.put(counter, counter + 1)
        return counter

    def slot(self, name: str, v: Array, shape: tuple[int, ...] | None = None, dtype: Any = None) -> Array:
        """A state variable of zeros like `v`, `<optimizer>.<name>.<variable>`; the same one when asked for again."""
        found = self._slots.get((name, v.node))
        if found is None:
            full = f"{self.kind}.{name}.{v.name}"
            start = np.zeros(tuple(map(int, v.shape)) if shape is None else shape, dtype or v.dtype)
            found = self._slots[name, v.node] = self.state[full] = variable(start, name=full, requires_grad=False)
        return found

    def shared(self, name: str, v: Array) -> Array:
        """A 0-d state variable in the dtype of `v`, one for all variables of its dtype and group."""
        return self.slot(name, self._first[self._family(v)], ())

    def put(self, state: Array, new: Array) -> Array:
        """Sets what a state variable becomes; the first call for it in a step counts. Returns the new value."""
        return self._updates.setdefault(state, new)
