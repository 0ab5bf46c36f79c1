"""`scripts/bench/run.py` itself: what is missing is named, and bad arguments are told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from harness.systems import SCRIPTS, SYSTEMS, MissingError, environment
from peers import cases


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_missing_systems_are_named(tmp_path):
    out = tmp_path / "out"
    done = run("--peers", "torch,jax", "--cases", "mlp-1", "--no-install",
               "--cache", str(tmp_path / "cache"), "--out", str(out))  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = (out / "results.md").read_text()
    assert "- jax is missing: no environment at" in said
    found = json.loads((out / "results.json").read_text())
    assert all("missing" in found["systems"][name] for name in ("minidl", "torch", "jax"))
    assert found["rows"]["mlp-1"]["entries"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--peers", "keras"], "there is no peer 'keras'; known: torch, jax"),
        (["--cases", "mlp-7"], "there is no case 'mlp-7'; known: mlp-1, mlp-32"),
        (["--rounds", "0"], "at least one round"),
        (["--threads", "3"], "invalid choice: 3"),
    ],
)
def test_bad_arguments(arguments, said):
    done = run(*arguments)
    assert done.returncode
    assert said in done.stderr


def test_merging_wants_the_same_threads(tmp_path):
    old = tmp_path / "results.json"
    old.write_text(json.dumps({"threads": 2, "rows": {}}))
    done = run("--no-install", "--cache", str(tmp_path), "--merge", str(old), "--threads", "1",
               "--out", str(tmp_path / "out"))  # fmt: skip
    assert done.returncode
    assert "has 2 threads, not 1" in done.stderr


def test_an_environment_that_is_not_there(tmp_path):
    with pytest.raises(MissingError, match="no environment at"):
        environment(SYSTEMS["torch"], tmp_path, install=False)


def test_every_system_begins_with_the_same_numbers():
    for model, shapes in cases.SHAPES.items():
        made, again = cases.weights(model), cases.weights(model)
        assert {name: value.shape for name, value in made.items()} == shapes
        assert all(value.dtype == "float32" for value in made.values())
        assert all((made[name] == again[name]).all() for name in made)
    first, second = cases.batches(cases.CASES["cnn-32"])[:2]
    assert first[0].shape == (32, 1, 28, 28)
    assert (first[0] != second[0]).any()


@pytest.mark.parametrize("model", cases.SHAPES)
def test_minidl_and_pytorch_do_the_same_work(model):
    torch = pytest.importorskip("torch")
    from harness import summary
    from peers import minidl_peer, torch_peer

    threads = torch.get_num_threads()
    case = cases.Case("small", "train", model, 3, 1.0)
    ours = minidl_peer.prepare(case, "eager", threads=threads)
    theirs = torch_peer.prepare(case, "fused", threads=threads)
    results = [[step(i) for i in range(4)] for step in (ours, theirs)]
    assert summary.disagreement(*results) is None
    assert results[0][0] != results[0][1]


# PyTorch's own vmap calls it.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", [*cases.DERIVATIVES, "predict-mlp-1", "predict-cnn-1"])
def test_minidl_and_pytorch_give_the_same_numbers(name):
    torch = pytest.importorskip("torch")
    from harness import summary
    from peers import minidl_peer, torch_peer
    from peers.worker import as_number

    case = cases.CASES[name]
    numbers = {}
    for peer in (minidl_peer, torch_peer):
        for variant in peer.variants(case):
            if variant != "floor" and not variant.startswith("compiled"):
                step = peer.prepare(case, variant, threads=torch.get_num_threads())
                numbers[peer.__name__, variant] = as_number(step(0))
    expected = next(iter(numbers.values()))
    for number in numbers.values():
        assert summary.disagreement([number], [expected]) is None


@pytest.mark.parametrize("name", [n for n, c in cases.CASES.items() if c.batch])
def test_the_floor_multiplies_what_the_model_multiplies(name):
    from peers.products import products

    case = cases.CASES[name]
    multiplied = sum(
        rows * inner * columns * max(1, count)
        for rows, inner, columns, _, _, count in products(case)
    )
    # A linear layer of a, b: a·b a sample forward, the same for the weight, the same for the input.
    assert multiplied > 0
    if name == "mlp-32":
        layers = [784 * 256, 256 * 128, 128 * 10]
        assert multiplied == 32 * (3 * sum(layers) - layers[0])
    if name == "predict-cnn-256":
        convolved = 28 * 28 * 9 * 32 + 14 * 14 * 288 * 64
        assert multiplied == 256 * (convolved + 3136 * 128 + 128 * 10)
