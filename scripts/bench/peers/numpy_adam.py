"""Adam on NumPy arrays, for systems that bring no optimizer: one flat array, in place."""

from __future__ import annotations

import numpy as np

from peers.cases import BETAS, EPS, LR


class FlatAdam:
    """Parameters laid end to end; ``views`` are the named pieces, which a step changes."""

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self.flat = np.concatenate([value.ravel() for value in values.values()])
        self.grad = np.empty_like(self.flat)
        self.mean, self.square = np.zeros_like(self.flat), np.zeros_like(self.flat)
        self.work, self.steps = np.empty_like(self.flat), 0
        self.views, self.pieces, start = {}, {}, 0
        for name, value in values.items():
            piece = slice(start, start + value.size)
            self.views[name] = self.flat[piece].reshape(value.shape)
            self.pieces[name] = self.grad[piece].reshape(value.shape)
            start = piece.stop

    def step(self, grads: dict[str, np.ndarray]) -> None:
        """Take one step."""
        for name, grad in grads.items():
            self.pieces[name][...] = grad
        self.steps += 1
        g, m, v, work = self.grad, self.mean, self.square, self.work
        np.subtract(g, m, out=work)
        work *= 1 - BETAS[0]
        m += work
        np.multiply(g, g, out=work)
        work *= 1 - BETAS[1]
        v *= BETAS[1]
        v += work
        np.sqrt(v, out=work)
        work *= (1 - BETAS[1] ** self.steps) ** -0.5
        work += EPS
        np.divide(m, work, out=work)
        work *= LR / (1 - BETAS[0] ** self.steps)
        self.flat -= work
