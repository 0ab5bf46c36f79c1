"""What can be done to gradients between backward and the step, in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl.arguments import NonNegative, Positive, Size, checked
from minidl.autograd.primitive import Array
from minidl.optim.clipping import gradients_of
from minidl.optim.optimizer import Optimizer
from minidl.tensor import Tensor


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


def centralize_grad_(parameters: Tensor | Iterable[Tensor]) -> None:
    """Take from each weight's gradient its mean over all axes but the first; vectors stay.

    References
    ----------
    H. Yong et al., "Gradient Centralization", ECCV 2020.
    """
    for gradient in gradients_of(parameters):
        if gradient.ndim > 1:
            gradient -= gradient.mean(axis=tuple(range(1, gradient.ndim)), keepdims=True)


class Accumulate:
    """Let ``steps`` backward passes make one step: an optimizer's step, taken every n-th time.

    Gradients add up in between, and their mean is used; ``zero_grad`` waits for the step.

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

    def zero_grad(self) -> None:
        """Forget the gradients, if none are being added up."""
        if self.count == 0:
            self.optimizer.zero_grad()

    def step(self) -> bool:
        """Count a backward pass; take the step if it was the last one. Return whether."""
        self.count += 1
        if self.count < self.steps:
            return False
        for group in self.optimizer.param_groups:
            for gradient in gradients_of(group["params"]):
                gradient /= gradient.dtype.type(self.steps)
        if self.before is not None:
            self.before()
        self.optimizer.step()
        self.count = 0
        return True


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
        self.slow = [p.detach().numpy().copy() for p in self._parameters()]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups."""
        return self.optimizer.param_groups

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of the optimizer; every k-th time, move the slow weights and return there."""
        loss = self.optimizer.step(closure)
        self.count += 1
        if self.count % self.k == 0:
            for slow, parameter in zip(self.slow, self._parameters(), strict=True):
                slow += self.alpha * (parameter.detach().numpy() - slow)
                parameter.copy_(slow)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, the slow weights and the count."""
        slow = [Tensor(array.copy()) for array in self.slow]
        return {"optimizer": self.optimizer.state_dict(), "slow": slow, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            Shapes do not fit.
        """
        given: list[Array] = [np.array(t.detach()) for t in state["slow"]]
        if [a.shape for a in given] != [a.shape for a in self.slow]:
            raise ValueError("Lookahead: the slow weights of the state have other shapes")
        self.optimizer.load_state_dict(state["optimizer"])
        self.slow, self.count = given, int(state["count"])
