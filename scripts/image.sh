#!/usr/bin/env bash
# Builds an image of minidl, with its version and commit in the labels:
#
#     scripts/image.sh trainer|service [TAG]      # TAG is minidl:trainer or minidl:service
#
# ENGINE=podman|docker             by default the one that is there
# BUILD_OPTS='--build-arg …'       more options for the build: docs/container.md has the arguments
# PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST   go on to the build, where they are set
# MINIDL_BUILD_IMAGE=PROGRAM       CONTEXT TAG [ARG...]: what builds in place of the engine, for a
#                                  machine that needs more than a plain build does
set -euo pipefail
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${1:-}
case $target in trainer | service) ;; *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;; esac
tag=${2:-minidl:$target}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")
commit=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
options=(--target "$target" --build-arg "VERSION=$version" --build-arg "REVISION=$commit")
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PYTHON_IMAGE; do
    [ -z "${!name:-}" ] || options+=(--build-arg "$name=${!name}")
done

if [ -n "${MINIDL_BUILD_IMAGE:-}" ]; then
    BASES=${PYTHON_IMAGE:-python:3.13-slim} BUILD_OPTS="${options[*]} ${BUILD_OPTS:-}" \
        bash "$MINIDL_BUILD_IMAGE" "$root" "$tag" --version
    exit
fi
engine=${ENGINE:-$(command -v podman >/dev/null && echo podman || echo docker)}
# podman: an image of OCI's own format has no health check.
[ "${engine##*/}" != podman ] || options+=(--format docker)
# shellcheck disable=SC2086  # several options
DOCKER_BUILDKIT=1 "$engine" build "${options[@]}" ${BUILD_OPTS:-} --tag "$tag" "$root"
