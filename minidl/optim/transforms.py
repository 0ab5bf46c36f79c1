"""What can be done to gradients between backward and the step, in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minidl.arguments import NonNegative, Positive, Size, checked
from minidl.autograd.arrays import like
from minidl.autograd.primitive import Array, bottom
from minidl.autograd.recording import effect
from minidl.optim.clipping import gradients_of
from minidl.optim.optimizer import Optimizer
from minidl.tensor import Tensor


@effect
@checked
def add_grad_noise_(
    parameters: Tensor | Iterable[Tensor],
    eta: NonNegative = 0.01,
    *,
    step: int = 0,
    gamma: NonNegative = 0.55,
    generator: np.random.Generator | None = None,
) -> None:
    """Add normal noise of variance ``eta / (1 + step)^gamma`` to all gradients.

    References
    ----------
    A. Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", 2015.
    """
    rng = np.random.default_rng() if generator is None else generator
    std = math.sqrt(eta / (1.0 + step) ** gamma)
    for gradient in gradients_of(parameters):
        gradient += (std * rng.standard_normal(gradient.shape)).astype(gradient.dtype)


@effect
def centralize_grad_(parameters: Tensor | Iterable[Tensor]) -> None:
    """Take from each weight's gradient its mean over all axes but the first; vectors stay.

    References
    ----------
    H. Yong et al., "Gradient Centralization", ECCV 2020.
    """
    for gradient in gradients_of(parameters):
        if gradient.ndim > 1:
            gradient -= gradient.mean(axis=tuple(range(1, gradient.ndim)), keepdims=True)


@effect
def scale_grad_(parameters: Tensor | Iterable[Tensor], factor: float) -> None:
    """Multiply all gradients by a number: the mean of what several backward passes added up."""
    for gradient in gradients_of(parameters):
        gradient *= gradient.dtype.type(factor)


class Accumulate:
    """Let ``steps`` backward passes make one step: an optimizer's step, taken every n-th time.

    Gradients add up in between, and their mean is used; ``zero_grad`` waits for the step. The state
    holds what has been added up so far, so a training goes on in the middle of a step too.

    Parameters
    ----------
    before
        Called before each step that is taken: clipping, for one.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl import nn, optim
    >>> layer = nn.Linear(2, 1)
    >>> optimizer = optim.Accumulate(optim.SGD(layer.parameters(), lr=0.1), steps=2)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     layer(np.ones((3, 2), np.float32)).sum().backward()
    ...     print(optimizer.step())
    False
    True
    """

    @checked
    def __init__(
        self, optimizer: Optimizer, steps: Size, before: Callable[[], Any] | None = None
    ) -> None:
        self.optimizer, self.steps, self.before = optimizer, steps, before
        self.count = 0

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups."""
        return self.optimizer.param_groups

    @effect
    def zero_grad(self) -> None:
        """Forget the gradients, if none are being added up."""
        if self.count == 0:
            self.optimizer.zero_grad()

    @effect
    def step(self) -> bool:
        """Count a backward pass; take the step if it was the last one. Return whether."""
        self.count += 1
        if self.count < self.steps:
            return False
        for gradient in gradients_of(_parameters(self.optimizer)):
            gradient /= gradient.dtype.type(self.steps)
        if self.before is not None:
            self.before()
        self.optimizer.step()
        self.count = 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, the count, and the gradients added up by their numbers."""
        adding = _parameters(self.optimizer) if self.count else []
        sums = {i: p.grad.clone() for i, p in enumerate(adding) if p.grad is not None}
        return {"optimizer": self.optimizer.state_dict(), "count": self.count, "gradients": sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            Shapes do not fit, or the count is none of ``steps``; nothing has been changed.
        """
        count, parameters = int(state["count"]), _parameters(self.optimizer)
        # JSON has no whole numbers for keys, only strings.
        sums = {int(i): _array(given) for i, given in state["gradients"].items()}
        if not 0 <= count < self.steps:
            raise ValueError(
                f"Accumulate: the state has added up {count} of its gradients; with "
                f"steps={self.steps} there are fewer than {self.steps}"
            )
        for i, gradient in sums.items():
            wanted = parameters[i].shape if 0 <= i < len(parameters) else "no such parameter"
            if gradient.shape != wanted:
                raise ValueError(
                    f"Accumulate: gradient {i} of the state has shape {gradient.shape}, wanted "
                    f"{wanted}"
                )
        self.optimizer.load_state_dict(state["optimizer"])
        self.count = count
        for i, parameter in enumerate(parameters):
            if parameter.requires_grad:
                parameter.grad = sums[i].astype(parameter.dtype) if i in sums else None


class Lookahead:
    """Slow weights that follow an optimizer's fast ones: every ``k`` steps, by ``alpha``.

    References
    ----------
    M. Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", NeurIPS 2019.
    """

    @checked
    def __init__(self, optimizer: Optimizer, k: Size = 5, alpha: Positive = 0.5) -> None:
        if alpha > 1.0:
            raise ValueError(f"Lookahead: alpha must be at most 1, got {alpha}")
        self.optimizer, self.k, self.alpha = optimizer, k, alpha
        self.count = 0
        self.slow = [_array(p).copy() for p in _parameters(optimizer)]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups."""
        return self.optimizer.param_groups

    @effect
    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad()

    @effect
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of the optimizer; every k-th time, move the slow weights and return there."""
        loss = self.optimizer.step(closure)
        self.count += 1
        if self.count % self.k == 0:
            for slow, parameter in zip(self.slow, _parameters(self.optimizer), strict=True):
                slow += self.alpha * (_array(parameter) - slow)
                parameter.copy_(slow)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, the slow weights and the count."""
        slow = [Tensor(array.copy()) for array in self.slow]
        return {"optimizer": self.optimizer.state_dict(), "slow": slow, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            Shapes do not fit; nothing has been changed.
        """
        given = [_array(slow) for slow in state["slow"]]
        own, found = [a.shape for a in self.slow], [a.shape for a in given]
        if own != found:
            raise ValueError(f"Lookahead: slow weights of shapes {own} here, {found} in the state")
        self.optimizer.load_state_dict(state["optimizer"])
        self.count = int(state["count"])
        for slow, array in zip(self.slow, given, strict=True):
            slow[...] = like(array, slow)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _array(value: Any) -> Array:
    """Return what a state holds, a Tensor here or an array from a file, where it lies."""
    array: Array = bottom(value.detach() if isinstance(value, Tensor) else value, "Lookahead")
    return array
