"""JAX, every step one jitted function that gives its buffers back to be written over.

Images lie channels-last, which XLA's convolutions on CPUs prefer; a second variant has them
channels-first. Layers are written out by hand, as JAX has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from peers.cases import BETAS, EPS, EPS_NORM, LR, Case, batches, points, weights

Step = Callable[[int], Any]
Parameters = dict[str, Any]


def versions() -> dict[str, str]:
    """Say what runs."""
    return {"jax": jax.__version__}


def variants(case: Case) -> list[str]:
    """Name the ways."""
    imaged = case.model in ("cnn", "lenet5", "resnet8")
    return ["jit", "jit, channels-first"] if imaged else ["jit"]


class Images:
    """Convolution, pooling and batch norm of images in one of two layouts."""

    def __init__(self, last: bool) -> None:
        self.last = last
        self.layout = ("NHWC", "HWIO", "NHWC") if last else ("NCHW", "OIHW", "NCHW")
        self.space = (1, 2) if last else (2, 3)

    def take(self, x: Any) -> Any:
        """Lay ``(N, 1, H, W)`` out."""
        return x.reshape(x.shape[0], 28, 28, 1) if self.last else x

    def conv(self, x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0) -> Any:
        """Correlate."""
        around = [(padding, padding)] * 2
        y = lax.conv_general_dilated(
            x, weight, (stride, stride), around, dimension_numbers=self.layout
        )
        return y if bias is None else y + self.along(bias)

    def along(self, vector: Any) -> Any:
        """Give a vector of channels the axes of an image."""
        return vector if self.last else vector[:, None, None]

    def pool(self, x: Any, first: Any, reduce: Any) -> Any:
        """Reduce 2x2 windows."""
        window = (1, 2, 2, 1) if self.last else (1, 1, 2, 2)
        return lax.reduce_window(x, first, reduce, window, window, "VALID")

    def max_pool(self, x: Any) -> Any:
        """Take the largest of 2x2."""
        return self.pool(x, -jnp.inf, lax.max)

    def avg_pool(self, x: Any) -> Any:
        """Take the mean of 2x2."""
        return self.pool(x, 0.0, lax.add) / 4

    def norm(self, x: Any, scale: Any, shift: Any) -> Any:
        """Normalize over batch and space; return also mean and unbiased variance."""
        axes = (0, *self.space)
        mean = x.mean(axes, keepdims=True)
        var = ((x - mean) ** 2).mean(axes, keepdims=True)
        y = (x - mean) * lax.rsqrt(var + EPS_NORM) * self.along(scale) + self.along(shift)
        return y, (mean.ravel(), var.ravel() * (x.size / mean.size) / (x.size / mean.size - 1))


def dense(p: Parameters, name: str, x: Any) -> Any:
    """Affine map."""
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def mlp(p: Parameters, x: Any, images: Images) -> Any:
    """784-256-128-10."""
    for name in ("0", "2"):
        x = jax.nn.relu(dense(p, name, x))
    return dense(p, "4", x)


def cnn(p: Parameters, x: Any, images: Images) -> Any:
    """Two convolutions, two linear layers."""
    x = images.take(x)
    for name in ("0", "3"):
        y = images.conv(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=1)
        x = images.max_pool(jax.nn.relu(y))
    return dense(p, "9", jax.nn.relu(dense(p, "7", x.reshape(x.shape[0], -1))))


def lenet5(p: Parameters, x: Any, images: Images) -> Any:
    """LeNet-5."""
    x = images.take(x)
    for name, padding in (("0", 2), ("3", 0)):
        y = images.conv(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=padding)
        x = images.avg_pool(jnp.tanh(y))
    x = x.reshape(x.shape[0], -1)
    for name in ("7", "9"):
        x = jnp.tanh(dense(p, name, x))
    return dense(p, "11", x)


def resnet8(p: Parameters, x: Any, images: Images) -> Any:
    """ResNet-8; the second result is what the running statistics learn from."""
    seen = []

    def norm(x: Any, name: str) -> Any:
        y, found = images.norm(x, p[f"{name}.weight"], p[f"{name}.bias"])
        seen.append(found)
        return y

    x = images.conv(images.take(x), p["conv1.weight"], padding=1)
    x = jax.nn.relu(norm(x, "bn1"))
    for at in ("layer1.0", "layer2.0", "layer3.0"):
        turned = f"{at}.downsample.0.weight"
        stride = 2 if turned in p else 1
        y = images.conv(x, p[f"{at}.conv1.weight"], stride=stride, padding=1)
        y = images.conv(jax.nn.relu(norm(y, f"{at}.bn1")), p[f"{at}.conv2.weight"], padding=1)
        y = norm(y, f"{at}.bn2")
        if turned in p:
            x = norm(images.conv(x, p[turned], stride=stride), f"{at}.downsample.1")
        x = jax.nn.relu(x + y)
    return dense(p, "fc", x.mean(images.space)), seen


def lstm(p: Parameters, x: Any, images: Images) -> Any:
    """One layer over the rows."""
    rows = x[:, 0].transpose(1, 0, 2)
    r = "recurrent."
    share = rows @ p[r + "weight_ih_l0"].T + p[r + "bias_ih_l0"] + p[r + "bias_hh_l0"]
    turned = p[r + "weight_hh_l0"].T

    def step(state: Any, row: Any) -> Any:
        hidden, cell = state
        i, f, g, o = jnp.split(row + hidden @ turned, 4, -1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), None

    zeros = jnp.zeros((x.shape[0], 128), x.dtype)
    (hidden, _), _ = lax.scan(step, (zeros, zeros), share)
    return dense(p, "head", hidden)


def _layer_norm(p: Parameters, name: str, x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(var + EPS_NORM) * p[f"{name}.weight"] + p[f"{name}.bias"]


def vit(p: Parameters, x: Any, images: Images) -> Any:
    """Four pre-norm layers of width 64."""
    n = x.shape[0]
    cut = x.reshape(n, 7, 4, 7, 4).transpose(0, 1, 3, 2, 4).reshape(n, 49, 16)
    words = cut @ p["patches.weight"].reshape(64, 16).T + p["patches.bias"]
    token = jnp.broadcast_to(p["token.weight"], (n, 1, 64))
    words = jnp.concatenate([token, words], 1) + p["positions.weight"]
    for layer in range(4):
        at = f"layers.{layer}"
        x = _layer_norm(p, f"{at}.norm1", words)
        own = f"{at}.self_attn."
        qkv = x @ p[own + "in_proj_weight"].T + p[own + "in_proj_bias"]
        q, k, v = qkv.reshape(n, 50, 3, 4, 16).transpose(2, 0, 3, 1, 4)
        mixed = jax.nn.softmax(q @ k.swapaxes(-1, -2) / 4.0, -1) @ v
        mixed = mixed.transpose(0, 2, 1, 3).reshape(n, 50, 64)
        words = words + dense(p, own + "out_proj", mixed)
        x = dense(p, f"{at}.linear1", _layer_norm(p, f"{at}.norm2", words))
        words = words + dense(p, f"{at}.linear2", jax.nn.gelu(x, approximate=False))
    return dense(p, "head", _layer_norm(p, "norm", words[:, 0]))


_MODELS: dict[str, Callable[..., Any]] = {
    "mlp": mlp,
    "cnn": cnn,
    "lenet5": lenet5,
    "resnet8": resnet8,
    "lstm": lstm,
    "vit": vit,
}

#: Linear layers behind a flattened image: channels and side.
_FLATTENED = {("cnn", "7.weight"): (64, 7), ("lenet5", "7.weight"): (16, 5)}


def load(model: str, images: Images) -> Parameters:
    """Return the first weights, in the order in which this layout wants them."""
    made = {}
    for name, value in weights(model).items():
        if images.last and value.ndim == 4 and model != "vit":
            value = value.transpose(2, 3, 1, 0)
        if images.last and (model, name) in _FLATTENED:
            c, side = _FLATTENED[model, name]
            split = value.reshape(-1, c, side, side).transpose(0, 2, 3, 1)
            value = split.reshape(len(value), -1)
        made[name] = jnp.asarray(np.ascontiguousarray(value))
    return made


def _adam(p: Any, g: Any, m: Any, v: Any, t: Any) -> Any:
    m = m + (g - m) * (1 - BETAS[0])
    v = v * BETAS[1] + g * g * (1 - BETAS[1])
    rate = LR / (1 - BETAS[0] ** t)
    return p - rate * m / (jnp.sqrt(v / (1 - BETAS[1] ** t)) + EPS), m, v


def _training(case: Case, images: Images) -> Step:
    forward = _MODELS[case.model]
    params = load(case.model, images)
    zeros = jax.tree.map(jnp.zeros_like, params)
    running: Any = None
    data = [(jnp.asarray(x), jnp.asarray(y, jnp.int32)) for x, y in batches(case)]

    def loss_of(p: Parameters, x: Any, labels: Any) -> Any:
        logits, seen = forward(p, x, images), None
        if case.model == "resnet8":
            logits, seen = logits
        logs = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logs, labels[:, None], 1).mean(), seen

    def step(state: Any, x: Any, labels: Any) -> Any:
        p, m, v, t, running = state
        (loss, seen), g = jax.value_and_grad(loss_of, has_aux=True)(p, x, labels)
        t = t + 1.0
        stepped = {name: _adam(p[name], g[name], m[name], v[name], t) for name in p}
        p, m, v = ({name: three[i] for name, three in stepped.items()} for i in range(3))
        if seen is not None:  # batch norm's running statistics are part of the work
            running = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, running, seen)
        return (p, m, v, t, running), loss

    if case.model == "resnet8":
        _, seen = jax.eval_shape(lambda p: forward(p, data[0][0], images), params)
        running = jax.tree.map(lambda found: jnp.zeros(found.shape), seen)
    state = (params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.zeros(()), running)
    jitted = jax.jit(step, donate_argnums=0)

    def run(i: int) -> float:
        nonlocal state
        state, loss = jitted(state, *data[i % len(data)])
        return float(loss)

    return run


def _predicting(case: Case, images: Images) -> Step:
    params, forward = load(case.model, images), _MODELS[case.model]
    jitted = jax.jit(lambda p, x: forward(p, x, images))
    data = [x for x, _ in batches(case)]
    return lambda i: np.asarray(jitted(params, data[i % len(data)]))


def rosenbrock(x: Any) -> Any:
    """Σ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def _derivative(case: Case) -> Callable[[Any], Any]:
    if case.model == "scalar":
        return jax.jit(jax.grad(lambda x: x**3 + 2 * x))  # type: ignore[no-any-return]
    if case.model == "rosenbrock":
        return jax.jit(jax.grad(lambda x: rosenbrock(x)))  # type: ignore[no-any-return]
    return jax.jit(jax.hessian(lambda x: rosenbrock(x)))  # type: ignore[no-any-return]


def prepare(case: Case, variant: str, *, threads: int) -> Step:
    """Build a case; threads are set by the environment."""
    images = Images("first" not in variant)
    if case.kind == "train":
        return _training(case, images)
    if case.kind == "predict":
        return _predicting(case, images)
    at = [jnp.asarray(where) for where in points(case)]
    if case.kind == "first":
        return lambda i: np.asarray(_derivative(case)(at[i % len(at)]))
    found = _derivative(case)
    return lambda i: np.asarray(found(at[i % len(at)]))
