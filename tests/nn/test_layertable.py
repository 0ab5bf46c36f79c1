"""What every layer and loss must do, generated from `layertable`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from layers_table import LAYERS as OF_IMAGES
from layertable import Layer, Loss, Refusal
from losses_table import LOSSES
from models_table import MODELS
from refusals_table import NOTHING_TO_REFUSE, REFUSALS
from sequence_layers_table import LAYERS as OF_SEQUENCES

import minidl
from minidl import nn
from minidl.nn import functional

LAYERS = OF_IMAGES + OF_SEQUENCES

#: Holders of modules and bases of classes, which compute nothing: see test_containers.
HOLDERS = {
    nn.ModuleList,
    nn.ModuleDict,
    nn.ParameterList,
    nn.ParameterDict,
    nn.FunctionModule,
    nn.Loss,
}
#: Taking two inputs that are no floats: see test_containers and test_lazy.
ELSEWHERE = {nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d, nn.Lazy}
ELSEWHERE |= {nn.AdaptiveLogSoftmaxWithLoss}
#: PyTorch has no such layer on a CPU: see tests/distributed.
ELSEWHERE |= {nn.SyncBatchNorm}

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
every_model = pytest.mark.parametrize("layer", LAYERS + MODELS, ids=lambda layer: layer.name)
torch_model = pytest.mark.parametrize(
    "layer", [entry for entry in LAYERS + MODELS if entry.torch], ids=lambda layer: layer.name
)
torch_loss = pytest.mark.parametrize(
    "loss", [entry for entry in LOSSES if entry.torch], ids=lambda loss: loss.name
)
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def public_modules() -> set[type[nn.Module]]:
    public = (getattr(nn, name) for name in nn.__all__)
    return {cls for cls in public if isinstance(cls, type) and issubclass(cls, nn.Module)}


def test_every_public_class_has_an_entry() -> None:
    covered = {type(entry.make()) for entry in [*LAYERS, *LOSSES]}
    lazy = {cls for cls in public_modules() if issubclass(cls, nn.Lazy)}
    assert public_modules() - {nn.Module} - HOLDERS - ELSEWHERE - lazy == covered


def test_entries_say_what_torch_has(torch: Any) -> None:
    for entry in [*LAYERS, *LOSSES]:
        assert hasattr(torch.nn, type(entry.make()).__name__) == entry.torch, entry.name


#: What PyTorch has and minidl leaves out, and why.
LEFT_OUT = {
    "Container": "deprecated", "NLLLoss2d": "deprecated", "CrossMapLRN2d": "LocalResponseNorm",
    "DataParallel": "many devices",
    "FractionalMaxPool2d": "no such operation", "FractionalMaxPool3d": "no such operation",
    "LinearCrossEntropyOptions": "chunks", "RNNBase": "internal", "RNNCellBase": "internal",
    "UninitializedBuffer": "see Lazy", "UninitializedParameter": "see Lazy",
}  # fmt: skip


def test_every_class_of_torch_is_here(torch: Any) -> None:
    theirs = {name for name in dir(torch.nn) if name[0].isupper()}
    assert theirs - set(nn.__all__) == LEFT_OUT.keys() & theirs


def test_every_public_class_has_a_refusal() -> None:
    refusing = {refusal.cls for refusal in REFUSALS}
    assert public_modules() - NOTHING_TO_REFUSE - {nn.Lazy} == refusing
    assert not refusing & NOTHING_TO_REFUSE


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.cls.__name__)
def test_refuses(refusal: Refusal) -> None:
    with pytest.raises(refusal.error, match=refusal.message):
        refusal.action()


# ---- values --------------------------------------------------------------------------------


@every_model
@both_modes
def test_shape_and_dtype(layer: Layer, training: bool) -> None:
    module = layer.make().train(training)
    out = first(module(*layer.inputs(np.float32)))
    assert (out.shape, out.dtype) == (layer.out, np.float32)
    wide = first(module.double()(*map(minidl.Tensor, layer.inputs(np.float64))))
    assert (wide.shape, wide.dtype) == (layer.out, np.float64)


def first(out: Any) -> Any:
    """The output that an entry speaks of, where there are several."""
    return out[0] if isinstance(out, tuple) else out


@every_model
def test_ndarray_and_tensor_are_taken_alike(layer: Layer) -> None:
    inputs = layer.inputs(np.float32)
    before = copy.deepcopy(inputs)
    module = layer.make().eval()
    from_array, from_tensor = first(module(*inputs)), first(module(*map(minidl.Tensor, inputs)))
    assert isinstance(from_tensor, minidl.Tensor)
    np.testing.assert_array_equal(plain(from_array), plain(from_tensor))
    for x, was in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, was)


def plain(x: Any) -> np.ndarray:
    x = first(x)
    return x.detach().numpy() if isinstance(x, minidl.Tensor) else x


@every_layer
def test_train_and_eval(layer: Layer) -> None:
    module = layer.make()
    inputs = layer.inputs(np.float32)
    assert module.training
    in_training = plain(module(*inputs))
    assert module.eval() is module
    assert not module.training
    in_evaluation = plain(module(*inputs))
    assert (not np.allclose(in_training, in_evaluation)) == layer.mode_matters
    np.testing.assert_array_equal(in_evaluation, plain(module(*inputs)))


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

    given = layer.inputs()
    floats = [] if layer.ints else given

    def scalar(*arrays: Any) -> Any:
        inputs, parameters = arrays[: len(floats)] or given, arrays[len(floats) :]
        for (part, name), value in zip(where, parameters, strict=True):
            setattr(part, name, value)
        for part in module.modules():
            if hasattr(part, "rng"):
                part.rng = np.random.default_rng(1)  # the same mask at every point
        return minidl.sum(first(module(*inputs)) * wave)

    if "padding_idx" in repr(module) or "scale_grad" in layer.name:
        return  # a gradient that is not the derivative, as asked for: held against PyTorch
    assert minidl.gradcheck(scalar, [*floats, *values])


@every_loss
def test_loss_shape_dtype_and_gradients(loss: Loss) -> None:
    module = loss.make()
    given = loss.inputs()
    narrow = module(*(x.astype("f4") if x.dtype == "f8" else x for x in given))
    assert (narrow.shape, narrow.dtype) == (loss.out, np.float32)
    wide = module.double()(*given)
    assert (wide.shape, wide.dtype) == (loss.out, np.float64)
    np.testing.assert_allclose(plain(narrow), plain(wide), rtol=1e-5, atol=1e-6)
    # Labels and signs (1 and -1, 1 and 0) are no variables.
    places = [
        i
        for i, x in enumerate(given)
        if x.dtype.kind == "f" and not set(np.unique(x)) <= {-1.0, 0.0, 1.0}
    ]

    def scalar(*floats: Any) -> Any:
        arrays = list(given)
        for place, value in zip(places, floats, strict=True):
            arrays[place] = value
        return minidl.sum(module(*arrays))

    assert minidl.gradcheck(scalar, [given[i] for i in places])


#: Losses of numbers, which may be whole: counts, ratings, masks.
OF_NUMBERS = [
    nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.MSLELoss, nn.LogCoshLoss, nn.BCELoss,
    nn.BCEWithLogitsLoss, nn.KLDivLoss, nn.PoissonNLLLoss, nn.SoftMarginLoss, nn.HingeLoss,
    nn.SquaredHingeLoss, nn.DiceLoss, nn.TverskyLoss, nn.BinaryFocalLoss,
]  # fmt: skip


@pytest.mark.parametrize("cls", OF_NUMBERS)
def test_whole_targets_keep_float32(cls: Any) -> None:
    x, target = np.full((2, 3), 0.5, np.float32), np.array([[0, 1, 1], [1, 0, 1]])
    loss = cls()(x, target)
    assert loss.dtype == np.float32
    assert loss == pytest.approx(cls()(x, target.astype(np.float32)), rel=1e-6)


# ---- state ---------------------------------------------------------------------------------


@every_model
def test_state_goes_round(layer: Layer) -> None:
    source, copy_of_it = layer.make(), layer.make()
    source(*layer.inputs(np.float32))  # moves running statistics
    saved = {name: tensor.numpy().copy() for name, tensor in source.state_dict().items()}
    assert copy_of_it.load_state_dict(saved) == ([], [])
    x = layer.inputs(np.float32)
    np.testing.assert_array_equal(plain(source.eval()(*x)), plain(copy_of_it.eval()(*x)))


@every_model
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_are_equal_and_independent(layer: Layer, how: str) -> None:
    module = layer.make().eval()
    if how == "deepcopy":
        other = copy.deepcopy(module)
    else:
        other = pickle.loads(pickle.dumps(module))
    x = layer.inputs(np.float32)
    np.testing.assert_array_equal(plain(module(*x)), plain(other(*x)))
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


@torch_model
def test_state_dict_is_that_of_torch(torch: Any, layer: Layer) -> None:
    ours, theirs = layer.make().state_dict(), layer.build(torch.nn).state_dict()
    assert list(ours) == list(theirs)
    assert [t.shape for t in ours.values()] == [tuple(t.shape) for t in theirs.values()]
    assert [str(t.dtype) for t in ours.values()] == [
        str(t.dtype).removeprefix("torch.") for t in theirs.values()
    ]


@torch_model
@both_modes
def test_values_and_gradients_are_those_of_torch(torch: Any, layer: Layer, training: bool) -> None:
    if layer.random and training:
        assert layer.mode_matters  # drawn from another generator: see test_dropout
        return
    ours, theirs = twins(torch, layer)
    ours.train(training)
    theirs.train(training)
    floats = not layer.ints
    x = [minidl.Tensor(a, requires_grad=floats) for a in layer.inputs()]
    y = [torch.tensor(a, requires_grad=floats) for a in layer.inputs()]
    ours_out, theirs_out = flat(ours(*x)), flat(theirs(*y))
    assert len(ours_out) == len(theirs_out)
    for a, b in zip(ours_out, theirs_out, strict=True):
        close(a, b)
    # The last output too (a state, attention's weights): all that is returned has a derivative.
    a, b = (sum((part * wave(part, torch)).sum() for part in out) for out in (ours_out, theirs_out))
    a.backward()
    b.backward()
    for mine, other in zip(x, y, strict=True):
        if floats:
            close(mine.grad, other.grad, rtol=layer.rtol)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        close(parameter.grad, gradients.pop(name).grad)
    assert not gradients
    for name, tensor in theirs.state_dict().items():
        close(ours.state_dict()[name], tensor)


def flat(out: Any) -> list[Any]:
    """All arrays of an output, however nested."""
    if not isinstance(out, tuple):
        return [] if out is None else [out]
    return [leaf for part in out for leaf in flat(part)]


def wave(x: Any, torch: Any) -> Any:
    weights = np.cos(np.arange(np.prod(x.shape, dtype=int))).reshape(tuple(x.shape))
    return weights if isinstance(x, minidl.Tensor) else torch.from_numpy(weights)


def close(ours: Any, theirs: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol)


@torch_model
@pytest.mark.filterwarnings("ignore:LSTM with projections")  # PyTorch's, on its speed
def test_float32_values_are_those_of_torch(torch: Any, layer: Layer) -> None:
    ours, theirs = twins(torch, layer)
    ours, theirs = ours.to(np.float32).eval(), theirs.float().eval()
    x = layer.inputs(np.float32)
    a, b = first(ours(*map(minidl.Tensor, x))), first(theirs(*map(torch.from_numpy, x)))
    close(a, b, rtol=2e-5, atol=3e-6)


@torch_loss
def test_losses_are_those_of_torch(torch: Any, loss: Loss) -> None:
    ours, theirs = twins(torch, loss)
    x, *others = loss.inputs()
    a, b = minidl.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    here, there = a, b
    if loss.name.startswith("CTC"):  # PyTorch's gradient is that of logits, whatever is given
        here, there = functional.log_softmax(a, 2), b.log_softmax(2)
    ours_out, theirs_out = ours(here, *others), theirs(there, *map(torch.from_numpy, others))
    close(ours_out, theirs_out)
    ours_out.sum().backward()
    theirs_out.sum().backward()
    close(a.grad, b.grad)
    assert list(ours.state_dict()) == list(theirs.state_dict())
