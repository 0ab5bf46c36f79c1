"""What every layer and loss must do, generated from `layertable`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from layertable import LAYERS, LOSSES, MODELS, NOTHING_TO_REFUSE, REFUSALS, Layer, Loss, Refusal

import minidl
from minidl import nn

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
every_model = pytest.mark.parametrize("layer", LAYERS + MODELS, ids=lambda layer: layer.name)
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def public_modules() -> set[type[nn.Module]]:
    public = (getattr(nn, name) for name in nn.__all__)
    return {cls for cls in public if isinstance(cls, type) and issubclass(cls, nn.Module)}


def test_every_public_class_has_an_entry() -> None:
    covered = {type(entry.make()) for entry in [*LAYERS, *LOSSES]}
    assert public_modules() - {nn.Module} == covered


def test_every_public_class_has_a_refusal() -> None:
    assert public_modules() - NOTHING_TO_REFUSE == {refusal.cls for refusal in REFUSALS}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.cls.__name__)
def test_refuses(refusal: Refusal) -> None:
    with pytest.raises(refusal.error, match=refusal.message):
        refusal.action()


# ---- values --------------------------------------------------------------------------------


@every_model
@both_modes
def test_shape_and_dtype(layer: Layer, training: bool) -> None:
    module = layer.make().train(training)
    out = module(layer.input(np.float32))
    assert (out.shape, out.dtype) == (layer.out, np.float32)
    wide = module.double()(minidl.Tensor(layer.input(np.float64)))
    assert (wide.shape, wide.dtype) == (layer.out, np.float64)


@every_model
def test_ndarray_and_tensor_are_taken_alike(layer: Layer) -> None:
    x = layer.input(np.float32)
    before = x.copy()
    module = layer.make().eval()
    from_array, from_tensor = module(x), module(minidl.Tensor(x))
    assert isinstance(from_tensor, minidl.Tensor)
    np.testing.assert_array_equal(plain(from_array), plain(from_tensor))
    np.testing.assert_array_equal(x, before)


def plain(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, minidl.Tensor) else x


@every_layer
def test_train_and_eval(layer: Layer) -> None:
    module = layer.make()
    x = layer.input(np.float32)
    assert module.training
    in_training = plain(module(x))
    assert module.eval() is module
    assert not module.training
    in_evaluation = plain(module(x))
    assert (not np.allclose(in_training, in_evaluation)) == layer.mode_matters
    np.testing.assert_array_equal(in_evaluation, plain(module(x)))


# ---- derivatives ---------------------------------------------------------------------------


def places(module: nn.Module) -> list[tuple[nn.Module, str]]:
    """Where the parameters are: each once, to put something else there."""
    seen: dict[int, tuple[nn.Module, str]] = {}
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, nn.Parameter):
                seen.setdefault(id(value), (part, name))
    return list(seen.values())


@every_layer
@both_modes
def test_gradients(layer: Layer, training: bool) -> None:
    module = layer.make().double().train(training)
    where = places(module)
    values = [getattr(part, name).detach().numpy().copy() for part, name in where]
    wave = np.cos(np.arange(np.prod(layer.out))).reshape(layer.out)

    def scalar(x: Any, *parameters: Any) -> Any:
        for (part, name), value in zip(where, parameters, strict=True):
            setattr(part, name, value)
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.rng = np.random.default_rng(1)  # the same mask at every point
        return minidl.sum(module(x) * wave)

    assert minidl.gradcheck(scalar, [layer.input(), *values])


@every_loss
def test_loss_shape_dtype_and_gradients(loss: Loss) -> None:
    module = loss.make()
    x, target = loss.inputs()
    narrow = module(x.astype(np.float32), target.astype("f4") if target.dtype == "f8" else target)
    assert (narrow.shape, narrow.dtype) == (loss.out, np.float32)
    wide = module.double()(x, target)
    assert (wide.shape, wide.dtype) == (loss.out, np.float64)
    np.testing.assert_allclose(plain(narrow), plain(wide), rtol=1e-5)
    if target.dtype.kind == "f":
        assert minidl.gradcheck(lambda a, b: minidl.sum(module(a, b)), [x, target])
    else:
        assert minidl.gradcheck(lambda a: minidl.sum(module(a, target)), [x])


# ---- state ---------------------------------------------------------------------------------


@every_model
def test_state_goes_round(layer: Layer) -> None:
    source, copy_of_it = layer.make(), layer.make()
    source(layer.input(np.float32))  # moves running statistics
    saved = {name: tensor.numpy().copy() for name, tensor in source.state_dict().items()}
    assert copy_of_it.load_state_dict(saved) == ([], [])
    x = layer.input(np.float32)
    np.testing.assert_array_equal(plain(source.eval()(x)), plain(copy_of_it.eval()(x)))


@every_model
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_are_equal_and_independent(layer: Layer, how: str) -> None:
    module = layer.make().eval()
    if how == "deepcopy":
        other = copy.deepcopy(module)
    else:
        other = pickle.loads(pickle.dumps(module))
    x = layer.input(np.float32)
    np.testing.assert_array_equal(plain(module(x)), plain(other(x)))
    assert repr(module) == repr(other)
    mine, others = list(module.parameters()), list(other.parameters())
    assert [p.requires_grad for p in others] == [True] * len(mine)
    for a, b in zip(mine, others, strict=True):
        assert type(b) is nn.Parameter
        assert not np.shares_memory(a.detach().numpy(), b.detach().numpy())


# ---- against PyTorch -----------------------------------------------------------------------


def twins(torch: Any, entry: Layer | Loss) -> tuple[nn.Module, Any]:
    """The module here and there, in float64, with the same weights."""
    torch.manual_seed(0)
    theirs = entry.build(torch.nn).double()
    with torch.no_grad():
        for tensor in theirs.state_dict().values():
            if tensor.is_floating_point() and isinstance(entry, Layer):
                tensor += 0.1 * torch.rand_like(tensor)  # batch norm begins as the identity
    ours = entry.make().double()
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return ours, theirs


@every_model
def test_state_dict_is_that_of_torch(torch: Any, layer: Layer) -> None:
    ours, theirs = layer.make().state_dict(), layer.build(torch.nn).state_dict()
    assert list(ours) == list(theirs)
    assert [t.shape for t in ours.values()] == [tuple(t.shape) for t in theirs.values()]
    assert [str(t.dtype) for t in ours.values()] == [
        str(t.dtype).removeprefix("torch.") for t in theirs.values()
    ]


@every_model
@both_modes
def test_values_and_gradients_are_those_of_torch(torch: Any, layer: Layer, training: bool) -> None:
    if layer.random and training:
        assert layer.mode_matters  # drawn from another generator: see test_dropout
        return
    ours, theirs = twins(torch, layer)
    ours.train(training)
    theirs.train(training)
    x = minidl.Tensor(layer.input(), requires_grad=True)
    y = torch.tensor(layer.input(), requires_grad=True)
    cotangent = np.cos(np.arange(np.prod(layer.out))).reshape(layer.out)
    ours_out, theirs_out = ours(x), theirs(y)
    close(ours_out, theirs_out)
    ours_out.backward(cotangent)
    theirs_out.backward(torch.from_numpy(cotangent))
    close(x.grad, y.grad)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        close(parameter.grad, gradients.pop(name).grad)
    assert not gradients
    for name, tensor in theirs.state_dict().items():
        close(ours.state_dict()[name], tensor)


def close(ours: Any, theirs: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol)


@every_model
def test_float32_values_are_those_of_torch(torch: Any, layer: Layer) -> None:
    ours, theirs = twins(torch, layer)
    ours, theirs = ours.to(np.float32).eval(), theirs.float().eval()
    x = layer.input(np.float32)
    close(ours(minidl.Tensor(x)), theirs(torch.from_numpy(x)), rtol=2e-5, atol=2e-6)


@every_loss
def test_losses_are_those_of_torch(torch: Any, loss: Loss) -> None:
    ours, theirs = twins(torch, loss)
    x, target = loss.inputs()
    a, b = minidl.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours_out, theirs_out = ours(a, target), theirs(b, torch.from_numpy(target))
    close(ours_out, theirs_out)
    ours_out.sum().backward()
    theirs_out.sum().backward()
    close(a.grad, b.grad)
    assert list(ours.state_dict()) == list(theirs.state_dict())
