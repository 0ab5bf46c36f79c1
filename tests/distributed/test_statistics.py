"""Batch normalization over ranks is PyTorch's over the whole batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statistics_checks
from mpi_process import Ranks
from statistics_checks import BATCHES, weights, whole

import minidl
from minidl import nn
from minidl.distributed import World

pytest_plugins = ["mpi_process"]

RANKS = 3


def joined(answers: list[dict[str, Any]], name: str, number: int) -> np.ndarray:
    """What the ranks made of their shares, end to end."""
    shape = BATCHES[name][0]
    parts = [np.reshape(answer[name]["out"][number], (-1, *shape[1:])) for answer in answers]
    return np.concatenate(parts)


def test_statistics_of_all_ranks(ranks: Ranks, torch: Any) -> None:
    answers = ranks(RANKS, "statistics_checks:everything")
    derivatives_of_derivatives(answers)
    for name, (shape, _, settings) in BATCHES.items():
        tolerance = {"rtol": 1e-9, "atol": 1e-7 if name.startswith("far") else 1e-12}
        kind = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
        layer = getattr(torch.nn, kind[len(shape)])(shape[1], **settings, dtype=torch.float64)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.arange(1.0, parameter.numel() + 1.0))
        for step in range(3):
            x = torch.tensor(whole(name) * (step + 1), requires_grad=True)
            y = layer(x)
            layer.zero_grad()
            (y * torch.tensor(weights(name))).sum().backward()
            found = joined(answers, name, 2 * step)
            np.testing.assert_allclose(found, y.detach().numpy(), **tolerance, err_msg=name)
            found = joined(answers, name, 2 * step + 1)
            np.testing.assert_allclose(found, x.grad.numpy(), **tolerance, err_msg=name)
        if settings.get("track_running_stats", True):
            wanted = layer.eval()(torch.tensor(whole(name))).detach().numpy()
            parts = [np.reshape(a[name]["evaluated"], (-1, *shape[1:])) for a in answers]
            np.testing.assert_allclose(np.concatenate(parts), wanted, **tolerance)
        for answer in answers:
            for got, parameter in zip(answer[name]["parameters"], layer.parameters(), strict=True):
                np.testing.assert_allclose(got, parameter.grad.numpy(), rtol=1e-7)
            for got, buffer in zip(answer[name]["buffers"], layer.buffers(), strict=True):
                np.testing.assert_allclose(got, buffer.numpy(), rtol=1e-9)


def derivatives_of_derivatives(answers: list[dict[str, Any]]) -> None:
    """Hold second derivatives and forward mode against those of one process."""
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    x, v = whole("features"), np.cos(whole("features"))
    loss = statistics_checks._loss(layer, slice(None))
    wanted = np.asarray(minidl.vjp(minidl.grad(loss), x)[1](v)[0])
    found = np.concatenate([np.reshape(answer["twice"], (-1, 3)) for answer in answers])
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    change = float(np.asarray(minidl.jvp(loss, (x,), (v,))[1]))
    for answer in answers:
        assert answer["forward"] == pytest.approx(change, rel=1e-9)
        assert "more than one value per channel is wanted in training, got 1" in answer["single"]


def test_converted_in_place_with_everything_kept() -> None:
    norm = nn.BatchNorm2d(3, eps=0.2, momentum=None)
    shared = nn.BatchNorm1d(2)
    model = nn.Sequential(norm, nn.ReLU(), nn.Sequential(shared, nn.Dropout(0.5)), shared)
    before, names = list(model.parameters()), [name for name, _ in model.named_parameters()]
    assert nn.SyncBatchNorm.convert_sync_batchnorm(model) is model
    assert type(model[0]) is type(model[2][0]) is nn.SyncBatchNorm
    assert model[3] is model[2][0]
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    assert [name for name, _ in model.named_parameters()] == names
    assert (model[0].eps, model[0].momentum) == (0.2, None)
    single = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm3d(2))
    assert type(single) is nn.SyncBatchNorm


def test_alone_it_is_batch_normalization(torch: Any) -> None:
    assert World().size == 1
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32)
    one, other = nn.SyncBatchNorm(3), nn.BatchNorm2d(3)
    for _ in range(2):
        assert one(x).detach().numpy().tobytes() == other(x).detach().numpy().tobytes()
    for a, b in zip(one.buffers(), other.buffers(), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()
    theirs = torch.nn.SyncBatchNorm(3, momentum=0.4)  # names and arguments are PyTorch's
    mine = nn.SyncBatchNorm(3, momentum=0.4)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    mine.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    theirs.eval(), mine.eval()
    np.testing.assert_allclose(mine(x).detach().numpy(), theirs(torch.tensor(x)).detach().numpy())
