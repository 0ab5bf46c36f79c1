"""Checkpoints: everything comes back, damage is told and changes nothing, crashes lose nothing."""

from __future__ import annotations

import builtins
import copy
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minidl import nn
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD, Adam, AdamW, AveragedModel, CosineAnnealingLR, Optimizer
from minidl.tensor import Tensor
from minidl.train.checkpoint import (
    CheckpointError,
    checkpoints_in,
    load_checkpoint,
    model_bytes,
    read_arrays,
    save_checkpoint,
    verify_checkpoint,
    write_atomically,
)


@dataclass
class State:
    """What a checkpoint holds."""

    model: Any  # a Sequential
    optimizer: Optimizer
    rng: np.random.Generator

    def snapshot(self) -> tuple[Any, ...]:
        """All that may change, as plain data that can be compared."""
        state = self.optimizer.state_dict()
        return (
            {name: t.numpy().tobytes() for name, t in self.model.state_dict().items()},
            {
                number: {k: np.asarray(v).tobytes() for k, v in entry.items()}
                for number, entry in state["state"].items()
            },
            json.dumps(state["param_groups"]),
            self.rng.bit_generator.state,
        )

    def save(self, directory: Path, **progress: Any) -> Path:
        return save_checkpoint(
            directory, model=self.model, optimizer=self.optimizer, rng=self.rng, progress=progress
        )

    def load(self, path: Path) -> dict[str, Any]:
        return load_checkpoint(path, model=self.model, optimizer=self.optimizer, rng=self.rng)

    def train(self, steps: int) -> None:
        for _ in range(steps):
            # The batch follows from the generator too, so that it must have been restored.
            x = self.rng.normal(size=(8, 5)).astype(np.float32)
            y = self.rng.integers(0, 3, 8)
            self.optimizer.zero_grad()
            cross_entropy(self.model(Tensor(x)), Tensor(y)).backward()
            self.optimizer.step()


Make = Callable[[nn.Module], Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda m: SGD(m.parameters(), lr=0.1),
    "nesterov": lambda m: SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda m: Adam(m.parameters(), lr=0.01, betas=(0.8, 0.99)),
    "adamw": lambda m: AdamW(m.parameters(), lr=0.01),
}


def make(seed: int = 0, width: int = 6, optimizer: str = "adamw") -> State:
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Linear(5, width, rng=rng),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Dropout(0.5, rng=rng),
        nn.Linear(width, 3, rng=rng),
    )
    return State(model, OPTIMIZERS[optimizer](model), rng)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    state = make()
    state.train(3)
    return state.save(tmp_path, epoch=1, step=3)


# ---- whole --------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_everything_comes_back(tmp_path: Path, optimizer: str) -> None:
    state = make(optimizer=optimizer)
    state.train(4)
    path = state.save(tmp_path, epoch=2, step=4, best=0.5, best_epoch=1)
    other = make(seed=9, optimizer=optimizer)
    other.train(2)
    assert other.snapshot() != state.snapshot()
    assert other.load(path) == {"epoch": 2, "step": 4, "best": 0.5, "best_epoch": 1}
    assert other.snapshot() == state.snapshot()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_restored_training_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, optimizer: str
) -> None:
    through, stopped = make(optimizer=optimizer), make(optimizer=optimizer)
    through.train(3)
    through.train(5)
    stopped.train(3)
    path = stopped.save(tmp_path)
    resumed = make(seed=5, optimizer=optimizer)
    resumed.load(path)
    resumed.train(5)
    assert resumed.snapshot() == through.snapshot()


def test_a_checkpoint_before_the_first_step(tmp_path: Path) -> None:
    state, other = make(), make(seed=1)
    other.train(2)  # its optimizer has state, which must go
    other.load(state.save(tmp_path))
    state.train(3)
    other.train(3)
    assert other.snapshot() == state.snapshot()


def test_dropout_goes_on_with_the_same_masks(tmp_path: Path) -> None:
    state = make()
    path = state.save(tmp_path)
    ones = Tensor(np.ones((4, 50), np.float32))
    masks = [state.model[3](ones).numpy() for _ in range(2)]
    other = make(seed=3)
    other.load(path)
    for mask in masks:
        np.testing.assert_array_equal(other.model[3](ones).numpy(), mask)
    assert (masks[0] != masks[1]).any()


def test_a_schedule_goes_on_by_the_step(tmp_path: Path) -> None:
    def with_schedule(seed: int) -> tuple[State, CosineAnnealingLR]:
        state = make(seed)
        return state, CosineAnnealingLR(state.optimizer, 20, warmup_steps=2)

    def train(state: State, schedule: CosineAnnealingLR, steps: range) -> None:
        for step in steps:
            state.train(1)
            schedule.set_step(step + 1)

    through, schedule = with_schedule(0)
    train(through, schedule, range(12))
    stopped, schedule = with_schedule(0)
    train(stopped, schedule, range(7))
    path = stopped.save(tmp_path, step=7)
    resumed, schedule = with_schedule(1)
    step = resumed.load(path)["step"]
    schedule.set_step(step)
    train(resumed, schedule, range(step, 12))
    assert resumed.snapshot() == through.snapshot()


def test_strided_parameters_are_stored_by_value(tmp_path: Path) -> None:
    state, other = make(), make(seed=2)
    state.model[0].weight.value = np.asfortranarray(state.model[0].weight.value)
    other.load(state.save(tmp_path))
    np.testing.assert_array_equal(other.model[0].weight.value, state.model[0].weight.value)


def test_nothing_is_pickled(saved: Path) -> None:
    assert {path.suffix for path in saved.parent.iterdir()} == {".json", ".safetensors"}
    for path in saved.parent.iterdir():
        assert not path.read_bytes().startswith((b"\x80", b"PK"))
    json.loads(saved.read_bytes())


def test_the_latest_two_states_are_kept(tmp_path: Path) -> None:
    state = make()
    (tmp_path / "state-0123.safetensors.part").write_bytes(b"a crash left this")
    before: list[str] = []
    for step in range(1, 4):
        state.train(1)
        path = state.save(tmp_path, step=step)
        named = json.loads(path.read_bytes())["file"]
        manifests = ["last.json", *(["previous.json"] if before else [])]
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*manifests, *before, named])
        assert [p.name for p in checkpoints_in(tmp_path)] == manifests
        before = [named]
    # The one before is whole, and is what it was.
    assert verify_checkpoint(tmp_path / "previous.json") == {"step": 2}
    assert make(seed=1).load(tmp_path / "previous.json") == {"step": 2}


def test_the_furthest_training_comes_first(tmp_path: Path) -> None:
    state = make()
    state.save(tmp_path, step=3)
    save_checkpoint(
        tmp_path,
        model=state.model,
        optimizer=state.optimizer,
        rng=state.rng,
        progress={"step": 5},
        name="interrupted",
    )
    assert [p.name for p in checkpoints_in(tmp_path)] == ["interrupted.json", "last.json"]
    state.train(1)
    state.save(tmp_path, step=7)
    assert [p.name for p in checkpoints_in(tmp_path)] == [
        *("last.json", "interrupted.json", "previous.json")
    ]
    for path in checkpoints_in(tmp_path):
        verify_checkpoint(path)


def test_an_average_of_the_weights_comes_back(tmp_path: Path) -> None:
    state, other = make(), make(seed=2)
    average = AveragedModel(state.model, 0.9, use_buffers=True)
    for _ in range(3):
        state.train(1)
        average.update()

    def save(average: AveragedModel | None) -> Path:
        return save_checkpoint(
            tmp_path,
            model=state.model,
            optimizer=state.optimizer,
            rng=state.rng,
            progress={},
            average=average,
        )

    def load(average: AveragedModel | None) -> None:
        load_checkpoint(
            path, model=other.model, optimizer=other.optimizer, rng=other.rng, average=average
        )

    path = save(average)
    found = AveragedModel(other.model, 0.9, use_buffers=True)
    load(found)
    assert found.n_averaged == 3
    for name, array in average.averages.items():
        assert found.averages[name].tobytes() == array.tobytes()
    with pytest.raises(CheckpointError, match="with an average"):
        load(None)
    path = save(None)
    with pytest.raises(CheckpointError, match="without an average"):
        load(found)


def test_the_same_state_twice(tmp_path: Path) -> None:
    state = make()
    path = state.save(tmp_path, step=1)
    assert state.save(tmp_path, step=2) == path
    assert state.load(path) == {"step": 2}


# ---- damaged ------------------------------------------------------------------------------------


def refused(path: Path, *, names: Path | None = None, state: State | None = None) -> str:
    """Load into a training, which must be refused, name the file, and change nothing."""
    state = make(seed=4) if state is None else state
    state.train(1)
    before = copy.deepcopy(state.snapshot())
    with pytest.raises(CheckpointError) as caught:
        state.load(path)
    assert str(names or path) in str(caught.value)
    assert state.snapshot() == before
    return str(caught.value)


def _tensors(manifest: Path) -> Path:
    name: str = json.loads(manifest.read_bytes())["file"]
    return manifest.parent / name


@pytest.mark.parametrize("place", [0.0, 0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_flipped_bit(saved: Path, place: float) -> None:
    tensors = _tensors(saved)
    content = bytearray(tensors.read_bytes())
    content[int(place * len(content))] ^= 1
    tensors.write_bytes(content)
    assert "SHA-256" in refused(saved, names=tensors)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_truncated_file_of_arrays(saved: Path, length: int) -> None:
    tensors = _tensors(saved)
    tensors.write_bytes(tensors.read_bytes()[:length])
    refused(saved, names=tensors)


def test_a_missing_file_of_arrays(saved: Path) -> None:
    tensors = _tensors(saved)
    tensors.unlink()
    assert "there is no such file" in refused(saved, names=tensors)
    tensors.mkdir()
    refused(saved, names=tensors)


def test_a_missing_manifest(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "last.json")
    refused(tmp_path)  # a directory


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"garbage", b"\xff\xfe\x00", b"[]", b"null", b"3", b"{}", b'{"format": 1}'],
)
def test_a_manifest_that_is_none(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    refused(saved)


@pytest.mark.parametrize("length", [1, 50, 200, 700])
def test_a_truncated_manifest(saved: Path, length: int) -> None:
    content = saved.read_bytes()
    assert length < len(content)
    saved.write_bytes(content[:length])
    refused(saved)


def _edit(manifest: Path, *keys: str, value: Any = ...) -> None:
    """Change a value of the manifest, or take it out."""
    data = json.loads(manifest.read_bytes())
    inner = data
    for key in keys[:-1]:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    data.pop("seal", None)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    seal = hashlib.sha256(text.encode()).hexdigest()
    manifest.write_text(json.dumps(data | {"seal": seal}))


@pytest.mark.parametrize("place", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_flipped_bit_of_the_manifest(saved: Path, place: float) -> None:
    content = bytearray(saved.read_bytes())
    content[int(place * len(content))] ^= 4
    saved.write_bytes(content)
    refused(saved)
    assert checkpoints_in(saved.parent) == []


@pytest.mark.parametrize("format_", [0, 1, "2", None])
def test_another_format(saved: Path, format_: Any) -> None:
    _edit(saved, "format", value=format_)
    assert f"format {format_!r}, wanted 2" in refused(saved)


@pytest.mark.parametrize(
    "keys",
    [
        ("file",),
        ("sha256",),
        ("optimizer",),
        ("optimizer", "steps"),
        ("optimizer", "steps", "0"),
        ("optimizer", "param_groups"),
        ("optimizer", "param_groups", "0", "params"),
        ("rng",),
        ("rng", "state"),
        ("rng", "bit_generator"),
        ("progress",),
    ],
)
@pytest.mark.parametrize("value", [..., None, [], "text"])
def test_a_manifest_with_a_part_missing_or_of_another_kind(
    saved: Path, keys: tuple[str, ...], value: Any
) -> None:
    _edit(saved, *keys, value=value)
    refused(saved, names=saved.parent)


def test_a_setting_too_few(saved: Path) -> None:
    _edit(saved, "optimizer", "param_groups", "0", "lr")
    assert "settings" in refused(saved)


def test_a_manifest_names_files_of_its_own_directory_only(saved: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    manifest = inner / "last.json"
    manifest.write_bytes(saved.read_bytes())
    _edit(manifest, "file", value=f"../{_tensors(saved).name}")
    refused(manifest, names=inner)


def _rewrite(manifest: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the arrays, and make the manifest agree with them."""
    tensors = _tensors(manifest)
    arrays = load_file(tensors)
    change(arrays)
    save_file(arrays, tensors)
    _edit(manifest, "sha256", value=hashlib.sha256(tensors.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    "name",
    ["model.0.weight", "model.1.running_mean", "optimizer.0.exp_avg", "optimizer.5.exp_avg_sq"],
)
def test_a_lost_array(saved: Path, name: str) -> None:
    _rewrite(saved, lambda arrays: arrays.pop(name))
    assert name.split(".", 1)[1] in refused(saved)


@pytest.mark.parametrize("name", ["model.9.weight", "optimizer.0.other", "optimizer.77.exp_avg"])
def test_an_array_too_many(saved: Path, name: str) -> None:
    _rewrite(saved, lambda arrays: arrays.update({name: np.zeros(3, np.float32)}))
    assert name.split(".", 1)[1] in refused(saved)


@pytest.mark.parametrize("name", ["model.4.bias", "optimizer.5.exp_avg"])
def test_an_array_of_another_shape(saved: Path, name: str) -> None:
    _rewrite(saved, lambda arrays: arrays.update({name: np.zeros(7, np.float32)}))
    refused(saved)


def test_another_model(saved: Path) -> None:
    message = refused(saved, state=make(width=7))
    assert "of another model" in message
    assert "0.weight" in message


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov"])
def test_another_optimizer(saved: Path, optimizer: str) -> None:
    assert "settings" in refused(saved, state=make(optimizer=optimizer))


# ---- crashes ------------------------------------------------------------------------------------


class Disk:
    """Counts what is asked of the disk, and fails from one request on."""

    def __init__(self, patch: pytest.MonkeyPatch, *, works: int) -> None:
        self.left = works
        for name in ("replace", "fsync"):
            patch.setattr(os, name, self._failing(getattr(os, name)))
        patch.setattr(builtins, "open", self._opening(builtins.open))
        patch.setattr(Path, "unlink", self._failing(Path.unlink))

    def _ask(self) -> None:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= 1

    def _failing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*args: Any, **kwargs: Any) -> Any:
            self._ask()
            return function(*args, **kwargs)

        return ask

    def _opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def ask(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            file = function(path, mode, *args, **kwargs)
            if "w" in mode and isinstance(file, io.BufferedWriter):
                if self.left <= 0:
                    file.write(b"half of")
                    file.close()
                self._ask()
            return file

        return ask


def test_whatever_fails_the_checkpoint_before_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0
    for works in range(100):
        directory = tmp_path / str(works)
        state = make()
        state.train(2)
        path = state.save(directory, step=2)
        before = copy.deepcopy(state.snapshot())
        state.train(2)
        with monkeypatch.context() as patch:
            Disk(patch, works=works)
            try:
                state.save(directory, step=4)
                failed = False
            except OSError:
                failed = True
        failures += failed
        other = make(seed=8)
        newest = checkpoints_in(directory)[0]  # it may be previous.json, the new one missing yet
        progress = other.load(newest)
        assert progress["step"] in ((2, 4) if failed else (4,))
        assert other.snapshot() == (before if progress["step"] == 2 else state.snapshot())
        # And the next one succeeds, and clears up.
        state.save(directory, step=5)
        assert other.load(path) == {"step": 5}
        assert [p.name for p in directory.iterdir() if p.suffix == ".part"] == []
        assert len(list(directory.iterdir())) <= 4
        if not failed:
            break
    assert failures > 8  # open, fsync, replace, open, fsync: twice over; and an unlink


def test_a_half_written_file_is_never_read(saved: Path) -> None:
    saved.with_name("last.json.part").write_bytes(b"{half")
    _tensors(saved).with_name("state-ff.safetensors.part").write_bytes(b"half")
    assert make(seed=1).load(saved) == {"epoch": 1, "step": 3}


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"three")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


# ---- model files --------------------------------------------------------------------------------


def test_a_model_file_holds_names_values_and_metadata(tmp_path: Path) -> None:
    model = make().model
    path = tmp_path / "model.safetensors"
    write_atomically(path, model_bytes(model, {"classes": '["é", "b"]'}))
    arrays, metadata = read_arrays(path)
    assert metadata == {"classes": '["é", "b"]'}
    assert arrays.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())
        assert arrays[name].dtype == tensor.dtype


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\xff" * 64])
def test_a_damaged_model_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_arrays(path)
    assert str(path) in str(caught.value)
