"""Checkpoints: arrays as safetensors, everything else as JSON, whole or not there at all.

A checkpoint is a manifest (``last.json``) that names a file of arrays and its SHA-256. The arrays
are written first, under a name of their own; the manifest is replaced last, by one rename, and
only then is the file it named before removed. So a process may be killed at any moment, and what
the manifest names is whole. Nothing is pickled: loading a checkpoint runs no code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minidl.autograd.primitive import Array
from minidl.nn import Module
from minidl.optim import Optimizer

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint or model file that is missing, damaged, or of another model."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or, after a crash, as it was before."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Make a rename durable: it is the directory that holds the name."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bytes_of(arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    # safetensors stores memory as it lies, so strided arrays are laid out first.
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    content: bytes = save(plain, metadata=dict(metadata or {}))
    return content


def save_model(path: Path, model: Module, metadata: Mapping[str, str]) -> None:
    """Write a model's state under PyTorch's names, atomically.

    Parameters
    ----------
    metadata
        What goes into the file's header, text to text.
    """
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    write_atomically(path, _bytes_of(arrays, metadata))


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a safetensors file: its arrays and its metadata.

    Raises
    ------
    CheckpointError
        The file is missing or damaged; names it.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error


def save_checkpoint(
    directory: Path,
    *,
    model: Module,
    optimizer: Optimizer,
    rng: np.random.Generator,
    progress: Mapping[str, Any],
) -> Path:
    """Write the state of a training as ``last.json`` and a file of arrays; return the manifest.

    Parameters
    ----------
    progress
        Where the training stands (epoch, step, best value, …): plain data.
    """
    state = optimizer.state_dict()
    arrays = {f"model.{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    steps = {}
    for number, entry in state["state"].items():
        steps[str(number)] = entry["step"]
        for name in optimizer.state_names:
            arrays[f"optimizer.{number}.{name}"] = entry[name].numpy()
    content = _bytes_of(arrays)
    digest = hashlib.sha256(content).hexdigest()
    directory.mkdir(parents=True, exist_ok=True)
    tensors = directory / f"state-{digest[:16]}.safetensors"
    write_atomically(tensors, content)
    manifest = {
        "format": FORMAT,
        "file": tensors.name,
        "sha256": digest,
        "optimizer": {"steps": steps, "param_groups": state["param_groups"]},
        "rng": rng.bit_generator.state,
        "progress": dict(progress),
    }
    path = directory / "last.json"
    write_atomically(path, json.dumps(manifest, indent=1).encode())
    for other in directory.glob("state-*.safetensors"):
        if other.name != tensors.name:
            other.unlink()
    return path


def load_checkpoint(
    path: Path, *, model: Module, optimizer: Optimizer, rng: np.random.Generator
) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote, in place, and return its ``progress``.

    Raises
    ------
    CheckpointError
        The manifest or its arrays are missing, damaged, or of another model; nothing is changed.
    """
    try:
        manifest = json.loads(path.read_bytes())
        tensors = path.parent / manifest["file"]
        content = tensors.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename}: there is no such file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint's manifest ({error})") from error
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {manifest.get('format')!r}, wanted {FORMAT}")
    found = hashlib.sha256(content).hexdigest()
    if found != manifest["sha256"]:
        raise CheckpointError(
            f"{tensors}: damaged: its SHA-256 is {found[:16]}…, wanted {manifest['sha256'][:16]}…"
        )
    arrays, _ = read_arrays(tensors)
    weights = {n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")}
    state = {
        int(number): {"step": step}
        | {name: arrays[f"optimizer.{number}.{name}"] for name in optimizer.state_names}
        for number, step in manifest["optimizer"]["steps"].items()
    }
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        model.load_state_dict(weights)
        groups = manifest["optimizer"]["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except ValueError as error:
        model.load_state_dict(before)
        raise CheckpointError(f"{path}: of another model or optimizer: {error}") from error
    rng.bit_generator.state = manifest["rng"]
    progress: dict[str, Any] = manifest["progress"]
    return progress
