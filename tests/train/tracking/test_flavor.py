"""Models of each task in MLflow: logged without pickle, loaded, served, evaluated, registered."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from mlflow_stores import MLFLOW_MARKS, client, environment, free_port, history, running

from minidl.data import MNISTSample
from minidl.nn import Module
from minidl.tensor import Tensor
from minidl.train.inference import Predictor
from minidl.train.tracking import flavor
from minidl.train.tracking.sync import sync_run

pytest_plugins = ["mlflow_stores", "tiny_runs"]
pytestmark = MLFLOW_MARKS

RECONSTRUCTION = """\
seed: 7
task: {type: Reconstruction}
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.95}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 784}
    - {type: Unflatten, dim: 1, unflattened_size: [1, 28, 28]}
loss: {type: BCEWithLogitsLoss}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 1, monitor: val/loss, name: pixels}
"""

REGRESSION = """\
seed: 7
task: {type: Regression}
data: {type: NPZ, path: houses.npz, batch_size: 20, val_fraction: 0.2}
model: {type: Sequential, layers: [{type: Linear, out_features: 1}]}
loss: {type: MSELoss}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 1, monitor: val/loss, name: numbers}
"""

GENERATOR = """\
seed: 7
task: {type: Adversarial}
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.99}
model: {type: DCGANSmall, latent: 4}
loss: {type: BCEWithLogitsLoss}
optimizer: {type: Adam, lr: 1e-4}
trainer: {epochs: 1, monitor: val/loss, name: forger}
"""


@pytest.fixture
def tracked(train, mlflow_uri):
    """Train with the SQLite store; return the run and where MLflow keeps its model."""

    def run(*overrides, uri=mlflow_uri, **how):
        done = train(f"tracking={{uri: {uri!r}, experiment: models}}", *overrides, **how)
        assert done.result.tracking.status == "complete", done.output
        return done, f"models:/{done.result.tracking.model_id}"

    return run


@pytest.fixture
def here(mlflow_uri, monkeypatch):
    """MLflow's own functions, as a user calls them in a notebook."""
    import mlflow

    mlflow.set_tracking_uri(mlflow_uri)
    yield mlflow
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


def images(count):
    dataset = MNISTSample().test
    return dataset.inputs[:count], dataset.targets[:count]


# Classes that the tiny model never guesses have no precision.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_a_classifier_is_loaded_and_evaluated(tracked, here):
    done, uri = tracked()
    some, labels = images(200)
    wanted = Predictor.load(done.run.model).answers(some)
    model = here.pyfunc.load_model(uri)
    np.testing.assert_array_equal(model.predict(some), wanted)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 1, 28, 28)
    assert model.metadata.signature.outputs.inputs[0].shape == (-1, 10)
    assert model.metadata.get_model_info().flavors.keys() == {"python_function", "minidl"}
    assert model.input_example.shape == (2, 1, 28, 28)
    with pytest.raises(here.exceptions.MlflowException, match="does not match expected shape"):
        model.predict(some.reshape(200, 784))

    import pandas

    frame = pandas.DataFrame({"image": [image.ravel() for image in some], "label": labels})
    labelling = here.pyfunc.load_model(uri, model_config={"output": "label"})
    with here.start_run():
        found = here.models.evaluate(
            labelling,
            frame,
            targets="label",
            model_type="classifier",
            evaluators="default",
            evaluator_config={"log_model_explainability": False},
        )
    assert found.metrics["accuracy_score"] == np.mean(wanted.argmax(axis=1) == labels)
    assert found.metrics["example_count"] == 200


def test_a_model_is_linked_to_its_run(tracked, mlflow_uri):
    from mlflow.models import Model

    done, _ = tracked()
    report, store = done.result.tracking, client(mlflow_uri)
    run = store.get_run(report.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [report.model_id]
    (model,) = store.search_logged_models([report.experiment_id])
    assert (model.model_id, model.name, str(model.status)) == (report.model_id, "model", "READY")
    (best,) = (e for e in done.entries if e.epoch == done.result.best_epoch and _validates(e))
    assert {metric.key: metric.value for metric in model.metrics} == best.metrics
    assert len(history(mlflow_uri, report.run_id, "val/loss")) == 2  # linked, not doubled
    saved = Path(urllib.request.url2pathname(model.artifact_location.removeprefix("file://")))
    assert not list(saved.rglob("*.pkl")) + list(saved.rglob("*.gz"))
    assert "numpy==" in (saved / "requirements.txt").read_text()
    flavors = Model.load(str(saved)).flavors
    assert flavors["python_function"]["data"] == flavors["minidl"]["data"]
    assert {file.name for file in (saved / flavors["minidl"]["data"]).iterdir()} == {
        "config.yaml",
        "model.safetensors",
    }


def _validates(entry):
    return any(name.startswith("val/") for name in entry.metrics)


def test_a_reconstruction(tracked, here):
    done, uri = tracked(text=RECONSTRUCTION)
    some, _ = images(5)
    made = here.pyfunc.load_model(uri).predict(some)
    np.testing.assert_array_equal(made, Predictor.load(done.run.model).answers(some))
    assert made.shape == (5, 1, 28, 28)
    with pytest.raises(ValueError, match="Reconstruction gives no labels"):
        here.pyfunc.load_model(uri, model_config={"output": "label"})


def test_a_regression(tracked, here, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = rng.normal(size=(100, 3)).astype(np.float32)
        arrays[f"y_{part}"] = arrays[f"x_{part}"].sum(axis=1)
    np.savez(tmp_path / "houses.npz", **arrays)
    done, uri = tracked(text=REGRESSION)
    made = here.pyfunc.load_model(uri).predict(arrays["x_test"][:7])
    assert made.shape == (7, 1)
    np.testing.assert_array_equal(
        made, Predictor.load(done.run.model).answers(arrays["x_test"][:7])
    )


def test_a_generator_is_kept_as_files(tracked, mlflow_uri):
    done, _ = tracked(text=GENERATOR)
    report = done.result.tracking
    assert report.model_id is None
    files = {item.path for item in client(mlflow_uri).list_artifacts(report.run_id, "model")}
    assert files == {"model/model.safetensors", "model/config.yaml"}


def test_by_hand(train, here, tmp_path):
    done = train("tracking=null")
    with here.start_run():
        info = flavor.log_model(done.run.root, "mine", input_example=images(1)[0])
    loaded = flavor.load_model(info.model_uri)
    assert isinstance(loaded, Module)
    assert not loaded.training
    assert loaded(Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape == (1, 10)
    with pytest.raises(ValueError, match="neither a run, nor its folder"):
        flavor.save_model(tmp_path / "saved", tmp_path)


def test_the_newest_finished_run_is_the_champion(tracked, mlflow_uri):
    kept = ("tracking.registered_model=digits", "tracking.alias=champion")
    store = client(mlflow_uri)
    for number in (1, 2):
        done, _ = tracked(*kept, f"trainer.name=run{number}")
        champion = store.get_model_version_by_alias("digits", "champion")
        assert int(champion.version) == number
        assert champion.run_id == done.result.tracking.run_id
        assert champion.source == f"models:/{done.result.tracking.model_id}"
    assert not sync_run(done.run.root).changed
    # An older run that is sent later is registered too, and is not the champion.
    oldest, _ = tracked("trainer.name=run0")
    store.delete_run(oldest.result.tracking.run_id)
    description = json.loads((oldest.run.root / "description.json").read_text())
    description |= {"started": 1.0, "uid": "older"}
    (oldest.run.root / "description.json").write_text(json.dumps(description))
    (oldest.run.root / "tracking.json").unlink()
    config = oldest.run.config.read_text()
    config = config.replace("registered_model: null", "registered_model: digits")
    oldest.run.config.write_text(config.replace("alias: null", "alias: champion"))
    assert sync_run(oldest.run.root).models == 2
    assert len(store.search_model_versions("name = 'digits'")) == 3
    assert store.get_model_version_by_alias("digits", "champion").version == champion.version


def test_a_name_that_mlflow_refuses_costs_only_itself(train, mlflow_uri):
    done = train(f"tracking={{uri: {mlflow_uri!r}, registered_model: 'a/b:c'}}")
    report = done.result.tracking
    assert report.status == "partial"
    assert "the model was not registered" in report.message
    assert client(mlflow_uri).get_run(report.run_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("tracking", "message"),
    [
        ("{alias: champion}", "`alias` names a version of a registered model, and there is none"),
        ("{registered_model: a, log_model: false}", "wants a logged model"),
    ],
)
def test_what_cannot_be_registered_is_told_before_anything_is_made(train, tracking, message):
    with pytest.raises(ValueError, match=message):
        train(f"tracking={tracking}")
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_logged_model_is_served_where_there_is_no_minidl(tracked, mlflow_server, tmp_path):
    done, _ = tracked(uri=mlflow_server.uri)
    some, _ = images(3)
    port = free_port()
    command = [
        *("mlflow", "models", "serve", "--env-manager", "local", "--workers", "1"),
        *("-m", f"runs:/{done.result.tracking.run_id}/model", "--port", str(port)),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
        patch.setattr("mlflow_stores.environment", lambda: _without_minidl(environment()))
        (tmp_path / "elsewhere").mkdir()
        url = f"http://127.0.0.1:{port}"
        with running(command, tmp_path / "elsewhere", f"{url}/ping"):
            answer = _post(f"{url}/invocations", {"inputs": some.tolist()})
            with pytest.raises(urllib.error.HTTPError) as refused:
                _post(f"{url}/invocations", {"inputs": [[1, 2, 3]]})
            refused.value.close()
    wanted = Predictor.load(done.run.model).answers(some)
    np.testing.assert_allclose(answer["predictions"], wanted, rtol=1e-6)
    assert refused.value.code == 400


def _without_minidl(variables):
    return {name: value for name, value in variables.items() if name != "PYTHONPATH"}


def _post(url, content):
    request = urllib.request.Request(
        url, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.build_opener().open(request, timeout=60) as answer:
        return json.load(answer)
