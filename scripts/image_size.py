"""What a container image of minidl consists of, as a table in Markdown.

    python scripts/image_size.py minidl:latest            # ENGINE=podman or docker

The sizes are those of the files as they lie in the image. Python's byte code counts with the
distribution that its source belongs to; outside the virtual environment is the base image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

#: Runs in the image: bytes and requirements of each distribution, and of the kept kernels.
INSIDE = r"""
import importlib.metadata as metadata, json, os, re, sys

top = os.path.join(sys.prefix, "lib", f"python3.{sys.version_info[1]}", "site-packages")
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
owner, needs = {}, {}
for found in metadata.distributions(path=[top]):
    name = plain(found.metadata["Name"])
    owner |= {os.path.normpath(os.path.join(top, file)): name for file in found.files or ()}
    required = [text for text in found.requires or () if "extra ==" not in text]
    needs[name] = [plain(re.match(r"[\w.-]+", text)[0]) for text in required]
sizes = {}
for folder, _, files in os.walk(sys.prefix):
    for file in files:
        path = os.path.join(folder, file)
        source = os.path.join(os.path.dirname(folder), file.split(".")[0] + ".py")
        name = owner.get(path) or owner.get(source, "virtual environment")
        if file.endswith((".nbi", ".nbc")):
            name = "kept kernels"
        sizes[name] = sizes.get(name, 0) + os.lstat(path).st_size
print(json.dumps({"sizes": sizes, "needs": needs}))
"""
KERNELS = ("numba", "llvmlite", "kept kernels")


def ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])}: {done.stderr.strip()}")
    return done.stdout


def closure(names: list[str], needs: dict[str, list[str]]) -> set[str]:
    """Return the distributions that are needed by some, with these."""
    reached: set[str] = set()
    while names:
        name = names.pop()
        if name in needs and name not in reached:
            reached.add(name)
            names += needs[name]
    return reached


def rows(engine: str, image: str) -> list[tuple[str, int]]:
    """Return what the image consists of, and how many bytes each part has."""
    total = int(ask(engine, "image", "inspect", "--format", "{{.Size}}", image))
    told = json.loads(ask(engine, "run", "--rm", "--entrypoint", "python", image, "-c", INSIDE))
    left, needs = dict(told["sizes"]), told["needs"]
    parts = [("base image: Python, Debian", total - sum(left.values()))]

    def take(label: str, names: set[str]) -> None:
        size = sum(left.pop(name, 0) for name in names)
        if size:
            parts.append((label, size))

    kernels = sum(left.pop(name, 0) for name in KERNELS)
    take("NumPy with OpenBLAS", {"numpy"})
    take("minidl, with its configs and sample of MNIST", {"minidl"})
    take("what it needs: pydantic, typer, rich, safetensors, PyYAML", closure(["minidl"], needs))
    take("pandas, which MLflow's models import", {"pandas", "python-dateutil", "six"})
    take("MLflow's client and what it needs", closure(["mlflow-skinny"], needs))
    take("SciPy, scikit-learn", {"scipy", "scikit-learn"})
    take("matplotlib, Pillow", {"matplotlib", "pillow", "fonttools", "contourpy", "kiwisolver"})
    take("everything else", set(left))
    parts.append(("without compiled kernels", sum(size for _, size in parts)))
    parts.append(("compiled kernels: numba, LLVM, the kernels kept", kernels))
    parts.append(("image", total))
    return parts


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    engine = os.environ.get("ENGINE") or next(filter(shutil.which, ("podman", "docker")), "docker")
    print("| part | MB |\n| --- | ---: |")
    for label, size in rows(engine, sys.argv[1]):
        print(f"| {label} | {size / 1e6:.1f} |")


if __name__ == "__main__":
    main()
