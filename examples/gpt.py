"""Trains a character-level GPT on the source of Python's own standard library, and lets it write some Python.

The text is that of the running interpreter's top-level modules; every tenth file is held out for validation. Forward
pass, backward pass, clipping, the learning rate's schedule and AdamW's update are one native call per step. Prints the
loss on the held-out text as training goes on: from ln(vocabulary), about 4.6, to below 1.5 after the 3000 steps that
are the default, which is checked. Draws the loss curve.
"""

import argparse
import math
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

import numpy as np
from pictures import draw_losses

import adjoint as ad

HEAD = 32  # width of a head of attention
OPTIONS = {"steps": 3000, "layers": 4, "width": 128, "context": 64, "batch": 16}
EXPECTED = 1.5


class Block(ad.nn.Module):
    """Attention, then a perceptron, both on normalised activations and added to what comes in."""

    def __init__(self, width, rng):
        self.attention_norm = ad.nn.LayerNorm(width)
        self.attention = ad.nn.MultiHeadAttention(width, width // HEAD, seed=rng)
        self.mlp_norm = ad.nn.LayerNorm(width)
        self.mlp = ad.nn.Sequential(
            ad.nn.Linear(width, 4 * width, seed=rng), ad.gelu, ad.nn.Linear(4 * width, width, seed=rng)
        )

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x), is_causal=True)
        return x + self.mlp(self.mlp_norm(x))


class GPT(ad.nn.Module):
    """Characters [batch, length] to the logits of each next one, [batch, length, vocabulary].

    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; the last layer's weights are those of
    the first.
    """

    def __init__(self, vocabulary, context, layers, width, seed=1):
        rng = np.random.default_rng(seed)
        self.characters = ad.nn.Embedding(vocabulary, width, seed=rng)
        self.places = ad.nn.Embedding(context, width, seed=rng)
        for table in (self.characters, self.places):
            table.weight.value *= 0.02
        self.blocks = ad.nn.Sequential(*(Block(width, rng) for _ in range(layers)))
        self.norm = ad.nn.LayerNorm(width)

    def forward(self, characters):
        x = self.characters(characters) + self.places(ad.arange(characters.shape[1]))
        return ad.nn.linear(self.norm(self.blocks(x)), self.characters.weight)


def read_library():
    """(training text, held-out text) of the standard library's top-level modules in alphabetical order."""
    folder = Path(sysconfig.get_path("stdlib"))
    # What the interpreter was built with is generated, and differs from machine to machine.
    files = [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_sysconfigdata")]
    texts = [path.read_text("utf-8", errors="replace") for path in files]
    held, kept = texts[9::10], [text for k, text in enumerate(texts) if k % 10 != 9]
    if not held:
        raise SystemExit(f"{folder} holds no source of the standard library")
    return "".join(kept), "".join(held)


class Vocabulary:
    """Characters by number, those that make at least a hundred-thousandth of the text; 0 stands for all others."""

    def __init__(self, text):
        counts = Counter(text)
        self.characters = ["\N{REPLACEMENT CHARACTER}", *sorted(c for c, n in counts.items() if n >= 1e-5 * len(text))]
        self.numbers = {c: k for k, c in enumerate(self.characters)}

    def __len__(self):
        return len(self.characters)

    def encode(self, text):
        return np.array([self.numbers.get(c, 0) for c in text], np.int64)

    def decode(self, numbers):
        return "".join(self.characters[k] for k in numbers)


def windows(text, starts, context):
    """Stretches of `context` + 1 characters from each start on, [starts, context + 1]."""
    return text[starts[:, None] + np.arange(context + 1)]


def build(model, context, batch, steps, rate=2e-3, threads=None, backend="c"):
    """(step, evaluate, write): all three share the model's variables.

    `step` and `evaluate` take windows [batch, context + 1] and return the loss. `write` takes characters [1, length],
    as many as there are up to the context, and a temperature; it returns the probabilities of the next one.
    """
    w = ad.input("windows", (batch, context + 1), dtype="int64")
    loss = ad.nn.cross_entropy(model(w[:, :-1]), w[:, 1:])
    schedule = ad.optim.cosine(rate, steps, warmup=min(100, steps // 10), start=rate / 100, final=rate / 10)
    matrices = [v for v in model.parameters() if v.ndim > 1]
    others = {"params": [v for v in model.parameters() if v.ndim < 2], "weight_decay": 0.0}
    updates = ad.optim.AdamW(schedule, betas=(0.9, 0.99), weight_decay=0.1).minimize(
        loss, [{"params": matrices}, others], clip_norm=1.0
    )
    how = {"threads": threads, "backend": backend}
    step = ad.compile(w, loss, updates=updates, name="step", **how)
    evaluate = ad.compile(w, loss, name="evaluate", **how)

    characters = ad.input("characters", (1, ad.Dim("length", max=context)), dtype="int64")
    temperature = ad.input("temperature")
    following = ad.softmax(model(characters)[0, -1] / temperature)
    return step, evaluate, ad.compile([characters, temperature], following, name="write", **how)


def held_out_loss(evaluate, text, context, batch, calls=16):
    """The mean loss on `calls` batches of windows at equal distances; the same ones every time."""
    starts = np.linspace(0, len(text) - context - 1, calls * batch).astype(np.int64).reshape(calls, batch)
    return float(np.mean([evaluate(windows(text, some, context)) for some in starts]))


def train(step, check, text, context, batch, steps, every):
    """(loss of every step, seconds spent in them, [(steps done, held-out loss)]); `check()` gives the latter."""
    rng = np.random.default_rng(7)
    losses, seconds, checks = [], 0.0, [(0, check())]
    print(f"{'step':>6}   training loss   held-out loss   ms/step   characters/s")
    print(f"{0:6}   {'':13}   {checks[-1][1]:13.3f}")
    while len(losses) < steps:
        chosen = windows(text, rng.integers(0, len(text) - context, batch), context)
        start = time.perf_counter()
        loss = step(chosen)
        seconds += time.perf_counter() - start
        losses.append(float(loss))
        done = len(losses)
        if done % every == 0 or done == steps:
            checks.append((done, check()))
            recent, each = np.mean(losses[checks[-2][0] :]), seconds / done
            row = f"{done:6}   {recent:13.3f}   {checks[-1][1]:13.3f}   {1e3 * each:7.1f}"
            print(f"{row}   {batch * context / each:12.0f}", flush=True)
    return losses, seconds, checks


def sample(write, vocabulary, context, prompt, length, temperature, seed=0):
    """The prompt and `length` characters more, each drawn from what the model expects after the last `context`."""
    rng = np.random.default_rng(seed)
    text = list(vocabulary.encode(prompt))
    for _ in range(length):
        odds = np.cumsum(write(np.array([text[-context:]]), temperature), dtype=np.float64)
        text.append(int(np.searchsorted(odds, rng.uniform(0, odds[-1]), side="right")))
    return vocabulary.decode(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=OPTIONS["steps"])
    parser.add_argument("--layers", type=int, default=OPTIONS["layers"])
    parser.add_argument("--width", type=int, default=OPTIONS["width"], help=f"of activations, a multiple of {HEAD}")
    parser.add_argument("--context", type=int, default=OPTIONS["context"], help="characters that are looked back on")
    parser.add_argument("--batch", type=int, default=OPTIONS["batch"], help="windows of text per step")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the sample; lower is more predictable")
    parser.add_argument("--length", type=int, default=600, help="characters of the sample")
    parser.add_argument("--threads", type=int, default=None, help="most threads a step uses (default: all CPUs)")
    parser.add_argument("--backend", choices=("c", "numpy"), default="c", help="numpy needs no C compiler")
    parser.add_argument("--out", type=Path, default=Path("out/gpt"), help="folder of the picture")
    options = parser.parse_args()
    if min(options.steps, options.layers, options.context, options.batch) < 1 or options.temperature <= 0:
        parser.error("--steps, --layers, --context and --batch must be at least 1, --temperature positive")
    if options.width < 1 or options.width % HEAD:
        parser.error(f"--width must be a multiple of {HEAD}")
    return options


def main():
    options = parse()
    context, batch = options.context, options.batch
    text, held = read_library()
    vocabulary = Vocabulary(text)
    model = GPT(len(vocabulary), context, options.layers, options.width)
    start = time.perf_counter()
    how = {"threads": options.threads, "backend": options.backend}
    step, evaluate, write = build(model, context, batch, options.steps, **how)
    compiled = time.perf_counter() - start
    print(f"text          {len(text)} characters to learn, {len(held)} held out, {len(vocabulary)} different ones")
    print(f"model         {model.parameter_count()} parameters, {options.layers} layers of width {options.width}")
    print(f"compiled in   {compiled:.2f} s (three functions; cached for the next run)\n")

    numbers, others = vocabulary.encode(text), vocabulary.encode(held)

    def check():
        return held_out_loss(evaluate, others, context, batch)

    losses, seconds, checks = train(step, check, numbers, context, batch, options.steps, max(1, options.steps // 10))
    options.out.mkdir(parents=True, exist_ok=True)
    draw_losses(options.out / "loss.png", losses, max(1, options.steps // 50), "step", checks)
    print(f"\na sample at temperature {options.temperature:g}:\n")
    print(sample(write, vocabulary, context, "def ", options.length, options.temperature))
    print(f"\ntraining      {seconds:.1f} s, {1e3 * seconds / len(losses):.1f} ms per step")
    guess = f"ln {len(vocabulary)} = {math.log(len(vocabulary)):.3f}"
    print(f"held-out loss {checks[0][1]:.3f} at first (knowing nothing: {guess}), {checks[-1][1]:.3f} in the end")
    print(f"picture       {options.out / 'loss.png'}")
    if all(getattr(options, name) == value for name, value in OPTIONS.items()) and not checks[-1][1] < EXPECTED:
        sys.exit(f"the held-out loss was expected to fall below {EXPECTED}")


if __name__ == "__main__":
    main()
