"""`compile(watch=)`: intermediates by name beside the results."""

import numpy as np
import pytest

import adjoint as ad

X = np.array([1, 2, 3], np.float32)


def network():
    x, w = ad.input("x", (3,)), ad.variable(np.float32(2), name="w")
    h = x * w
    h.name = "hidden"
    loss = ad.sum(h * h)
    return x, w, h, loss


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_calls_return_what_is_watched_beside_the_results(backend):
    x, w, h, loss = network()
    slope = ad.grad(loss, w)
    f = ad.compile(x, {"loss": loss}, updates={w: w - slope}, watch={"h": h, "slope": slope}, backend=backend)
    result, watched = f(X)
    assert result == {"loss": 56} and list(watched) == ["h", "slope"]
    assert watched["h"].tolist() == [2, 4, 6] and watched["slope"] == 56 and w.value == -54
    bound = f.bind(X)
    result, watched = bound()
    assert watched["h"].tolist() == (-54 * X).tolist()


def test_named_arrays_need_no_other_name():
    x, w, h, loss = network()
    for watch in (h, [h]):
        value, watched = ad.compile(x, loss, watch=watch)(X)
        assert value == 56 and watched["hidden"].tolist() == [2, 4, 6]
    assert ad.compile(x, loss, watch=[w])(X)[1] == {"w": 2}
    assert ad.compile(x, loss, watch=[])(X) == (56, {})


def test_what_cannot_be_watched():
    x, _, h, loss = network()
    with pytest.raises(ad.GraphError, match=r"watch: the array has no name(.|\n)*test_watch.py"):
        ad.compile(x, loss, watch=[loss])
    other = x + 1
    other.name = "hidden"
    with pytest.raises(ad.GraphError, match="watch: two arrays are called 'hidden'"):
        ad.compile(x, loss, watch=[h, other])
    with pytest.raises(ad.GraphError, match="watch: an array is expected, got 'hidden'"):
        ad.compile(x, loss, watch=["hidden"])
    with pytest.raises(ad.GraphError, match=r"watch.*got 3"):
        ad.compile(x, loss, watch=3)
