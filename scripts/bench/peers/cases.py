"""What is measured: the models' shapes, their first weights, their batches and their settings.

Every system reads this file and gets the same numbers from the same seed, so that no two of them
can do different work. Weights have PyTorch's names and layout; a system that wants another one
turns them when it loads them, before the clock runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

#: Adam, everywhere.
LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8

#: Batches go round: so many different images, and each of them with several different labels. A
#: model can then never be certain, its loss stays well above zero, and no gradient shrinks to
#: numbers that processors are slow with, however many steps are timed.
IMAGE_SETS, LABEL_SETS = 4, 16

EPS_NORM = 1e-5


class Case(NamedTuple):
    """One row of the table."""

    name: str
    kind: str  # train, predict, derivative, first
    model: str
    batch: int
    goal: float  # minidl's median over that of the fastest peer (of PyTorch in derivatives)

    @property
    def title(self) -> str:
        """What a reader of the table sees."""
        shown = TITLES[self.model]
        if self.kind == "train":
            return f"{shown}, Adam, batch {self.batch}"
        if self.kind == "predict":
            return f"{shown}, inference, batch {self.batch}"
        return shown + (", compilation included" if self.kind == "first" else "")


TITLES = {
    "mlp": "MLP 784-256-128-10",
    "cnn": "CNN conv32-pool-conv64-pool-128-10",
    "lenet5": "LeNet-5",
    "resnet8": "ResNet-8, 28×28",
    "lstm": "LSTM 28×28, hidden 128",
    "vit": "ViT-tiny, 4 layers, width 64",
    "scalar": "derivative of x³ + 2x at a number",
    "rosenbrock": "gradient of Rosenbrock, 1,000 inputs",
    "hessian": "Hessian of Rosenbrock, 100 inputs",
}

_TRAINED = [
    ("mlp", 1, 0.6), ("mlp", 32, 0.65), ("mlp", 128, 0.65), ("mlp", 512, 0.85),
    ("cnn", 32, 0.7), ("cnn", 128, 0.7), ("cnn", 512, 0.7),
    ("lenet5", 64, 0.7), ("resnet8", 128, 0.85), ("lstm", 128, 0.7), ("vit", 64, 0.85),
]  # fmt: skip
_PREDICTED = [("mlp", 1, 0.4), ("mlp", 256, 0.7), ("cnn", 1, 0.4), ("cnn", 256, 0.7)]
DERIVATIVES = ("scalar", "rosenbrock", "hessian")

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *(Case(f"{m}-{b}", "train", m, b, goal) for m, b, goal in _TRAINED),
        *(Case(f"predict-{m}-{b}", "predict", m, b, goal) for m, b, goal in _PREDICTED),
        *(Case(m, "derivative", m, 0, 0.5) for m in DERIVATIVES),
        *(Case(f"{m}-first", "first", m, 0, 0.5) for m in DERIVATIVES),
    )
}


def _resnet8() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (16, 1, 3, 3)} | _norm("bn1", 16)
    inputs = 16
    for stage, outputs in enumerate((16, 32, 64), 1):
        at = f"layer{stage}.0"
        shapes[f"{at}.conv1.weight"] = (outputs, inputs, 3, 3)
        shapes |= _norm(f"{at}.bn1", outputs)
        shapes[f"{at}.conv2.weight"] = (outputs, outputs, 3, 3)
        shapes |= _norm(f"{at}.bn2", outputs)
        if outputs != inputs:
            shapes[f"{at}.downsample.0.weight"] = (outputs, inputs, 1, 1)
            shapes |= _norm(f"{at}.downsample.1", outputs)
        inputs = outputs
    return shapes | _affine("fc", 10, 64)


def _vit() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = _affine("patches", 64, 1, 4, 4)
    shapes |= {"token.weight": (1, 1, 64), "positions.weight": (50, 64)}
    for layer in range(4):
        at = f"layers.{layer}"
        shapes |= {
            f"{at}.self_attn.in_proj_weight": (192, 64),
            f"{at}.self_attn.in_proj_bias": (192,),
        }
        shapes |= _affine(f"{at}.self_attn.out_proj", 64, 64)
        shapes |= _affine(f"{at}.linear1", 128, 64) | _affine(f"{at}.linear2", 64, 128)
        shapes |= _norm(f"{at}.norm1", 64) | _norm(f"{at}.norm2", 64)
    return shapes | _norm("norm", 64) | _affine("head", 10, 64)


def _affine(name: str, *weight: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return _affine(name, width)


#: Parameters of each model: PyTorch's names and shapes.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "mlp": _affine("0", 256, 784) | _affine("2", 128, 256) | _affine("4", 10, 128),
    "cnn": (
        _affine("0", 32, 1, 3, 3)
        | _affine("3", 64, 32, 3, 3)
        | _affine("7", 128, 3136)
        | _affine("9", 10, 128)
    ),
    "lenet5": (
        _affine("0", 6, 1, 5, 5)
        | _affine("3", 16, 6, 5, 5)
        | _affine("7", 120, 400)
        | _affine("9", 84, 120)
        | _affine("11", 10, 84)
    ),
    "resnet8": _resnet8(),
    "lstm": {
        "recurrent.weight_ih_l0": (512, 28),
        "recurrent.weight_hh_l0": (512, 128),
        "recurrent.bias_ih_l0": (512,),
        "recurrent.bias_hh_l0": (512,),
        **_affine("head", 10, 128),
    },
    "vit": _vit(),
}


def weights(model: str) -> dict[str, np.ndarray]:
    """Return the model's first weights, float32: the same for everybody.

    Matrices and kernels are uniform within ±1/√fan-in, scales of norms are 1, biases small.
    """
    rng = np.random.default_rng(0)
    made = {}
    for name, shape in SHAPES[model].items():
        bound = float(np.prod(shape[1:])) ** -0.5 if len(shape) > 1 else 0.05
        values = rng.uniform(-bound, bound, shape).astype(np.float32)
        is_scale = len(shape) == 1 and name.endswith("weight")
        made[name] = np.ones(shape, np.float32) if is_scale else values
    return made


def batches(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what step i (modulo their number) is given: float32 images and int64 labels."""
    rng = np.random.default_rng(1)
    shape: tuple[int, ...] = (784,) if case.model == "mlp" else (1, 28, 28)
    images = [
        rng.standard_normal((case.batch, *shape), dtype=np.float32) for _ in range(IMAGE_SETS)
    ]
    labels = [rng.integers(0, 10, case.batch) for _ in range(LABEL_SETS)]
    return [(images[i % IMAGE_SETS], labels[i]) for i in range(LABEL_SETS)]


def points(case: Case) -> list[Any]:
    """Return where step i (modulo their number) takes a derivative: floats, or float32 vectors.

    They differ, so that nobody can keep a result.
    """
    if case.model == "scalar":
        return [3.0 + 0.25 * i for i in range(LABEL_SETS)]
    length = 1000 if case.model == "rosenbrock" else 100
    rng = np.random.default_rng(2)
    return [rng.standard_normal(length, dtype=np.float32) for _ in range(LABEL_SETS)]
