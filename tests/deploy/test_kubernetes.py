"""The manifests are what Kubernetes knows, hang together, and do what they say.

Each is held against the schemas of the oldest and the newest version that they are meant for, which
a package brings along: no cluster is asked. Kustomize puts them together where there is a kubectl.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from guide_shell import are_shown, steps_of

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed (extra dev)"
)

ROOT = Path(__file__).parents[2] / "deploy/kubernetes"
FOLDERS = ["service", "service-with-mlflow", "training"]
VERSIONS = ["1.31", "1.37"]
Manifest = dict[str, Any]


def manifests(folder: str) -> list[Manifest]:
    """Return what a kustomization lists, as it stands in the files."""
    names = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text())["resources"]
    found: list[Manifest] = []
    for name in names:
        place = ROOT / folder / name
        found += manifests(str(place)) if place.is_dir() else [yaml.safe_load(place.read_text())]
    return found


def put_together(folder: str) -> list[Manifest]:
    """Return what kubectl would send to the cluster."""
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("kubectl, which has Kustomize in it, is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", str(ROOT / folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def is_right(manifest: Manifest) -> None:
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def of_kind(found: list[Manifest], kind: str) -> Manifest:
    (one,) = [manifest for manifest in found if manifest["kind"] == kind]
    return one


@pytest.mark.parametrize("read", [manifests, put_together])
@pytest.mark.parametrize("folder", FOLDERS)
def test_each_is_what_kubernetes_knows(folder: str, read: Callable[[str], list[Manifest]]) -> None:
    found = read(folder)
    assert len(found) >= 2
    for manifest in found:
        is_right(manifest)


def put(manifest: Manifest, path: str, value: Any) -> Manifest:
    """Return a copy with a value at a path, ``spec.template.spec.containers.0.image``."""
    changed = copy.deepcopy(manifest)
    place: Any = changed
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    place[last] = value
    return changed


POD = "spec.template.spec"
WRONG = [
    ("service", "Deployment", f"{POD}.securityContext.runAsNotRoot", True),
    ("service", "Deployment", f"{POD}.containers.0.readinessProbe.httpGet.port", 8.5),
    ("service", "Deployment", f"{POD}.containers.0.securityContext.capabilities.drop", "ALL"),
    ("service", "Deployment", f"{POD}.terminationGracePeriodSeconds", "90s"),
    ("service", "Deployment", "spec.selector", "minidl"),
    ("service", "PersistentVolumeClaim", "spec.accessModes", "ReadWriteOnce"),
    ("service", "NetworkPolicy", "spec.ingress.0.ports.0.name", "http"),
    ("service", "Service", "spec.ports.0.port", "http"),
    ("training", "Job", "spec.podFailurePolicy.rules.0.action", 1),
    ("training", "Job", "spec.podFailurePolicy.rules.0.onExitCodes.values", ["75"]),
    ("training", "Job", f"{POD}.restart", "Never"),
]


@pytest.mark.parametrize(("folder", "kind", "path", "value"), WRONG)
def test_a_wrong_one_is_found(folder: str, kind: str, path: str, value: Any) -> None:
    right = of_kind(manifests(folder), kind)
    is_right(right)
    with pytest.raises(kubernetes_validate.ValidationError):
        is_right(put(right, path, value))


def test_a_kind_that_is_none() -> None:
    job = of_kind(manifests("training"), "Job")
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        is_right(job | {"apiVersion": "batch/v2"})


@pytest.mark.parametrize(("folder", "kind"), [("service", "Deployment"), ("training", "Job")])
class TestPods:
    """What schemas don't say: names that must meet, and what a pod may not."""

    @pytest.fixture
    def pod(self, folder: str, kind: str) -> Manifest:
        pod: Manifest = of_kind(manifests(folder), kind)["spec"]["template"]["spec"]
        return pod

    def test_volumes(self, folder: str, pod: Manifest) -> None:
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert set(mounted) == set(volumes)
        claim = of_kind(manifests(folder), "PersistentVolumeClaim")["metadata"]["name"]
        assert mounted["runs"] == "/runs"
        assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == claim
        # The root is read-only: what is not a volume cannot be written.
        assert mounted["temporary"] == "/tmp"

    def test_rights(self, folder: str, pod: Manifest) -> None:
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    def test_labels(self, folder: str, pod: Manifest, kind: str) -> None:
        workload = of_kind(manifests(folder), kind)
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert labels == workload["metadata"]["labels"]
        for other in manifests(folder):
            spec = other.get("spec", {})
            wanted = spec.get("podSelector", spec.get("selector", labels))
            assert wanted.get("matchLabels", wanted) == labels


def test_the_service_is_reached_and_ends_in_time() -> None:
    found = manifests("service")
    pod = of_kind(found, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert of_kind(found, "Service")["spec"]["ports"][0]["targetPort"] == "http"
    (rule,) = of_kind(found, "NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
    (grace,) = [text for text in container["args"] if text.startswith("--grace=")]
    assert pod["terminationGracePeriodSeconds"] > float(grace.removeprefix("--grace="))


def test_options_are_those_of_the_command() -> None:
    from typer.main import get_command

    from minidl.cli import app

    known = {
        option
        for parameter in get_command(app).commands["service"].params  # type: ignore[attr-defined]
        for option in parameter.opts
    }
    for folder in ("service", "service-with-mlflow"):
        deployment = of_kind(put_together(folder), "Deployment")
        verb, *options = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert verb == "service"
        assert {option.partition("=")[0] for option in options} <= known


def test_the_overlay_tells_the_service_of_mlflow() -> None:
    found = put_together("service-with-mlflow")
    args = of_kind(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--mlflow-uri=http://mlflow.mlflow:5000" in args
    ports = [rule["ports"][0]["port"] for rule in of_kind(found, "NetworkPolicy")["spec"]["egress"]]
    assert ports == [53, 5000]


def test_the_training_of_the_example_is_one(tmp_path: Path) -> None:
    from minidl.train.config import load_config

    config = load_config(ROOT / "training/config.yaml")
    assert config.trainer.epochs == 5


def test_the_page_shows_what_comes_out(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which has Kustomize in it, is not installed")
    page = (ROOT.parents[1] / "docs/deploy.md").read_text(encoding="utf-8")
    steps = steps_of(page.partition("## Kubernetes")[2])
    assert len(steps) == 2
    for line, shown in steps:
        done = subprocess.run(
            ["bash", "-c", line], cwd=ROOT.parents[1], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        are_shown(shown, done.stdout.splitlines(), tmp_path, line)
