"""Averages of a model's weights along the training: of all steps (SWA), or fading (EMA)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from minidl.arguments import Probability, checked
from minidl.autograd import no_grad
from minidl.autograd.arrays import like
from minidl.autograd.primitive import bottom
from minidl.autograd.recording import effect
from minidl.tensor import Tensor


class _Model(Protocol):
    def named_parameters(self) -> Iterator[tuple[str, Any]]: ...
    def named_buffers(self) -> Iterator[tuple[str, Any]]: ...


class AveragedModel:
    """The average of a model's parameters; `applied` puts it into the model for a while.

    Parameters
    ----------
    decay
        None: the plain average over all updates (SWA). A number d: ``a ← d · a + (1 - d) · p``
        (EMA). The first update copies.
    use_buffers
        Average floating buffers (running statistics) too; else the model's own are used.

    Raises
    ------
    ValueError
        ``decay`` is not from 0 to below 1.

    References
    ----------
    P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI
    2018; B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    @checked
    def __init__(
        self, model: Any, decay: Probability | None = None, *, use_buffers: bool = False
    ) -> None:
        self.model: _Model = model
        self.decay, self.use_buffers = decay, use_buffers
        self.n_averaged = 0
        self.averages = {name: _array(t).copy() for name, t in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        found = dict(self.model.named_parameters())
        if self.use_buffers:
            buffers = self.model.named_buffers()
            found |= {name: buffer for name, buffer in buffers if buffer.dtype.kind == "f"}
        return found

    @effect
    def update(self) -> None:
        """Take in the model as it stands; call it after ``optimizer.step()``."""
        tensors = self._tensors()
        for name, average in self.averages.items():
            value = _array(tensors[name])
            if self.n_averaged == 0:
                average[...] = value
                continue
            weight = 1.0 / (self.n_averaged + 1) if self.decay is None else 1.0 - self.decay
            average += average.dtype.type(weight) * (value - average)
        self.n_averaged += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the model for a block of code: evaluation, saving."""
        tensors = self._tensors()
        before = {name: _array(tensor).copy() for name, tensor in tensors.items()}
        try:
            for name, tensor in tensors.items():
                tensor.copy_(self.averages[name])
            yield
        finally:
            for name, tensor in tensors.items():
                tensor.copy_(before[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by name, and their number."""
        averages = {name: Tensor(array.copy()) for name, array in self.averages.items()}
        return {"n_averaged": self.n_averaged, "averages": averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            Names or shapes do not fit; nothing has been changed.
        """
        given = {name: _array(t) for name, t in state["averages"].items()}
        if {n: a.shape for n, a in given.items()} != {n: a.shape for n, a in self.averages.items()}:
            raise ValueError("AveragedModel: the state's names or shapes are not the model's")
        for name, average in self.averages.items():
            average[...] = like(given[name], average)
        self.n_averaged = int(state["n_averaged"])


def _array(value: Any) -> Any:
    """Return what a Tensor or a state holds, where it lies."""
    return bottom(value.detach() if isinstance(value, Tensor) else value, "an average")


def update_bn(loader: Iterable[Any], model: Any) -> None:
    """Make batch norm's running statistics anew, as plain averages over all batches of a loader.

    Averaged weights want statistics of their own. The model's mode is put back.

    Parameters
    ----------
    loader
        Gives inputs, or tuples that begin with them.
    """
    norms = [m for m in model.modules() if getattr(m, "num_batches_tracked", None) is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    training = model.training
    for norm in norms:
        norm.running_mean.copy_(np.zeros(norm.running_mean.shape))
        norm.running_var.copy_(np.ones(norm.running_var.shape))
        norm.num_batches_tracked.copy_(0)
        norm.momentum = None
    try:
        model.train()
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)
