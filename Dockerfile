# Two images of minidl: `trainer` (what a plain build gives) runs one training, `service` a queue of
# them. docs/container.md is about both. Build arguments:
#
#   PYTHON_IMAGE    the base, with Python 3.11 to 3.13 (default python:3.13-slim)
#   EXTRAS          of the trainer; without `fast` it has no compiled kernels, and half the size
#   SERVICE_EXTRAS  what the service has beyond those
#   DATA            `mnist` puts MNIST into /data, fetched by torchvision (default: none)
#   VERSION         for the labels; where given, the wheel must have it
#   REVISION        for the labels: the commit
#   PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST, PIP_TIMEOUT   where packages come from
#
# Only what podman 4 and Docker 20 with BuildKit both know is used here.
ARG PYTHON_IMAGE=python:3.13-slim

# ---- the wheel, once for both images ------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS wheel
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_TIMEOUT
ARG VERSION
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel . \
    && ls /wheel/minidl-${VERSION:-*}-py3-none-any.whl

# ---- the trainer's virtual environment, without pip ---------------------------------------------
FROM ${PYTHON_IMAGE} AS trainer-environment
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_TIMEOUT
ARG EXTRAS=tracking,fast
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
ENV PATH=/opt/minidl/bin:$PATH MLFLOW_DISABLE_TELEMETRY=true
RUN python3 -m venv --without-pip /opt/minidl
# What is depended on comes before the sources, so that a change of these does not install it anew:
# of minidl only its name is needed. dumb-init is to be process 1: it hands signals on, and reaps.
WORKDIR /dependencies
COPY pyproject.toml constraints.txt ./
RUN mkdir minidl configs && touch minidl/__init__.py README.md LICENSE \
    && pip --python /opt/minidl/bin/python install --no-compile -c constraints.txt \
        ".[${EXTRAS}]" dumb-init==1.2.5.post1 \
    && pip --python /opt/minidl/bin/python uninstall --yes minidl \
    && rm -r minidl \
    && find /opt/minidl -type d -name tests -prune -exec rm -r {} +
COPY --from=wheel /wheel /wheel
# What is imported is compiled by importing it, and by training for a step: Python's own byte code of
# the rest is half as large again. Kernels lie beside the code, where any user finds them.
RUN pip --python /opt/minidl/bin/python install --no-deps /wheel/*.whl \
    && mkdir /tmp/step && cd /tmp/step \
    && minidl config init --like quickstart \
    && minidl train config.yaml tracking=null schedule=null trainer.epochs=null trainer.max_steps=1 \
    && { ! python -c 'import mlflow' || python -c \
        'import mlflow.artifacts, mlflow.pyfunc, minidl.train.tracking.child, minidl.train.tracking.flavor'; } \
    && { ! python -c 'import numba' || minidl warmup; } \
    && rm -r /tmp/step

# ---- the service's ------------------------------------------------------------------------------
FROM trainer-environment AS service-environment
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_TIMEOUT
ARG SERVICE_EXTRAS=service,plot,sweep
RUN pip --python /opt/minidl/bin/python install --no-compile -c constraints.txt \
        "$(ls /wheel/*.whl)[${SERVICE_EXTRAS}]" \
    && find /opt/minidl -type d -name tests -prune -exec rm -r {} + \
    && python -c 'import minidl.service.api.app, minidl.service.store, minidl.serving.server, matplotlib.pyplot'

# ---- data, if wanted: the files alone leave this stage -------------------------------------------
FROM ${PYTHON_IMAGE} AS data
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_TIMEOUT
ARG DATA=none
COPY --from=wheel /wheel /wheel
RUN mkdir /data \
    && case ${DATA} in \
    none) ;; \
    mnist) \
        python3 -m venv /fetch \
        && /fetch/bin/pip install --no-cache-dir "$(ls /wheel/*.whl)[torchvision]" \
        && /fetch/bin/minidl data fetch mnist --root /data ;; \
    *) echo "DATA is none or mnist, not ${DATA}" >&2; exit 2 ;; \
    esac

# ---- what both images run in --------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS runtime
# Any user may be given (docker run --user), also one that no file knows: what is written at all goes
# to the volumes, or to /tmp, which is the home that a user without a name has.
ENV PATH=/opt/minidl/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    MINIDL_DATA=/data \
    MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=data /data /data
# Built before the labels with their arguments: podman 4 looks at the arguments of RUN alone when it
# decides whether what it has built before will do.
ARG VERSION=unknown
ARG REVISION=unknown
RUN mkdir /runs && chmod 1777 /data /runs && echo "minidl ${VERSION} ${REVISION}"
LABEL org.opencontainers.image.title="minidl" \
      org.opencontainers.image.description="Trainings of small neural networks from YAML files" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
VOLUME /data /runs
# Relative paths of configs are below the root: `runs`, where trainings go, is the volume.
WORKDIR /
USER 10001:0
# The first process: signals reach minidl at once, and processes that nobody waits for are reaped.
ENTRYPOINT ["/opt/minidl/bin/dumb-init", "--single-child", "--", "minidl"]

FROM runtime AS service
COPY --from=service-environment /opt/minidl /opt/minidl
# For the health check, and for commands that are run in the container: docker exec … minidl jobs
ENV MINIDL_SERVICE_URL=http://127.0.0.1:8080
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(os.environ['MINIDL_SERVICE_URL'] + '/healthz', timeout=8)"]
CMD ["service", "--data", "/runs/service", "--host", "0.0.0.0"]

FROM runtime AS trainer
COPY --from=trainer-environment /opt/minidl /opt/minidl
CMD ["--help"]
