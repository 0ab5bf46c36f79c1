"""Table of `minidl.ops.complexes`.

Arguments and results are made of real arrays, parts along a last axis, as the tests want them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from optable.record import Op, bad, of
from optable.samples import call, grid, shaped, unary

COMPLEX = shaped(((3, 2),), ((2, 2, 2),), ((2,),))


def joined(x: Any) -> Any:
    """Real parts to a complex ndarray."""
    return x[..., 0] + 1j * x[..., 1]


def parts(z: Any) -> Any:
    return np.stack([z.real, z.imag], -1) if np.iscomplexobj(z) else z


def ours(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of complex arrays as one of their parts."""

    def run(*arrays: Any, **how: Any) -> Any:
        z = function(*(minidl.view_as_complex(x) for x in arrays), **how)
        return minidl.view_as_real(z) if z.dtype.kind == "c" else z

    return run


def numpys(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays, **how: parts(function(*(joined(x) for x in arrays), **how))


def torchs(name: str) -> Callable[..., Any]:
    def run(torch: Any, *arrays: Any, **how: Any) -> Any:
        function = torch
        for part in name.split("."):
            function = getattr(function, part)
        z = function(*(torch.view_as_complex(x) for x in arrays), **how)
        return torch.view_as_real(torch.resolve_conj(z)) if z.is_complex() else z

    return run


def of_complex(name: str, reference: Callable[..., Any]) -> Op:
    return Op(
        name,
        COMPLEX,
        numpys(reference),
        torchs(name),
        function=ours(getattr(minidl, name)),
    )


OPS = [
    of_complex("real", np.real),
    of_complex("imag", np.imag),
    of_complex("conj", np.conj),
    of_complex("angle", np.angle),
    Op(
        "view_as_real",
        COMPLEX,
        lambda x: x,
        function=lambda x: minidl.view_as_real(minidl.view_as_complex(x)),
    ),
    Op(
        "view_as_complex",
        COMPLEX,
        lambda x: np.sqrt((x * x).sum(-1)),
        lambda torch, x: torch.view_as_complex(x).abs(),
        (bad(of((3,)), raises=ValueError, match="view_as_complex: a last axis of length 2"),),
        function=lambda x: minidl.abs(minidl.view_as_complex(x)),
    ),
    Op(
        "complex",
        lambda rng: [call(grid(rng, 3), grid(rng, 3)), call(grid(rng), grid(rng, 2))],
        lambda a, b: parts(a + 1j * b),
        function=lambda a, b: minidl.view_as_real(minidl.complex(a, b)),
        errors=(
            bad(of((2,)), of((2,), int), raises=TypeError, match="two float arrays are wanted"),
        ),
    ),
    Op(
        "polar",
        lambda rng: [call(grid(rng, 3, low=0.3), grid(rng, 3))],
        lambda r, a: parts(r * np.exp(1j * a)),
        lambda torch, r, a: torch.view_as_real(torch.polar(r, a)),
        function=lambda r, a: minidl.view_as_real(minidl.polar(r, a)),
    ),
    Op("isreal", unary(), np.isreal, "isreal", differentiable=False),
]
