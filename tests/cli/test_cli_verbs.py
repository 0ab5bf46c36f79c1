"""The verbs: validate, train, eval, predict; what they print, and where."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import Minidl, run_in

import minidl as package
from minidl.data import MNISTSample
from minidl.train.inference import Predictor

pytest_plugins = ["cli_process"]

Trained = tuple[Path, str]


def test_the_version(minidl: Minidl) -> None:
    done = minidl("--version")
    assert (done.returncode, done.stdout) == (0, f"minidl {package.__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_help_names_every_verb(minidl: Minidl, arguments: tuple[str, ...]) -> None:
    done = minidl(*arguments)
    assert done.returncode == (0 if arguments else 2)
    text = done.stdout + done.stderr
    for verb in (
        "train",
        "validate",
        "eval",
        "predict",
        "export",
        "serve",
        "plot-schedule",
        "data",
    ):
        assert re.search(rf"^\W*{verb}\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("train", ["CONFIG", "KEY=VALUE", "optimizer.lr=3e-4"]),
        ("validate", ["CONFIG", "create nothing"]),
        ("eval", ["RUN", "--part"]),
        ("predict", ["RUN", "IMAGE", ".npy"]),
        ("data", ["fetch", "show"]),
        ("export", ["RUN", ".onnx"]),
        ("plot-schedule", ["CONFIG", "--output"]),
    ],
)
def test_the_help_of_a_verb(minidl: Minidl, verb: str, words: list[str]) -> None:
    done = minidl(verb, "--help", COLUMNS="120")
    assert done.returncode == 0
    for word in words:
        assert word in done.stdout


def test_a_verb_that_there_is_not(minidl: Minidl) -> None:
    done = minidl("trian", "tiny.yaml")
    assert done.returncode == 2
    assert "trian" in done.stderr
    assert "Traceback" not in done.stderr


def test_validate(minidl: Minidl, folder: Path) -> None:
    done = minidl("validate", "tiny.yaml", "model.layers.1.out_features=20")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Linear(784, 20)" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "tiny.yaml is valid: 300 training samples, 12 steps in 2 epochs"
    )
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_validate_what_is_not_valid(minidl: Minidl) -> None:
    done = minidl("validate", "tiny.yaml", "model.layers.1.in_features=20")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Linear on an input of shape (N, 784)" in done.stderr


def test_train(trained: Trained) -> None:
    folder, said = trained
    assert "\x1b" not in said  # no terminal, no escape codes
    assert "\r" not in said
    lines = said.splitlines()
    assert lines[0].startswith("MNISTSample: 300 training")
    assert lines[1].startswith("epoch 1/2  ")
    assert lines[2].startswith("epoch 2/2  ")
    assert "run FINISHED" in lines
    assert "  run directory  runs/tiny" in lines
    summary = json.loads((folder / "runs/tiny/summary.json").read_text())
    assert summary["status"] == "FINISHED"
    assert not (folder / "mlflow.db").exists()


def test_train_with_overrides(minidl: Minidl, folder: Path) -> None:
    done = minidl(
        "train", "tiny.yaml", "trainer.epochs=1", "~trainer.name", "trainer.run_root=elsewhere/x"
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = (folder / "elsewhere/x").iterdir()
    assert (run / "overrides.txt").read_text().splitlines() == [
        "trainer.epochs=1",
        "~trainer.name",
        "trainer.run_root=elsewhere/x",
    ]
    assert json.loads((run / "summary.json").read_text())["epochs"] == 1
    assert f"run directory  {run.relative_to(folder)}" in done.stdout


def test_train_into_a_name_that_is_taken(trained: Trained) -> None:
    folder, _ = trained
    before = (folder / "runs/tiny/summary.json").read_bytes()
    done = run_in(folder, "train", "tiny.yaml")
    assert done.returncode == 2
    assert "runs/tiny exists already" in done.stderr
    assert (folder / "runs/tiny/summary.json").read_bytes() == before


def test_eval_repeats_what_the_training_found(trained: Trained) -> None:
    folder, said = trained
    done = run_in(folder, "eval", "runs/tiny")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("test/loss", "test/accuracy"):
        (figure,) = re.findall(rf"^  {name} +(\S.*)$", said, re.MULTILINE)
        assert re.search(rf"^  {name} +{figure}$", done.stdout, re.MULTILINE)
    assert "runs/tiny: 1,000 test samples" in done.stdout
    number = r"[01]\.\d{4}"
    row = rf"^  class \d +precision {number}  recall {number}  F1 {number}  of \d+ samples$"
    assert len(re.findall(row, done.stdout, re.M)) == 10


def test_eval_as_json(trained: Trained) -> None:
    metrics = "metrics=[{type: Recall, average: none}, {type: AUROC}]"
    done = run_in(trained[0], "eval", "runs/tiny", "--json", metrics)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert list(found) == ["run", "part", "samples", "metrics", "classes", "confusion"]
    assert (found["run"], found["part"], found["samples"]) == ("runs/tiny", "test", 1000)
    matrix = np.array(found["confusion"])
    assert found["metrics"]["test/accuracy"] == np.trace(matrix) / 1000
    assert 0.5 < found["metrics"]["test/auroc"] < 1
    for i, row in enumerate(found["classes"]):
        assert row["name"] == str(i)
        assert row["support"] == matrix[i].sum()
        assert (
            row["recall"] == found["metrics"][f"test/recall/{i}"] == matrix[i, i] / matrix[i].sum()
        )


def test_eval_on_the_validation_samples(trained: Trained) -> None:
    done = run_in(trained[0], "eval", "runs/tiny", "--part", "val")
    assert done.returncode == 0
    assert "5,700 val samples" in done.stdout
    assert "val/accuracy" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs/other",), ["runs/other", "not a run directory"]),
        (("runs/tiny", "model.layers.1.out_features=17"), ["model.safetensors", "1.weight"]),
        (
            ("runs/tiny", "--part", "val", "data.val_fraction=0", "trainer.monitor=train/loss"),
            ["there are no 'val' samples"],
        ),
        (("runs/tiny", "--part", "train"), ["'train'"]),
    ],
)
def test_eval_of_what_cannot_be(
    trained: Trained, arguments: tuple[str, ...], words: list[str]
) -> None:
    done = run_in(trained[0], "eval", *arguments)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def _seven() -> np.ndarray:
    test = MNISTSample().test
    pixels: np.ndarray = test.inputs[test.targets == 7][0]
    return pixels


def test_predict_an_array(trained: Trained, tmp_path: Path) -> None:
    np.save(tmp_path / "seven.npy", _seven())
    done = run_in(trained[0], "predict", "runs/tiny", str(tmp_path / "seven.npy"))
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    probabilities = Predictor.load(trained[0] / "runs/tiny/model").probabilities(_seven()[None])[0]
    best = int(probabilities.argmax())
    assert first == f"{best}  ({100 * probabilities[best]:.2f} %)"
    shares = {line.split()[0]: float(line.split()[1]) for line in rest}
    assert list(shares) == list("0123456789")
    assert list(shares.values()) == pytest.approx(probabilities.tolist(), abs=1e-4)


def test_predict_a_picture(trained: Trained, tmp_path: Path) -> None:
    image: Any = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra plot)")
    image.fromarray(_seven()[0]).save(tmp_path / "seven.png")
    np.save(tmp_path / "seven.npy", _seven())
    answers = [
        run_in(trained[0], "predict", "runs/tiny", str(tmp_path / name))
        for name in ("seven.png", "seven.npy")
    ]
    assert [done.returncode for done in answers] == [0, 0]
    assert answers[0].stdout == answers[1].stdout


def test_predict_for_a_pipe_of_an_old_encoding(trained: Trained, tmp_path: Path) -> None:
    np.save(tmp_path / "seven.npy", _seven())
    arguments = ("predict", "runs/tiny", str(tmp_path / "seven.npy"))
    done = run_in(trained[0], *arguments, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "???" in done.stdout


@pytest.mark.parametrize(
    ("run", "image", "words"),
    [
        ("runs/tiny", "nothing.npy", ["nothing.npy", "no such file"]),
        ("runs/tiny", "tiny.yaml", ["tiny.yaml", "readable picture"]),
        ("runs/tiny", "wide.npy", ["wide.npy", "(1, 28, 28)"]),
        ("runs/other", "tiny.yaml", ["runs/other", "no such file"]),
    ],
)
def test_predict_what_cannot_be(trained: Trained, run: str, image: str, words: list[str]) -> None:
    np.save(trained[0] / "wide.npy", np.zeros((28, 29), np.uint8))
    done = run_in(trained[0], "predict", run, image)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


# ---- pictures and exports ------------------------------------------------------------------


def test_data_show_and_plot_schedule(minidl: Minidl, tmp_path: Path) -> None:
    for arguments, name, words in (
        (
            ("data", "show", "tiny.yaml", "data.augment=[{type: CutMix}]", "--rows", "2"),
            "data.png",
            "32 samples",
        ),
        (
            ("plot-schedule", "tiny.yaml", "schedule={type: StepLR, step_size: 3}"),
            "schedule.png",
            "12 steps",
        ),
    ):
        done = minidl(*arguments)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
        picture = next(Path(p) for p in tmp_path.rglob(name))
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_export_predicts_what_the_run_predicts(trained: Trained, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is wanted")
    folder, _ = trained
    run = "runs/tiny"
    target = tmp_path / "model.onnx"
    done = run_in(folder, "export", run, str(target))
    assert done.returncode == 0, done.stderr
    pixels = MNISTSample().test.inputs[:20]
    predictor = Predictor.load(folder / run / "model")
    from minidl.data import normalize

    inputs = normalize(pixels, mean=predictor.mean, std=predictor.std)
    session = runtime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": inputs})
    np.testing.assert_array_equal(logits.argmax(1), predictor.probabilities(pixels).argmax(1))
    wrong = run_in(folder, "export", "nowhere", str(target))
    assert wrong.returncode != 0
    assert "Traceback" not in wrong.stderr
