"""Table of `minidl.ops.fft`; complex arrays as their parts, see `optable.complexes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minidl
from minidl import fft
from optable.complexes import joined, parts
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid

CLOSE = {"rtol": 1e-10, "float32_rtol": 1e-4}


def samples(space: tuple[int, ...], *, split: bool, sizes: str, many: bool) -> Any:
    tail = (2,) if split else ()

    def draw(rng: Rng) -> Iterator[Sample]:
        yield call(grid(rng, 2, *space, *tail))
        yield call(grid(rng, *space, *tail), norm="ortho")
        yield call(grid(rng, *space, *tail), norm="forward")
        if many:
            yield call(grid(rng, 3, 4, *tail), **{sizes: (2, 5)})
        else:
            yield call(grid(rng, *space, *tail), **{sizes: 3})
            yield call(grid(rng, *space, *tail), **{sizes: 6})
            yield call(grid(rng, 4, 2, *tail), dim=0)

    return draw


def entry(name: str, *, many: bool = False, split: bool = True, reference: Any = None) -> Op:
    function: Callable[..., Any] = getattr(fft, name)
    numpys = reference or getattr(np.fft, name)

    def ours(x: Any, **how: Any) -> Any:
        z = function(minidl.view_as_complex(x) if split else x, **how)
        return minidl.view_as_real(z) if z.dtype.kind == "c" else z

    def theirs(x: Any, dim: Any = None, **how: Any) -> Any:
        how |= {} if dim is None else {"axis": dim}
        if "s" in how:
            how["axes"] = (-2, -1)
        return parts(numpys(joined(x) if split else x, **how))

    def torchs(torch: Any, x: Any, **how: Any) -> Any:
        z = getattr(torch.fft, name)(torch.view_as_complex(x) if split else x, **how)
        return torch.view_as_real(torch.resolve_conj(z)) if z.is_complex() else z

    return Op(
        f"fft.{name}",
        samples((3, 4) if many else (5,), split=split, sizes="s" if many else "n", many=many),
        theirs,
        torchs,
        function=ours,
        **CLOSE,
    )


OPS = [
    *(entry(name) for name in ("fft", "ifft", "irfft", "hfft")),
    *(entry(name, split=False) for name in ("rfft", "ihfft")),
    *(entry(name, many=True) for name in ("fft2", "ifft2", "irfft2", "fftn", "ifftn", "irfftn")),
    *(entry(name, many=True, split=False) for name in ("rfft2", "rfftn")),
    *(
        Op(
            f"fft.{name}",
            lambda rng: [call(grid(rng, 5)), call(grid(rng, 2, 3)), call(grid(rng, 3, 4), dim=1)],
            lambda x, dim=None, name=name: getattr(np.fft, name)(x, dim),
            f"fft.{name}",
            (bad(of((2,)), 1, raises=IndexError, match="dim 1 is out of range"),),
        )
        for name in ("fftshift", "ifftshift")
    ),
]
