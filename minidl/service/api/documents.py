"""The bodies of requests and answers, as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from minidl.service import records
from minidl.service.states import AttemptState, JobKind, JobState, Mode, Role, StopReason
from minidl.train.config.yaml_scalars import unsayable


def _sayable(text: str) -> str:
    if fault := unsayable(text):
        raise ValueError(fault)
    if not text.isprintable():
        raise ValueError("the text holds characters that cannot be printed")
    return text


#: A text that a database, a header and a line of a log can hold.
Text = Annotated[str, AfterValidator(_sayable)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$")]
LabelValue = Annotated[Text, Field(max_length=200)]
Priority = Annotated[int, Field(ge=-100, le=100)]
Timeout = Annotated[float, Field(gt=0, le=10**8, allow_inf_nan=False)]
Retries = Annotated[int, Field(ge=0, le=100)]
Ranks = Annotated[int, Field(ge=1, le=records.MAX_RANKS)]
JobId = Annotated[str, Field(pattern=r"^[0-9a-z]{16}$", examples=["01m8arq2hhd0r9vs"])]
#: Numbers that are no numbers are the strings "NaN", "Infinity" and "-Infinity".
Metrics = dict[str, float | str]


def rfc3339(seconds: float | datetime) -> str:
    """Return a time as RFC 3339 has it, in UTC with milliseconds.

    Examples
    --------
    >>> rfc3339(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    moment = seconds if isinstance(seconds, datetime) else datetime.fromtimestamp(seconds, UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    float,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Document(BaseModel):
    """A body; unknown keys are refused where it is a request's."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, from_attributes=True)


class Problem(Document):
    """A mistake in a config. Lines and columns count from 1; null where the config is no text."""

    line: int | None
    column: int | None
    message: str
    suggestion: str | None = None
    file: str


class Refusal(BaseModel):
    """What was wrong."""

    detail: str


class ConfigRefusal(Refusal):
    """What was wrong with a config."""

    problems: list[Problem] = []


EXAMPLE_CONFIG = """\
data: {type: MNISTSample, batch_size: 64}
model:
  type: Sequential
  layers: [{type: Flatten}, {type: Linear, out_features: 10}]
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 2}
"""


class SubmissionDocument(Document):
    """A job to be run."""

    config: Annotated[str, Field(max_length=1_000_000)] | dict[str, Any] = Field(
        examples=[EXAMPLE_CONFIG]
    )
    """YAML text, or the same as JSON. With `sweep: {parameters: …}` the job is a sweep."""
    name: Name | None = None
    """What people call it."""
    labels: Annotated[dict[Label, LabelValue], Field(max_length=32)] = {}
    """For finding it again."""
    priority: Priority = 0
    """Jobs of higher priority start first."""
    timeout: Timeout | None = None
    """Seconds of running time, over all attempts."""
    max_retries: Retries = 0
    """How often an attempt that failed is followed by another; interruptions cost nothing."""
    ranks: Ranks = Field(default=1, examples=[2])
    """Processes that train together, each on its share of every batch (data-parallel, MPI)."""


class ValidDocument(Document):
    """A config that would be taken."""

    valid: bool = True
    kind: JobKind
    config: dict[str, Any]
    """With all defaults filled in."""


class ResumeDocument(Document):
    """How a run is to go on."""

    overrides: Annotated[list[Annotated[Text, Field(max_length=2000)]], Field(max_length=32)] = (
        Field(default=[], examples=[["trainer.epochs=20"]])
    )
    """Changes to its config."""


class JobDocument(Document):
    """A job. Its config has an address of its own."""

    id: JobId
    kind: JobKind
    name: str | None
    owner: str
    state: JobState
    stop_reason: StopReason | None
    """Why its attempt was told to stop."""
    error: str | None
    """What went wrong last."""
    labels: dict[str, str]
    priority: int
    timeout: float | None
    max_retries: int
    ranks: int
    """Processes of an attempt that train together."""
    retries_used: int
    idle_interruptions: int
    """Interruptions in a row without a new step."""
    created_at: Time
    queued_at: Time
    started_at: Time | None
    ended_at: Time | None
    attempts: int
    run_seconds: float
    executor: str | None
    progress: dict[str, Any]
    """epoch, epochs, step, total_steps and the metrics of the last point."""
    result: dict[str, Any]
    """What the run's summary says."""
    mlflow: dict[str, Any] | None
    """run_id, experiment_id and url."""
    mode: Mode
    """How the next attempt begins."""
    overrides: list[str]
    not_before: Time | None
    """The next attempt waits until then."""
    files_removed_at: Time | None
    """When retention removed its files."""
    queue_position: int | None = None
    """Its place among those that wait, from 1."""

    @classmethod
    def of(cls, job: records.Job, position: int | None = None) -> JobDocument:
        """Return the document of a record."""
        fields = {name: getattr(job, name) for name in _JOB_FIELDS}
        plain = {"labels": dict(job.labels), "progress": strict(job.progress)}
        plain |= {"result": strict(job.result), "overrides": list(job.overrides)}
        plain["mlflow"] = None if job.mlflow is None else strict(job.mlflow)
        return cls(**(fields | plain), queue_position=position)


_JOB_FIELDS = [name for name in JobDocument.model_fields if name != "queue_position"]


class JobsDocument(Document):
    """A page of jobs, newest first."""

    jobs: list[JobDocument]
    next_cursor: str | None
    """Asks for the next page; null where this is the last."""


class AttemptDocument(Document):
    """One try at a job."""

    number: int
    state: AttemptState
    executor: str
    host: str
    mode: Mode
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    exit_status: int | None
    """Of its process; negative for a signal."""
    cause: str | None
    error: str | None
    first_step: int | None
    last_step: int | None


class AttemptsDocument(Document):
    """All attempts of a job."""

    attempts: list[AttemptDocument]


class EventDocument(Document):
    """Something that happened to a job, or that someone did."""

    id: int
    at: Time
    kind: str
    actor: str
    job_id: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, event: records.Event) -> EventDocument:
        """Return the document of a record."""
        fields = {name: getattr(event, name) for name in cls.model_fields}
        return cls(**(fields | {"data": strict(event.data)}))


class EventsDocument(Document):
    """Events in the order in which they came."""

    events: list[EventDocument]


class Point(Document):
    """What was measured at a step."""

    step: int
    epoch: int
    time: Time
    metrics: Metrics


class PointsDocument(Document):
    """Points of a run's curves."""

    points: list[Point]
    next: int
    """Asks for those that come after, as `after`."""
    complete: bool
    """Whether these are all there are now."""
    reset: bool = False
    """The run has begun anew, and these are its first points."""


class FileDocument(Document):
    """A file of a run."""

    path: str
    size: int
    modified: Time


class FilesDocument(Document):
    """The files of a run."""

    files: list[FileDocument]
    complete: bool = True
    """False where there are more than are listed."""


class ConfusionDocument(Document):
    """How often samples of a class (rows) were taken for each class (columns)."""

    classes: list[str]
    matrix: list[list[int]]


class ShippedConfig(Document):
    """A config that comes with minidl."""

    name: str
    title: str


class ShippedConfigs(Document):
    """The configs that come with minidl."""

    configs: list[ShippedConfig]


class TokenRequest(Document):
    """A token to be made."""

    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}$", examples=["ada"])]
    role: Role = Role.SUBMIT
    label: Annotated[Text, Field(max_length=200)] | None = None
    ttl: Timeout | None = None
    """Seconds until it expires; null: never."""


class TokenDocument(Document):
    """A token, without its text."""

    id: str
    user: str
    role: Role
    label: str | None
    created_at: Time
    created_by: str
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None


class NewTokenDocument(Document):
    """A token that was made. Its text is told this once."""

    token: str
    record: TokenDocument


class TokensDocument(Document):
    """All tokens."""

    tokens: list[TokenDocument]


class Me(Document):
    """Who asks."""

    user: str
    role: Role
    token_id: str
    expires_at: Time | None


class SessionRequest(Document):
    """A token, to be kept in a cookie."""

    token: Annotated[str, Field(max_length=200)]


def strict(value: Any) -> Any:
    """Return plain data that JSON has a form for: numbers that are none become text."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): strict(child) for key, child in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [strict(child) for child in value]
    return value
