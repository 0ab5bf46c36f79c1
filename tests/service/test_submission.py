"""What a submitted config may do, and what is refused with its line."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from service_app import CONFIG

from minidl.service.submission import (
    MOST_VALUES,
    NOT_PATHS,
    SubmissionRules,
    check_overrides,
    check_submission,
    holds_text,
    is_path,
)
from minidl.train.config import ConfigError, load_config
from minidl.train.config import sections as sections_of
from minidl.train.config.load import config_shape
from minidl.train.config.schema import registry
from minidl.train.config.starters import shipped

DATA = "data: {type: MNISTSample, batch_size: 64}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two data roots, the service's own directory in one of them, and a secret beside them."""
    for name in ("one/mnist", "two/tables", "one/service/jobs", "secrets"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "two/tables/data.csv").write_text("a,b\n1,2\n")
    (tmp_path / "secrets/passwd.csv").write_text("root,x\n")
    (tmp_path / "one/link").symlink_to(tmp_path / "secrets")
    (tmp_path / "one/chain").symlink_to(tmp_path / "one/link")
    (tmp_path / "one/circle").symlink_to(tmp_path / "one/circle")
    (tmp_path / "one/inside").symlink_to(tmp_path / "two/tables")
    return tmp_path


@pytest.fixture
def rules(place: Path) -> SubmissionRules:
    return SubmissionRules(
        data_roots=(place / "one", place / "two"),
        forbidden=(place / "one/service",),
        mlflow_uri="http://mlflow:5000",
    )


def problem_of(config: Any, rules: SubmissionRules) -> Any:
    with pytest.raises(ConfigError) as caught:
        check_submission(config, rules)
    return caught.value.problems[0]


# ---- paths ---------------------------------------------------------------------------------------

#: All texts among the arguments of classes that a config can name, by whether they are paths. A new
#: one fails here until somebody has looked at what becomes of it.
PATHS = {
    *(("CIFAR10", "root"), ("CIFAR100", "root"), ("EMNIST", "root"), ("FashionMNIST", "root")),
    *(("ImageFolder", "root"), ("KMNIST", "root"), ("MNIST", "root"), ("USPS", "root")),
    *(("CSV", "path"), ("CSV", "test_path"), ("NPZ", "path")),
}
#: Texts in sections without classes, and what becomes of them.
SECTION_TEXTS = {
    ("TrainerSection", "max_time"): "a pattern holds it",
    ("TrainerSection", "monitor"): "the name of a metric",
    ("TrainerSection", "run_root"): "the service's",
    ("TrainerSection", "name"): "the service's",
    ("TrackingSection", "uri"): "the service's",
    ("TrackingSection", "experiment"): "MLflow's",
    ("TrackingSection", "run_name"): "MLflow's",
    ("TrackingSection", "tags"): "MLflow's",
    ("TrackingSection", "description"): "MLflow's",
    ("TrackingSection", "registered_model"): "MLflow's",
    ("TrackingSection", "alias"): "MLflow's",
    ("TrackingSection", "parent_run_id"): "MLflow's",
    ("SweepSection", "parameters"): "each value is checked where it would stand",
    ("SweepSection", "metric"): "the name of a metric",
    ("SweepSection", "storage"): "the service's",
    ("SweepSection", "study"): "the service's",
}


def test_every_text_of_every_class_is_known_as_a_path_or_none() -> None:
    _, specs = config_shape(registry())
    texts = {
        (name, argument)
        for section in specs.values()
        for name, model in section.items()
        for argument, field in model.model_fields.items()
        if holds_text(field.annotation) and argument not in ("type", "augment")
    }
    assert texts == PATHS | NOT_PATHS
    assert not PATHS & NOT_PATHS
    assert all(is_path(name, argument, str) for name, argument in PATHS)


def test_every_text_of_every_section_is_known() -> None:
    found = {
        (name, argument)
        for name, cls in vars(sections_of).items()
        if isinstance(cls, type)
        and issubclass(cls, BaseModel)
        and cls.__module__ == sections_of.__name__
        and name != "Config"
        for argument, field in cls.model_fields.items()
        if holds_text(field.annotation)
    }
    assert found == set(SECTION_TEXTS)


@pytest.mark.parametrize(
    ("data", "column"),
    [
        ("data: {type: MNIST, root: /etc}", 27),
        ("data: {type: MNIST, root: /}", 27),
        ("data: {type: MNIST, root: ../secrets}", 27),
        ("data: {type: MNIST, root: mnist/../../secrets}", 27),
        ("data: {type: MNIST, root: '${env:MINIDL_DATA}/../secrets'}", 27),
        ("data: {type: MNIST, root: link}", 27),
        ("data: {type: MNIST, root: chain}", 27),
        ("data: {type: MNIST, root: circle}", 27),
        ("data: {type: MNIST, root: service/jobs}", 27),
        ("data: {type: MNIST, root: /proc/self/root}", 27),
        ("data: {type: ImageFolder, root: /home}", 33),
        ("data: {type: NPZ, path: /etc/passwd}", 25),
        ("data: {type: CSV, target: b, path: link/passwd.csv}", 36),
        (
            "data: {type: CSV, target: b, path: tables/data.csv, test_path: ../secrets/passwd.csv}",
            64,
        ),
    ],
)
def test_paths_outside_of_the_data_are_refused(
    data: str, column: int, rules: SubmissionRules
) -> None:
    problem = problem_of(CONFIG.replace(DATA, data), rules)
    assert "lies outside of the data that this service shares" in problem.message
    assert (problem.file, problem.line, problem.column) == ("config", 1, column)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("tables/data.csv", "two/tables/data.csv"),
        ("inside/data.csv", "two/tables/data.csv"),
        ("mnist/../../two/tables/data.csv", "two/tables/data.csv"),
        ("${env:MINIDL_DATA}/later.csv", "one/later.csv"),
        ("not/there/yet.csv", "one/not/there/yet.csv"),
    ],
)
def test_paths_within_the_data_are_made_absolute(
    path: str, real: str, rules: SubmissionRules, place: Path
) -> None:
    config = CONFIG.replace(DATA, f"data: {{type: CSV, path: '{path}', target: b}}")
    checked = check_submission(config, rules)
    assert checked.config["data"]["path"] == str(place / real)
    assert checked.text == config


def test_without_data_roots_no_file_is_read() -> None:
    problem = problem_of(CONFIG.replace(DATA, "data: {type: MNIST, root: data}"), SubmissionRules())
    assert "started without --data-root" in problem.message
    assert check_submission(CONFIG, SubmissionRules()).kind == "training"


def test_what_is_not_there_and_what_is_not_allowed_read_the_same(
    rules: SubmissionRules, place: Path
) -> None:
    """A config is no way to find out which files a machine has."""
    told = {
        problem_of(
            CONFIG.replace(DATA, f"data: {{type: NPZ, path: {path}}}"), rules
        ).message.replace(str(path), "PATH")
        for path in (place / "secrets/passwd.csv", place / "secrets/nothing.csv")
    }
    assert len(told) == 1


# ---- the environment, includes, what is the service's --------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: /etc/passwd\n" + CONFIG, "`include` reads files, and this is a text"),
        ("include: [base.yaml]\n", "`include` reads files, and this is a text"),
        (CONFIG.replace("64", "'${env:SECRET}'"), "environment variable SECRET is not set"),
        (CONFIG.replace("64", "'${env:PATH}'"), "environment variable PATH is not set"),
        (CONFIG.replace("64", "'${file:/etc/passwd}'"), "what there is are ${env:NAME}"),
        (CONFIG.replace("64", "!!python/object/apply:os.system [id]"), "unknown tag"),
        (CONFIG.replace("64", "!!python/name:os.system ''"), "unknown tag"),
        (CONFIG.replace("MNISTSample", "os.system"), "`os.system`"),
        (CONFIG.replace("{type: Flatten}", "{type: minidl.nn.Flatten}"), "`minidl.nn.Flatten`"),
        (CONFIG.replace("{type: Flatten}", "{type: FunctionModule, function: print}"), "`Function"),
        ("- just\n- a list\n", "a config is a mapping of sections"),
        ("", "the file is empty"),
    ],
)
def test_refused_with_a_place(
    text: str, message: str, rules: SubmissionRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hush")
    problem = problem_of(text, rules)
    assert message in problem.message
    assert problem.line is not None
    assert "hush" not in str(problem)


def test_data_is_held_to_the_same(rules: SubmissionRules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hush")
    layers = [{"type": "Flatten"}, {"type": "Linear", "out_features": 10}]
    model = {"type": "Sequential", "layers": layers}
    good = {"data": {"type": "MNISTSample"}, "model": model, "optimizer": {"type": "SGD"}}
    assert check_submission(good, rules).config["trainer"]["epochs"] == 5
    for bad, message in [
        (good | {"data": {"type": "NPZ", "path": "/etc/passwd"}}, "lies outside"),
        (good | {"include": "/etc/passwd"}, "`include` has a meaning in a file only"),
        (good | {"seed": "${env:SECRET}"}, "SECRET is not set"),
    ]:
        problem = problem_of(bad, rules)
        assert message in problem.message
        assert "hush" not in str(problem)


def test_where_a_run_lies_and_is_tracked_is_the_services_word(rules: SubmissionRules) -> None:
    more = "trainer: {epochs: 2, run_root: /etc, name: ../../x}\ntracking: {uri: 'sqlite:////x.db'}"
    config = CONFIG.replace("trainer: {epochs: 2}", more)
    checked = check_submission(config, rules).config
    assert (checked["trainer"]["run_root"], checked["trainer"]["name"]) == ("runs", None)
    assert checked["tracking"]["uri"] == "http://mlflow:5000"
    untracked = check_submission(config, SubmissionRules())
    assert untracked.config["tracking"] is None


@pytest.mark.parametrize(
    "name", [name for name, path in shipped().items() if "\ninclude:" not in path.read_text()]
)
def test_every_shipped_config_is_taken(name: str, rules: SubmissionRules, place: Path) -> None:
    """They are what the page begins with."""
    text = shipped()[name].read_text()
    checked = check_submission(text, rules)
    assert checked.kind == ("sweep" if "\nsweep:" in text else "training")
    told = load_config(shipped()[name], environ={"MINIDL_DATA": str(place / "one")}).resolved()
    for section in ("model", "data", "optimizer", "schedule", "loss"):
        assert checked.config[section] == told[section]


# ---- sweeps --------------------------------------------------------------------------------------


def sweep(parameters: str, more: str = "") -> str:
    return f"{CONFIG}sweep:\n  parameters:\n    {parameters}\n{more}"


def test_a_sweep(rules: SubmissionRules) -> None:
    text = sweep("optimizer.lr: [1e-3, 1e-2]", "  storage: 'sqlite:////etc/x.db'\n  study: ../x\n")
    checked = check_submission(text, rules)
    assert checked.kind == "sweep"
    assert checked.config["sweep"]["parameters"] == {"optimizer.lr": [1e-3, 1e-2]}
    assert (checked.config["sweep"]["storage"], checked.config["sweep"]["study"]) == (None, None)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("data: [{type: MNISTSample}, {type: MNIST, root: /etc}]", '"/etc" lies outside'),
        ("data: [{type: NPZ, path: link/passwd.csv}]", "a path begins at the root"),
        ("trainer: [{epochs: 1, run_root: /etc}]", "where a run lies"),
        ("trainer: [{epochs: 1, name: x}]", "where a run lies"),
        ("trainer.run_root: [/etc]", "nothing that a sweep can vary"),
        ("tracking.uri: [x, y]", "nothing that a sweep can vary"),
        ("tracking: [{uri: x}]", "nothing that a sweep can vary"),
        ("optimizer.lrr: [1, 2]", "`lrr`"),
        (f"optimizer.lr: [{', '.join(f'{n}e-6' for n in range(1, MOST_VALUES + 2))}]", "at most"),
    ],
)
def test_what_a_sweep_may_not_try(parameters: str, message: str, rules: SubmissionRules) -> None:
    problem = problem_of(sweep(parameters), rules)
    assert message in problem.message
    assert problem.line is not None
    assert problem.line >= 6


def test_a_sweep_has_no_more_processes_than_jobs_may(rules: SubmissionRules) -> None:
    text = sweep("optimizer.lr: [1e-3, 1e-2]", "  jobs: 3\n")
    assert check_submission(text, rules).config["sweep"]["jobs"] == 1
    more = replace(rules, concurrency=8)
    assert check_submission(text, more).config["sweep"]["jobs"] == 3


# ---- overrides of a resume -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data={type: NPZ, path: /etc/passwd}", "the same data"),
        ("trainer={epochs: 3, run_root: /etc}", "the same data, in the same place"),
        ("trainer.run_root=/etc", "nothing that a resume can change"),
        ("+trainer.name=x", "nothing that a resume can change"),
        ("tracking.uri=http://evil", "nothing that a resume can change"),
        ("trainer.epochs=${env:SECRET}", "no meaning in an override"),
        ("optimizer.lrr=3", "`lrr`"),
        ("trainer.epochs", "needs a `=`"),
    ],
)
def test_overrides_that_are_refused(override: str, message: str, rules: SubmissionRules) -> None:
    with pytest.raises(ConfigError) as caught:
        check_overrides(CONFIG + "tracking: {}\n", [override], rules)
    assert message in str(caught.value)


def test_overrides_that_are_taken(rules: SubmissionRules) -> None:
    check_overrides(CONFIG, ["trainer.epochs=20", "optimizer.lr=1e-3"], rules)


# ---- bombs ---------------------------------------------------------------------------------------

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        (LAUGHS, "aliases make this more than"),
        (CONFIG.replace("64", "&a [*a]"), "contains itself"),
        ("[" * 5000, "nested deeper than"),
        ("{a: " * 5000, "nested deeper than"),
        ("- " * 5000, "nested deeper than"),
        ("x: [" + "1," * 20_000 + "]", "more than 10,000 values"),
        ("seed: " + "9" * 100_000 + "\n" + CONFIG, "64 bits"),
        ("seed: 0x" + "f" * 100_000 + "\n" + CONFIG, "64 bits"),
        ("# " + "x" * 1_000_001, "larger than 1,000,000 bytes"),
        (CONFIG.replace("Sequential", "S" * 500_000), "SSSSS"),
        (CONFIG + "\n".join(f"key{n}: 1" for n in range(4000)), "key0"),
        (CONFIG + "\x00", "U+0000"),
        (CONFIG.replace("64", '"\\ud800"'), "surrogate"),
        (b"\xff\xfe" + CONFIG.encode("utf-16-le"), "not UTF-8"),
        (CONFIG + "---\n" + CONFIG, "second document"),
        ("%YAML 9.9\n---\n" + CONFIG, ""),
    ],
)
def test_bombs_end_in_a_message_and_soon(
    bomb: str | bytes, message: str, rules: SubmissionRules
) -> None:
    begin = time.process_time()
    with pytest.raises(ConfigError) as caught:
        check_submission(bomb, rules)
    assert message in str(caught.value)
    assert time.process_time() - begin < 5
