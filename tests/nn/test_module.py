"""Module: what it finds in its attributes, its state, modes, conversions and repr."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim


class Autoencoder(nn.Module):
    """Attributes of every kind, the buffer before the parameters, and weights used twice."""

    def __init__(self) -> None:
        self.calls = nn.Buffer(np.zeros((), np.int64))
        self.encode = nn.Linear(4, 2)
        self.scale = nn.Parameter([1.0])
        self.shift = None
        self.sizes = [4, 2]
        self.decode = nn.Linear(2, 4)
        self.again = nn.Linear(4, 2)
        self.again.weight = self.encode.weight

    def forward(self, x: Any) -> Any:
        return self.decode(minidl.tanh(self.again(x) + self.encode(x))) * self.scale


NAMES = [
    "scale",
    "calls",
    "encode.weight",
    "encode.bias",
    "decode.weight",
    "decode.bias",
    "again.weight",
    "again.bias",
]


def test_tensors_are_found_in_the_order_of_torch() -> None:
    model = Autoencoder()
    assert list(model.state_dict()) == NAMES
    once = [name for name in NAMES if name not in ("calls", "again.weight")]
    assert [name for name, _ in model.named_parameters()] == once
    assert [name for name, _ in model.named_buffers()] == ["calls"]
    assert [name for name, _ in model.named_modules()] == ["", "encode", "decode", "again"]
    assert list(model.children()) == [model.encode, model.decode, model.again]
    assert list(model.buffers()) == [model.calls]


def test_the_order_is_that_of_torch(torch: Any) -> None:
    class Theirs(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
            self.encode = torch.nn.Linear(4, 2)
            self.scale = torch.nn.Parameter(torch.ones(1))
            self.decode = torch.nn.Linear(2, 4)
            self.again = torch.nn.Linear(4, 2)
            self.again.weight = self.encode.weight

    theirs = Theirs()
    assert list(theirs.state_dict()) == NAMES
    ours = Autoencoder()
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


def test_shared_parameters_count_and_learn_once() -> None:
    model = Autoencoder()
    assert sum(p.numel() for p in model.parameters()) == 1 + 8 + 2 + 8 + 4 + 2
    assert "25 parameters" in repr(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model(np.ones((3, 4), np.float32)).sum().backward()
    optimizer.step()
    assert model.again.weight is model.encode.weight
    twin = copy.deepcopy(model)
    assert twin.again.weight is twin.encode.weight


def test_a_module_that_holds_its_parent_is_no_endless_loop() -> None:
    parent, child = nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 1)
    child.parent = parent  # type: ignore[attr-defined]
    parent.head = child  # type: ignore[attr-defined]
    assert list(parent.state_dict()) == ["0.weight", "0.bias", "head.weight", "head.bias"]


# ---- state_dict and load_state_dict --------------------------------------------------------


def test_state_dict_shares_memory() -> None:
    layer = nn.Linear(2, 3)
    state = layer.state_dict()
    assert not any(tensor.requires_grad for tensor in state.values())
    state["weight"].numpy()[...] = 7.0
    assert layer.weight.tolist() == [[7.0, 7.0]] * 3


def test_load_copies_into_the_same_memory_and_converts() -> None:
    layer = nn.Linear(2, 1)
    memory = layer.weight.detach().numpy()
    given = np.array([[1.5, 2.5]], np.float64)
    layer.load_state_dict({"weight": given, "bias": minidl.tensor([3], dtype=np.int64)})
    assert layer.weight.dtype == np.float32
    assert memory.tolist() == [[1.5, 2.5]]
    given[...] = 0.0
    assert layer.weight.tolist() == [[1.5, 2.5]]
    assert layer.bias is not None
    assert layer.bias.tolist() == [3.0]


def test_load_takes_parameters_themselves() -> None:
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    target.load_state_dict(dict(source.named_parameters()))
    np.testing.assert_array_equal(source.weight.detach(), target.weight.detach())


def test_load_lists_everything_wrong_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    state: dict[str, Any] = {name: array + 1 for name, array in before.items()}
    del state["0.bias"], state["1.running_var"]
    state["0.weight"] = np.zeros((3, 4))
    state["1.weight"] = np.zeros(())
    state |= {"1.runing_var": np.ones(3), "2.weight": np.ones(1)}
    with pytest.raises(ValueError, match="load_state_dict into Sequential") as caught:
        model.load_state_dict(state)
    assert str(caught.value).splitlines()[1:] == [
        "  of another shape: 0.weight: wanted (3, 2), got (3, 4)",
        "  of another shape: 1.weight: wanted (3,), got ()",
        "  missing: 0.bias",
        "  missing: 1.running_var",
        "  unexpected: 1.runing_var",
        "  unexpected: 2.weight",
    ]
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


def test_load_that_is_not_strict() -> None:
    layer = nn.Linear(2, 1)
    result = layer.load_state_dict({"weight": np.ones((1, 2)), "head": np.ones(3)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["head"]
    assert layer.weight.tolist() == [[1.0, 1.0]]
    with pytest.raises(
        ValueError, match=r"of another shape: weight: wanted \(1, 2\), got \(2, 1\)"
    ):
        layer.load_state_dict({"weight": np.ones((2, 1))}, strict=False)


def test_load_makes_graphs_from_before_stale() -> None:
    layer = nn.Linear(2, 1)
    hidden = minidl.ones(3, 2, requires_grad=True)
    out = layer(hidden).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="overwritten"):
        out.backward()


# ---- modes, freezing, conversion -----------------------------------------------------------


def test_modes_reach_every_module_and_are_its_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5)))
    model.eval()
    assert [module.training for module in model.modules()] == [False] * 4
    model[1].train()
    assert [module.training for module in model.modules()] == [False, False, True, True]
    assert nn.Linear(1, 1).training  # an instance's mode is not the class's


def test_freezing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert model[0].requires_grad_(False) is model[0]
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    model(np.ones((4, 2), np.float32)).sum().backward()
    assert [p.grad is None for p in model.parameters()] == [True, True, False, False]
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_()
    model(np.ones((4, 2), np.float32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_frozen_parameters_stay_frozen_in_copies_and_conversions() -> None:
    layer = nn.Linear(2, 1).requires_grad_(False)
    assert not copy.deepcopy(layer).weight.requires_grad
    assert not layer.double().weight.requires_grad


def test_to_converts_floating_tensors_only() -> None:
    model = nn.BatchNorm1d(3)
    assert model.to(np.float64) is model
    dtypes = {name: str(tensor.dtype) for name, tensor in model.state_dict().items()}
    assert dtypes.pop("num_batches_tracked") == "int64"
    assert set(dtypes.values()) == {"float64"}
    assert model.weight is not None
    assert model.weight.requires_grad
    assert model.to("float32").weight.dtype == np.float32  # type: ignore[union-attr]


def test_to_refuses_integers_and_changes_nothing() -> None:
    layer = nn.Linear(2, 1)
    with pytest.raises(TypeError, match="to: a floating dtype is wanted, got int32"):
        layer.to(np.int32)
    assert layer.weight.dtype == np.float32
    assert layer.weight.requires_grad


def test_dtype_argument() -> None:
    for layer in (
        nn.Linear(2, 1, dtype=np.float64),
        nn.Conv2d(1, 1, 2, dtype=np.float64),
        nn.BatchNorm1d(2, dtype=np.float64),
    ):
        assert {t.dtype.name for t in layer.parameters()} == {"float64"}


def test_parameter_and_buffer() -> None:
    assert nn.Parameter([1.0]).requires_grad
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    assert not nn.Buffer([1.0]).requires_grad
    with pytest.raises(TypeError, match="floating dtype, got int64"):
        nn.Parameter([1])


# ---- Sequential ----------------------------------------------------------------------------


def test_sequential_is_a_sequence() -> None:
    parts = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.Tanh()]
    model = nn.Sequential(*parts)
    assert len(model) == 4
    assert list(model) == parts
    assert model[0] is parts[0]
    assert model[-1] is parts[3]
    middle = model[1:3]
    assert isinstance(middle, nn.Sequential)
    assert list(middle) == parts[1:3]
    assert list(model[::2]) == [parts[0], parts[2]]
    x = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(model[2:](model[:2](x)).detach(), model(x).detach())
    assert len(nn.Sequential()) == 0


# ---- repr ----------------------------------------------------------------------------------


def test_repr_shows_the_tree_with_shapes_and_counts() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(1568, 10),
    )
    running = "running_mean (8,); running_var (8,)"
    pool = "kernel_size=(2, 2)"
    assert repr(model) == "\n".join(
        [
            "Sequential(  # 15,778 parameters",
            "  (0): Conv2d(1, 8, kernel_size=(3, 3), padding=(1, 1), bias=False)"
            "  # weight (8, 1, 3, 3); 72 parameters",
            "  (1): BatchNorm2d(8, eps=1e-05, momentum=0.1)"
            f"  # weight (8,); bias (8,); {running}; 16 parameters",
            "  (2): Sequential(",
            "    (0): ReLU()",
            f"    (1): MaxPool2d({pool})",
            "  )",
            "  (3): Flatten()",
            "  (4): Dropout(p=0.25)",
            "  (5): Linear(1568, 10)  # weight (10, 1568); bias (10,); 15,690 parameters",
            ")",
        ]
    )


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Conv2d(1, 2, (1, 3), stride=2, dilation=(1, 2)), "stride=(2, 2), dilation=(1, 2)"),
        (nn.Conv2d(1, 2, 3, padding="same"), "padding='same'"),
        (nn.AvgPool2d(3, stride=1, padding=1), "AvgPool2d(kernel_size=(3, 3), stride=(1, 1)"),
        (nn.GELU(approximate="tanh"), "GELU(approximate='tanh')"),
        (nn.Linear(2, 3, bias=False), "Linear(2, 3, bias=False)"),
        (nn.MSELoss(reduction="sum"), "MSELoss(reduction='sum')"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "CrossEntropyLoss(label_smoothing=0.1)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_repr_of_settings(module: nn.Module, text: str) -> None:
    assert re.search(re.escape(text), repr(module))
