"""Checkpoints: arrays as safetensors, everything else as JSON, whole or not there at all.

A checkpoint is a manifest (``last.json``) that names a file of arrays and its SHA-256, and holds a
SHA-256 of itself. The arrays are written first, under a name of their own; then the manifest before
becomes ``previous.json`` and the new one takes its place, each by one rename. So a process may be
killed at any moment, and a disk may lose what it likes of the newest checkpoint: there is a whole
one still. Nothing is pickled: loading a checkpoint runs no code.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minidl.autograd.arrays import host
from minidl.autograd.primitive import Array
from minidl.nn import Module
from minidl.optim import AveragedModel, Optimizer

FORMAT = 2


class CheckpointError(ValueError):
    """A checkpoint or model file that is missing, damaged, or of another model."""


def write_atomically(path: Path, content: bytes, *, keep_as: Path | None = None) -> None:
    """Write a file so that it is there whole or, after a crash, as it was before.

    Parameters
    ----------
    keep_as
        The name that the file before gets, if there was one. A crash between these two renames
        leaves it under this name only.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep_as is not None and path.exists():
            os.replace(path, keep_as)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):  # half a file would help to fill a full disk
            part.unlink(missing_ok=True)
        raise
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
    plain = {name: np.array(host(array), order="C") for name, array in arrays.items()}
    content: bytes = save(plain, metadata=dict(metadata or {}))
    return content


def model_bytes(model: Module, metadata: Mapping[str, str]) -> bytes:
    """Return a model's state under PyTorch's names as a safetensors file.

    Parameters
    ----------
    metadata
        What goes into the file's header, text to text.
    """
    return _bytes_of({name: t.numpy() for name, t in model.state_dict().items()}, metadata)


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
    average: AveragedModel | None = None,
    name: str = "last",
) -> Path:
    """Write the state of a training as ``last.json`` and a file of arrays; return the manifest.

    The checkpoint of this name before it stays, as ``previous.json``.

    Parameters
    ----------
    progress
        Where the training stands (epoch, step, best value, …): plain data.
    average
        A moving average of the weights, where there is one.
    name
        Of the manifest, without its ending. Only ``last`` has a predecessor that stays.
    """
    state = optimizer.state_dict()
    arrays = {f"model.{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    steps = {}
    for number, entry in state["state"].items():
        steps[str(number)] = entry["step"]
        for kept in optimizer.state_names:
            if kept in entry:  # without its setting there is no such state
                arrays[f"optimizer.{number}.{kept}"] = entry[kept].numpy()
    if average is not None:
        arrays |= {f"average.{name}": array for name, array in average.averages.items()}
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
        "averaged": None if average is None else average.n_averaged,
        "progress": dict(progress),
    }
    path = directory / f"{name}.json"
    sealed = json.dumps(manifest | {"seal": _seal(manifest)}, indent=1).encode()
    write_atomically(path, sealed, keep_as=directory / "previous.json" if name == "last" else None)
    _remove_states(directory)
    return path


def checkpoints_in(directory: Path) -> list[Path]:
    """Return the manifests in a directory that can be read, the furthest training first."""
    found = []
    for path in directory.glob("*.json"):
        with suppress(CheckpointError):
            found.append((_read_manifest(path)["progress"].get("step", 0), path.name, path))
    return [path for _, _, path in sorted(found, reverse=True)]


def _seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest, which so tells of its own damage."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _remove_states(directory: Path) -> None:
    """Remove the arrays that no checkpoint names, and halves of files that a crash has left."""
    kept = {_read_manifest(path)["file"] for path in checkpoints_in(directory)}
    for other in directory.glob("state-*"):
        if other.name not in kept:
            other.unlink(missing_ok=True)


def load_checkpoint(
    path: Path,
    *,
    model: Module,
    optimizer: Optimizer,
    rng: np.random.Generator,
    average: AveragedModel | None = None,
) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote, in place, and return its ``progress``.

    Raises
    ------
    CheckpointError
        The manifest or its arrays are missing, damaged, or of another model; nothing is changed.
    """
    manifest, arrays = read_checkpoint(path)
    restore_checkpoint(
        path, manifest, arrays, model=model, optimizer=optimizer, rng=rng, average=average
    )
    progress: dict[str, Any] = manifest["progress"]
    return progress


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read a checkpoint whole: its manifest and its arrays.

    Raises
    ------
    CheckpointError
        The manifest or its arrays are missing or damaged.
    """
    manifest = _read_manifest(path)
    return manifest, _read_state(path, manifest)


def restore_checkpoint(
    path: Path,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, Array],
    *,
    model: Module,
    optimizer: Optimizer,
    rng: np.random.Generator,
    average: AveragedModel | None = None,
) -> None:
    """Put in place what `read_checkpoint` has read from ``path``.

    Raises
    ------
    CheckpointError
        It is of another model; nothing is changed.
    """
    # A copy: these share the memory that is about to be written.
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), rng.bit_generator.state))
    try:
        if (manifest.get("averaged") is None) != (average is None):
            raise ValueError(
                f"it was written {'without' if average else 'with'} an average of the weights"
            )
        _restore(manifest, arrays, model, optimizer, rng)
        if average is not None:
            _restore_average(manifest, arrays, average)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        model.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        rng.bit_generator.state = before[2]
        raise CheckpointError(f"{path}: of another model or optimizer: {error}") from error


def verify_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint whole, and return its ``progress``; nothing is restored.

    Raises
    ------
    CheckpointError
        The manifest or its arrays are missing or damaged.
    """
    manifest, _ = read_checkpoint(path)
    progress: dict[str, Any] = manifest["progress"]
    return progress


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a checkpoint's manifest ({error})") from error
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path}: not a checkpoint's manifest (no JSON object)")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {manifest.get('format')!r}, wanted {FORMAT}")
    seal = manifest.pop("seal", None)
    if seal != _seal(manifest):
        raise CheckpointError(f"{path}: damaged: it does not match its own SHA-256")
    kinds = {"file": str, "sha256": str, "optimizer": dict, "rng": dict, "progress": dict}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise CheckpointError(
                f"{path}: not a checkpoint's manifest ({key!r} is {manifest.get(key)!r})"
            )
    return manifest


def _read_state(path: Path, manifest: Mapping[str, Any]) -> dict[str, Array]:
    tensors = path.parent / Path(manifest["file"]).name  # in the same directory, and nowhere else
    try:
        content = tensors.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{tensors}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{tensors}: cannot be read ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != manifest["sha256"]:
        raise CheckpointError(
            f"{tensors}: damaged: its SHA-256 is {found[:16]}…, wanted {manifest['sha256'][:16]}…"
        )
    return read_arrays(tensors)[0]


def _restore(
    manifest: Mapping[str, Any],
    arrays: Mapping[str, Array],
    model: Module,
    optimizer: Optimizer,
    rng: np.random.Generator,
) -> None:
    groups, steps = manifest["optimizer"]["param_groups"], manifest["optimizer"]["steps"]
    for own, found in zip(optimizer.param_groups, groups, strict=True):
        if own.keys() != found.keys():
            raise ValueError(f"settings {sorted(own)} are wanted, got {sorted(found)}")
    wanted = {f"optimizer.{number}.{name}" for number in steps for name in optimizer.state_names}
    may_lack = {
        f"optimizer.{number}.{name}" for number in steps for name in optimizer.optional_state
    }
    odd = wanted.symmetric_difference(name for name in arrays if name.startswith("optimizer."))
    odd -= may_lack
    if odd:
        raise ValueError(f"the optimizer's state does not fit: {', '.join(sorted(odd))}")
    weights = {n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")}
    model.load_state_dict(weights)
    state = {
        int(number): {"step": step}
        | {
            name: arrays[f"optimizer.{number}.{name}"]
            for name in optimizer.state_names
            if f"optimizer.{number}.{name}" in arrays
        }
        for number, step in steps.items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    rng.bit_generator.state = manifest["rng"]


def _restore_average(
    manifest: Mapping[str, Any], arrays: Mapping[str, Array], average: AveragedModel
) -> None:
    found = {n.removeprefix("average."): a for n, a in arrays.items() if n.startswith("average.")}
    average.load_state_dict({"n_averaged": manifest["averaged"], "averages": found})
