"""L-BFGS: a quasi-Newton method for whole-batch losses, with a line search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from minidl.arguments import NonNegative, Size, checked
from minidl.autograd.arrays import copied, like
from minidl.autograd.primitive import Array, bottom, place_of, zeros_like
from minidl.optim.optimizer import Optimizer
from minidl.tensor import Tensor

Params = Iterable[Tensor]


class LBFGS(Optimizer):
    """Limited-memory BFGS. ``step(closure)`` evaluates the loss as often as it needs.

    Parameters
    ----------
    max_iter
        Iterations a step.
    max_eval
        Evaluations a step; by default 1.25 · max_iter.
    tolerance_grad, tolerance_change
        A step ends where the largest gradient, or the change, is at most this.
    history_size
        Steps remembered.
    line_search_fn
        None for steps of length ``lr``, or ``"strong_wolfe"``.

    Raises
    ------
    ValueError
        A setting is out of bounds, or there is more than one group.

    References
    ----------
    D. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization", Math.
    Programming 45 (1989); line search: J. Nocedal, S. Wright, "Numerical Optimization", algorithms
    3.5 and 3.6. Constants as in ``torch.optim.LBFGS``.
    """

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1.0,
        *,
        max_iter: Size = 20,
        max_eval: Size | None = None,
        tolerance_grad: NonNegative = 1e-7,
        tolerance_change: NonNegative = 1e-9,
        history_size: Size = 100,
        line_search_fn: Literal["strong_wolfe"] | None = None,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(
                f"LBFGS: line_search_fn must be 'strong_wolfe' or None, got {line_search_fn!r}"
            )
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: parameters are wanted in a single group")
        self.memory = _Memory()

    # ---- flat views ------------------------------------------------------------------------

    def _gradient(self) -> Array:
        parts = [
            bottom(zeros_like(p) if p.grad is None else p.grad.detach(), "LBFGS").reshape(-1)
            for p in self.param_groups[0]["params"]
        ]
        return np.concatenate(parts)

    def _values(self) -> Array:
        return np.concatenate(
            [bottom(p.detach(), "LBFGS").reshape(-1) for p in self.param_groups[0]["params"]]
        )

    def _set(self, values: Array) -> None:
        start = 0
        for p in self.param_groups[0]["params"]:
            p.copy_(values[start : start + p.numel()].reshape(p.shape))
            start += p.numel()

    # ---- the step --------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to ``max_iter`` iterations; return the loss before the first.

        Parameters
        ----------
        closure
            Clears the gradients, computes the loss, calls ``backward`` and returns the loss.

        Raises
        ------
        TypeError
            There is no closure.
        """
        if closure is None:
            raise TypeError("LBFGS: step() wants a closure that computes the loss again")
        group, memory = self.param_groups[0], self.memory
        first = closure()
        loss, gradient = float(first.item()), self._gradient()
        memory.evaluations += 1
        used = 1
        for iteration in range(group["max_iter"]):
            if not gradient.size or np.abs(gradient).max() <= group["tolerance_grad"]:
                break
            memory.iterations += 1
            memory.turn(gradient, group["history_size"])
            start, slope = self._values(), float(gradient @ memory.direction)
            if slope > -group["tolerance_change"]:
                break
            rate = group["lr"]
            if memory.iterations == 1:
                rate *= min(1.0, 1.0 / float(np.abs(gradient).sum()))
            memory.gradient, memory.loss = gradient, loss
            if group["line_search_fn"]:
                rate, loss, gradient, more = strong_wolfe(
                    self._along(closure, start, memory.direction),
                    rate,
                    Point(0.0, loss, gradient, slope),
                    memory.direction,
                    max_iterations=group["max_eval"] - used,
                )
                self._set(start + rate * memory.direction)
            else:
                self._set(start + rate * memory.direction)
                more = 0
                if iteration < group["max_iter"] - 1:
                    loss, gradient, more = float(closure().item()), self._gradient(), 1
            memory.rate = rate
            used += more
            memory.evaluations += more
            if (
                used >= group["max_eval"]
                or np.abs(gradient).max() <= group["tolerance_grad"]
                or np.abs(rate * memory.direction).max() <= group["tolerance_change"]
                or abs(loss - memory.loss) < group["tolerance_change"]
            ):
                break
        return first

    def _along(self, closure: Callable[[], Any], start: Array, direction: Array) -> Any:
        def at(rate: float) -> Point:
            self._set(start + rate * direction)
            loss = float(closure().item())
            gradient = self._gradient()
            return Point(rate, loss, gradient, float(gradient @ direction))

        return at

    # ---- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return settings, and what is remembered of earlier steps."""
        state = super().state_dict()
        if self.memory.iterations:
            state["state"] = {0: self.memory.saved()}
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over settings and memory.

        Raises
        ------
        ValueError
            They do not fit; nothing has been changed.
        """
        entry = {int(k): v for k, v in state_dict["state"].items()}.get(0)
        place = place_of(self.param_groups[0]["params"][0])
        memory = _Memory.restored(entry, place) if entry else _Memory()
        if entry and memory.direction.shape != self._values().shape:
            raise ValueError(
                f"LBFGS: state of {memory.direction.size} numbers, and {self._values().size} "
                "parameters"
            )
        super().load_state_dict({**state_dict, "state": {}})
        self.memory = memory


class _Memory:
    """Steps and changes of the gradient so far, and the direction they lead to."""

    def __init__(self) -> None:
        self.iterations = self.evaluations = 0
        self.direction = self.gradient = np.zeros(0)
        self.loss = self.rate = 0.0
        self.scale = 1.0
        self.changes: list[Array] = []
        self.steps: list[Array] = []

    def turn(self, gradient: Array, size: int) -> None:
        """Learn from the last step, and choose the next direction."""
        if self.iterations == 1:
            self.direction = -gradient
            return
        change, step = gradient - self.gradient, self.direction * self.rate
        curvature = float(change @ step)
        if curvature > 1e-10:
            if len(self.changes) == size:
                self.changes.pop(0)
                self.steps.pop(0)
            self.changes.append(change)
            self.steps.append(step)
            self.scale = curvature / float(change @ change)
        # The two loops of Nocedal and Wright, algorithm 7.4.
        q, shares = -gradient, []
        for change, step in zip(reversed(self.changes), reversed(self.steps), strict=True):
            share = float(step @ q) / float(change @ step)
            shares.append(share)
            q = q - share * change
        q = q * self.scale
        for change, step, share in zip(self.changes, self.steps, reversed(shares), strict=True):
            q = q + step * (share - float(change @ q) / float(change @ step))
        self.direction = q

    def saved(self) -> dict[str, Any]:
        """Return everything as arrays and numbers."""
        arrays = {"d": self.direction, "prev_flat_grad": self.gradient}
        lists = {"old_dirs": self.changes, "old_stps": self.steps}
        return {
            "step": self.iterations,
            "n_iter": self.iterations,
            "func_evals": self.evaluations,
            "t": self.rate,
            "H_diag": self.scale,
            "prev_loss": self.loss,
            **{name: Tensor(array.copy()) for name, array in arrays.items()},
            **{name: [Tensor(a.copy()) for a in parts] for name, parts in lists.items()},
        }

    @classmethod
    def restored(cls, entry: Mapping[str, Any], place: Any) -> _Memory:
        """Make a memory of what `saved` returned, here or in PyTorch."""

        def array(value: Any) -> Array:
            given = value.detach() if isinstance(value, Tensor) else value
            found: Array = copied(like(bottom(given, "LBFGS"), place))
            return found

        memory = cls()
        memory.iterations = int(entry["n_iter"])
        memory.evaluations = int(entry.get("func_evals", 0))
        memory.rate, memory.scale = float(entry["t"]), float(entry["H_diag"])
        memory.loss = float(entry["prev_loss"])
        memory.direction, memory.gradient = array(entry["d"]), array(entry["prev_flat_grad"])
        memory.changes = [array(a) for a in entry["old_dirs"]]
        memory.steps = [array(a) for a in entry["old_stps"]]
        return memory


class Point(NamedTuple):
    """A place along a line: how far, the loss there, its gradient, its slope."""

    rate: float
    loss: float
    gradient: Array
    slope: float


def cubic_minimum(a: Point, b: Point, low: float | None = None, high: float | None = None) -> float:
    """Return where the cubic through two points with their slopes is lowest, within bounds.

    Nocedal and Wright, equation 3.59.
    """
    if low is None or high is None:
        low, high = min(a.rate, b.rate), max(a.rate, b.rate)
    d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.rate - b.rate)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0.0:
        return (low + high) / 2.0
    left, right = (a, b) if a.rate <= b.rate else (b, a)
    d2 = math.sqrt(square)
    share = (right.slope + d2 - d1) / (right.slope - left.slope + 2.0 * d2)
    return min(max(right.rate - (right.rate - left.rate) * share, low), high)


def strong_wolfe(
    at: Callable[[float], Point],
    rate: float,
    start: Point,
    direction: Array,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_iterations: int = 25,
) -> tuple[float, float, Array, int]:
    """Find a rate that lowers the loss enough, and the slope too.

    Returns
    -------
    rate, loss, gradient, evaluations
    """
    search = _Search(at, start, c1, c2, at(rate), max_iterations)
    search.bracket()
    best = search.zoom(tolerance_change / max(float(np.abs(direction).max()), 1e-300))
    return best.rate, best.loss, best.gradient, search.evaluations


class _Search:
    """A line search under way."""

    def __init__(
        self, at: Callable[[float], Point], start: Point, c1: float, c2: float, point: Point,
        most: int,
    ) -> None:  # fmt: skip
        self.at, self.start, self.c1, self.c2 = at, start, c1, c2
        self.point, self.most = point, most
        self.evaluations, self.iteration = 1, 0
        self.done = False
        self.ends: list[Point] = []

    def _low_enough(self) -> bool:
        wanted = self.start.loss + self.c1 * self.point.rate * self.start.slope
        return self.point.loss <= wanted

    def _flat_enough(self) -> bool:
        return abs(self.point.slope) <= -self.c2 * self.start.slope

    def _try(self, rate: float) -> None:
        self.point = self.at(rate)
        self.evaluations += 1
        self.iteration += 1

    def bracket(self) -> None:
        """Go on until the wanted point lies between two (or is found)."""
        before = self.start
        while self.iteration < self.most:
            rising = self.iteration > 1 and self.point.loss >= before.loss
            if not self._low_enough() or rising:
                self.ends = [before, self.point]
                return
            if self._flat_enough():
                self.ends, self.done = [self.point], True
                return
            if self.point.slope >= 0.0:
                self.ends = [before, self.point]
                return
            point = self.point
            low = point.rate + 0.01 * (point.rate - before.rate)
            self._try(cubic_minimum(before, point, low, point.rate * 10.0))
            before = point
        self.ends = [self.start, self.point]

    def zoom(self, least_width: float) -> Point:
        """Narrow the bracket; return the best point."""
        stalled = False
        low, high = self._order()
        while not self.done and self.iteration < self.most:
            a, b = self.ends
            if abs(b.rate - a.rate) < least_width:
                break
            rate, stalled = _inside(cubic_minimum(a, b), a.rate, b.rate, stalled)
            self._try(rate)
            if not self._low_enough() or self.point.loss >= self.ends[low].loss:
                self.ends[high] = self.point
                low, high = self._order()
                continue
            if self._flat_enough():
                self.done = True
            elif self.point.slope * (self.ends[high].rate - self.ends[low].rate) >= 0.0:
                self.ends[high] = self.ends[low]
            self.ends[low] = self.point
        return self.ends[low]

    def _order(self) -> tuple[int, int]:
        return (0, 1) if self.ends[0].loss <= self.ends[-1].loss else (1, 0)


def _inside(rate: float, a: float, b: float, stalled: bool) -> tuple[float, bool]:
    """Keep a rate off the ends of a bracket: once it may be near one, not twice running."""
    least, most = min(a, b), max(a, b)
    margin = 0.1 * (most - least)
    if min(most - rate, rate - least) >= margin:
        return rate, False
    if not stalled and least < rate < most:
        return rate, True
    return (most - margin if abs(rate - most) < abs(rate - least) else least + margin), False
