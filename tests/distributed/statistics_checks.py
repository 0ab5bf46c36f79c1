"""What each rank does in the tests of `minidl.distributed.statistics`."""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl
from minidl import nn
from minidl.distributed import World

#: Shape of the whole batch, where it is cut, and settings of the layer.
BATCHES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "features": ((8, 3), (5, 7), {}),
    "length": ((5, 3, 4), (2, 2), {"momentum": None}),  # the second rank has none
    "images": ((6, 2, 3, 3), (1, 4), {"affine": False, "eps": 0.1}),
    "volumes": ((4, 2, 2, 1, 3), (0, 1), {"track_running_stats": False}),  # nor here the first
    "far from zero": ((9, 2, 2, 2), (3, 6), {}),
}


def whole(name: str) -> np.ndarray:
    """The batch of all ranks."""
    shape = BATCHES[name][0]
    x = np.random.default_rng(len(name)).standard_normal(shape)
    return x + 1e4 if name.startswith("far") else x


def weights(name: str) -> np.ndarray:
    """What each element of the result counts in the loss."""
    return np.random.default_rng(7).standard_normal(BATCHES[name][0])


def everything(world: World) -> dict[str, Any]:
    found: dict[str, Any] = {name: _layer(world, name) for name in BATCHES}
    return found | {"twice": _twice(world), "forward": _forward(world), "single": _single(world)}


def _share(world: World, name: str) -> slice:
    cuts = (0, *BATCHES[name][1], BATCHES[name][0][0])
    return slice(cuts[world.rank], cuts[world.rank + 1])


def _layer(world: World, name: str) -> dict[str, Any]:
    """Three steps of a layer, then its evaluation: results and gradients of this rank's share."""
    settings, mine = BATCHES[name][2], _share(world, name)
    layer = nn.SyncBatchNorm(BATCHES[name][0][1], **settings, dtype=np.float64)
    for parameter in layer.parameters():
        parameter.copy_(np.arange(1.0, parameter.numel() + 1.0))
    out = []
    for step in range(3):
        x = minidl.Tensor((whole(name) * (step + 1))[mine], requires_grad=True)
        y = layer(x)
        layer.zero_grad()
        (y * weights(name)[mine]).sum().backward()
        out += [y.detach().numpy().tolist(), x.grad.numpy().tolist()]
    total = [world.sum(p.grad.numpy()).tolist() for p in layer.parameters()]
    buffers = [np.asarray(b.numpy()).tolist() for b in layer.buffers()]
    found = {"out": out, "parameters": total, "buffers": buffers}
    if buffers:
        found["evaluated"] = layer.eval()(whole(name)[mine]).detach().numpy().tolist()
    return found


def _loss(layer: Any, mine: slice) -> Any:
    return lambda x: (layer(x) ** 3 * weights("features")[mine]).sum()


def _twice(world: World) -> list[Any]:
    """A product of the loss's second derivative, of the loss summed over ranks."""
    mine = _share(world, "features")
    layer = nn.SyncBatchNorm(3, affine=False, track_running_stats=False)
    x, v = whole("features")[mine], np.cos(whole("features"))[mine]
    _, gradient = minidl.vjp(minidl.grad(_loss(layer, mine)), x)
    (product,) = gradient(v)
    return np.asarray(product).tolist()


def _forward(world: World) -> float:
    """How the loss changes along a direction: each rank's part, summed."""
    mine = _share(world, "features")
    layer = nn.SyncBatchNorm(3, affine=False, track_running_stats=False)
    x, v = whole("features")[mine], np.cos(whole("features"))[mine]
    change = minidl.jvp(_loss(layer, mine), (x,), (v,))[1]
    return float(world.sum(np.asarray(change)))


def _single(world: World) -> str:
    """A single value on all ranks together."""
    layer = nn.SyncBatchNorm(2)
    try:
        layer(np.ones((1 if world.rank == 1 else 0, 2), np.float32))
    except ValueError as error:
        return str(error)
    return ""
