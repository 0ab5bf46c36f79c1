"""The routes: what they answer, what they refuse, what they count."""

from __future__ import annotations

import asyncio
import io
import json
import re
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from minidl import __version__
from minidl.data import MNISTSample, read_image
from minidl.serving.answering import Settings
from minidl.serving.app import create_app
from minidl.serving.served_model import ServedModel

Open = Callable[..., TestClient]
Served = Callable[[str], ServedModel]

JSON = {"Content-Type": "application/json"}
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/predict",
    "raw_path": b"/predict",
    "query_string": b"",
    "root_path": "",
    "scheme": "http",
}


def digits(count: int) -> Any:
    return MNISTSample().test.inputs[:count]


def png(pixels: Any, kind: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


# ---- answers -------------------------------------------------------------------------------------


def test_predictions_of_classes(client: Open, served: Served) -> None:
    images = digits(7)
    answer = client().post("/predict", json={"inputs": images.tolist()})
    assert answer.status_code == 200
    found = answer.json()["predictions"]
    expected = served("digits").predictor.probabilities(images)
    for prediction, row in zip(found, expected, strict=True):
        assert prediction["class"] == str(row.argmax())
        assert list(prediction["probabilities"]) == list("0123456789")
        assert list(prediction["probabilities"].values()) == row.tolist()


def test_one_sample_with_and_without_its_channel(client: Open) -> None:
    image = digits(1)[0]
    server = client()
    answers = [
        server.post("/predict", json={"inputs": value.tolist()}).json()
        for value in (image, image[0], image[None])
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]["predictions"]) == 1


@pytest.mark.parametrize("name", ["digits", "numbers", "kinds", "pixels", "floats"])
def test_every_task_answers_its_example(client: Open, served: Served, name: str) -> None:
    server, model = client(name), served(name)
    example = server.get("/example").json()
    samples = np.array(example["inputs"], model.predictor.dtype)
    expected = model.predictor.answers(samples)
    arrays = server.post("/invocations", json=example)
    np.testing.assert_array_equal(np.array(arrays.json()["predictions"]), expected)
    (prediction,) = server.post("/predict", json=example).json()["predictions"]
    if model.predictor.task == "Classification":
        assert set(prediction) == {"class", "probabilities"}
        assert prediction["class"] in model.predictor.classes
    else:
        np.testing.assert_array_equal(np.array(prediction["values"]), expected[0])
    signature = server.get("/signature").json()
    assert signature["inputs"]["shape"] == [None, *samples.shape[1:]]
    assert signature["outputs"]["shape"] == [None, *expected.shape[1:]]


def test_invocations_under_either_key(client: Open) -> None:
    server, images = client(), digits(3).tolist()
    one, other = (server.post("/invocations", json={k: images}) for k in ("inputs", "instances"))
    assert one.json() == other.json()
    assert np.array(one.json()["predictions"]).shape == (3, 10)
    assert server.post("/predict", json={"instances": images}).status_code == 422


def test_the_signature(client: Open, runs: Callable[[str], Path]) -> None:
    import hashlib

    found = client().get("/signature").json()
    assert found["task"] == "Classification"
    assert found["inputs"] == {
        "shape": [None, 1, 28, 28],
        "dtype": "uint8",
        "minimum": 0,
        "maximum": 255,
    }
    assert found["classes"] == list("0123456789")
    weights = (runs("digits") / "model/model.safetensors").read_bytes()
    assert found["model"] == {
        "run": "digits",
        "type": "Sequential",
        "parameters": 7850,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def test_health_and_version(client: Open) -> None:
    server = client()
    assert server.get("/healthz").json() == server.get("/ping").json() == {"status": "ok"}
    assert server.get("/readyz").json() == {"status": "ready"}
    assert server.get("/version").json() == {"minidl": __version__}


# ---- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("shape", [(28, 28), (40, 31), (40, 31, 3)])
def test_a_picture_is_read_as_predict_reads_it(
    client: Open, served: Served, tmp_path: Path, kind: str, shape: tuple[int, ...]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = png(pixels, kind)
    path = tmp_path / f"picture.{kind.lower()}"
    path.write_bytes(content)
    sample = read_image(path, sample_shape=(1, 28, 28))[None]
    predictor = served("digits").predictor
    expected = dict(zip("0123456789", predictor.probabilities(sample)[0].tolist(), strict=True))
    server = client()
    raw = server.post(
        "/predict/image", content=content, headers={"Content-Type": f"image/{kind.lower()}"}
    )
    # Whatever the client says of the file's name and type: its bytes decide.
    form = server.post("/predict/image", files={"image": ("x.txt", content, "text/plain")})
    for answer in (raw, form):
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"][0]["probabilities"] == expected


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that decodes to width x height pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000) * 1000, 9)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (bomb(5000, 5000), "image/png", 422, "5000 x 5000 pixels, the limit is 16000000"),
        (bomb(12_000, 12_000), "image/png", 422, "decompression bomb"),
        (bomb(60_000, 60_000), "image/png", 422, "decompression bomb"),
        (png(np.zeros((9, 9), np.uint8))[:-30], "image/png", 422, "readable picture"),
        (png(np.zeros((9, 9), np.uint8))[:20], "image/png", 422, "readable picture"),
        (png(np.zeros((9, 9), np.uint16)), "image/png", 422, "8 bits a channel"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "image/jpeg", 422, "readable picture"),
        (png(np.zeros((9, 9), np.uint8), "GIF"), "image/png", 415, "neither PNG nor JPEG"),
        (b"", "image/png", 415, "neither PNG nor JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "image/png", 415, "neither PNG nor JPEG"),
        (png(np.zeros((9, 9), np.uint8)), "image/gif", 415, "got image/gif"),
        (png(np.zeros((9, 9), np.uint8)), "", 415, "got none"),
    ],
)
def test_pictures_that_are_none(
    client: Open, content: bytes, kind: str, status: int, words: str
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = client().post("/predict/image", content=content, headers=headers)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert "BytesIO" not in answer.text


def test_forms_that_carry_no_picture(client: Open) -> None:
    server = client()
    picture = png(digits(1)[0][0])
    several = [("a", ("a.png", picture)), ("b", ("b.png", picture))]
    for how, status in (
        ({"data": {"image": "seven"}, "files": {}}, 415),  # not multipart
        ({"files": several}, 400),
        ({"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"junk", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
        ({"files": {"image": ("a.png", b"")}}, 415),
    ):
        answer = server.post("/predict/image", **how)
        assert answer.status_code == status, (how, answer.text)


def test_models_that_take_no_pictures_have_no_such_route(client: Open) -> None:
    assert client("numbers").post("/predict/image").status_code == 404
    assert "/predict/image" not in client("floats").get("/openapi.json").json()["paths"]


# ---- refusals ------------------------------------------------------------------------------------


def test_what_is_wrong_is_told(client: Open) -> None:
    images = digits(3).tolist()
    images[2][0][5][6] = 300
    answer = client().post("/predict", json={"inputs": images})
    assert answer.status_code == 422
    assert answer.json() == {
        "detail": "sample 2 has 300 at [0, 5, 6]; wanted is a whole number from 0 to 255",
        "expected": {"shape": [None, 1, 28, 28], "dtype": "uint8"},
        "sample": 2,
    }
    answer = client().post("/predict", json={"inputs": [[[0] * 27] * 28]})
    assert answer.json()["given"] == {"shape": [1, 28, 27]}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_bodies_of_other_types(client: Open, path: str, kind: str) -> None:
    answer = client().post(path, content=b'{"inputs": []}', headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_that_are_too_large(client: Open, announced: bool) -> None:
    server = client(settings=Settings(max_body=1000))
    read = 0

    def chunks() -> Any:
        nonlocal read
        for _ in range(200):
            read += 100
            yield b" " * 100

    for path, kind in (
        ("/predict", "application/json"),
        ("/predict/image", "image/png"),
        ("/predict/image", "multipart/form-data; boundary=x"),
    ):
        content: Any = b" " * 1001 if announced else chunks()
        answer = server.post(path, content=content, headers={"Content-Type": kind})
        assert answer.status_code == 413, (path, answer.text)
        assert "the limit is 1000 bytes" in answer.json()["detail"]
    fits = b'{"inputs": [' + b" " * 986 + b"]}"
    assert len(fits) == 1000
    assert server.post("/predict", content=fits, headers=JSON).status_code == 422


def test_a_lie_about_the_length_is_found(served: Served) -> None:
    """What is counted is what arrives, whatever was announced."""
    app = create_app(served("digits"), Settings(max_body=1000))
    sent: list[Any] = []
    given = 0

    async def receive() -> Any:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b" " * 400, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"10")]
    asyncio.run(app({**SCOPE, "headers": headers}, receive, send))
    assert sent[0]["status"] == 413
    assert given == 3  # and no more was read


def test_answers_that_are_not_finite(client: Open, served: Served) -> None:
    server = client("floats")
    fine = server.get("/example").json()["inputs"][0]
    huge = (np.array(fine) + 3e38).tolist()
    answer = server.post("/predict", json={"inputs": [fine, huge]})
    assert (answer.status_code, answer.json()["sample"]) == (422, 1)
    assert "answer to sample 1 is not finite" in answer.json()["detail"]


def test_a_full_queue_is_told(client: Open, served: Served) -> None:
    server = client("kinds", Settings(max_queue=3))
    answer = server.post("/predict", json={"inputs": [[1, 2]] * 4})
    assert answer.status_code == 422  # it never could be taken
    assert "4 samples in one request; at most 3" in answer.json()["detail"]


def test_a_model_that_fails(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served("kinds")

    def fail(samples: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(model.predictor, "answers", fail)
    with TestClient(create_app(model), raise_server_exceptions=False) as server:
        answer = server.post("/predict", json={"inputs": [[1, 2]]})
        assert answer.status_code == 500
        assert answer.json() == {"detail": "the model failed; the server's log says why"}
        assert 'route="/predict",status="500"} 1.0' in server.get("/metrics").text


# ---- many at once --------------------------------------------------------------------------------


def together(model: ServedModel, settings: Settings, *requests: dict[str, Any]) -> list[Any]:
    """Send requests at the same time; return the answers."""

    async def all_of_them() -> list[Any]:
        app = create_app(model, settings)
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                answers = await asyncio.gather(
                    *(client.post("/invocations", json=request) for request in requests)
                )
                return [*answers, await client.get("/metrics")]

    return asyncio.run(all_of_them())


def test_64_at_once_get_the_answers_that_each_gets_alone(served: Served) -> None:
    model, images = served("digits"), digits(64)
    requests = [{"inputs": [image.tolist()]} for image in images]
    requests[10] = {"inputs": [[[300] * 28] * 28]}
    requests[20] = {"inputs": "nonsense"}
    *answers, metrics = together(model, Settings(max_batch=16, max_wait=0.2), *requests)
    for i, (answer, image) in enumerate(zip(answers, images, strict=True)):
        if i in (10, 20):
            assert answer.status_code == 422
            continue
        alone = model.predictor.probabilities(image[None])
        found = np.array(answer.json()["predictions"])
        assert found.shape == alone.shape
        np.testing.assert_allclose(found, alone, atol=1e-6)
    assert "minidl_batch_samples_sum 62.0" in metrics.text
    (batches,) = re.findall(r"minidl_batch_samples_count (\d+)", metrics.text)
    assert 4 <= int(batches) <= 8  # 62 samples by 16, the last ones after a wait


def test_beyond_the_queue_requests_are_refused_and_told_when_to_return(served: Served) -> None:
    requests = [{"inputs": [[1, 2]] * 3}] * 12
    *answers, _ = together(
        served("kinds"), Settings(max_queue=6, max_batch=100, max_wait=0.5), *requests
    )
    codes = sorted(answer.status_code for answer in answers)
    assert set(codes) == {200, 503}
    assert codes.count(200) >= 2
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "1"
            assert "try again later" in answer.json()["detail"]


def test_who_has_gone_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that closes while its request is in the queue: the model is not asked."""
    model = served("kinds")
    answers, go_on, asked = model.predictor.answers, threading.Event(), []

    def slow(samples: Any) -> Any:
        asked.append(len(samples))
        assert go_on.wait(30)
        return answers(samples)

    monkeypatch.setattr(model.predictor, "answers", slow)

    async def ask(app: Any, rows: int, gone: asyncio.Event) -> int | None:
        messages = [
            {"type": "http.request", "body": json.dumps({"inputs": [[1, 2]] * rows}).encode()}
        ]
        status: list[int] = []

        async def receive() -> Any:
            if not messages:
                await gone.wait()
                return {"type": "http.disconnect"}
            return messages.pop()

        async def send(message: Any) -> None:
            status.append(message.get("status", 0))

        await app({**SCOPE, "headers": [(b"content-type", b"application/json")]}, receive, send)
        return status[0]

    async def both() -> tuple[int | None, int | None]:
        app = create_app(model)
        async with app.router.lifespan_context(app):
            stays, goes = asyncio.Event(), asyncio.Event()
            first = asyncio.create_task(ask(app, 1, stays))
            while not asked:
                await asyncio.sleep(0.01)
            second = asyncio.create_task(ask(app, 5, goes))
            await asyncio.sleep(0.01)
            goes.set()
            status = await asyncio.wait_for(second, 30)
            go_on.set()
            return await first, status

    assert asyncio.run(both()) == (200, 499)
    assert asked == [1]


# ---- descriptions --------------------------------------------------------------------------------


def test_metrics_count_routes_and_statuses(client: Open) -> None:
    server = client()
    example = server.get("/example").json()
    for _ in range(3):
        server.post("/predict", json=example)
    server.post("/predict", json={"inputs": 1})
    for path in ("/nothing", "/nothing/else"):
        assert server.get(path).status_code == 404
    assert server.get("/predict").status_code == 405
    answer = server.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    for line in (
        'minidl_requests_total{route="/predict",status="200"} 3.0',
        'minidl_requests_total{route="/predict",status="422"} 1.0',
        'minidl_requests_total{route="/predict",status="405"} 1.0',
        'minidl_requests_total{route="other",status="404"} 2.0',
        'minidl_request_seconds_count{route="/predict"} 5.0',
        "minidl_batch_samples_count 3.0",
        "minidl_model_seconds_count 3.0",
        "minidl_queue_samples 0.0",
    ):
        assert line in answer.text, line


@pytest.mark.parametrize("name", ["digits", "numbers"])
def test_the_page_and_the_description(client: Open, name: str) -> None:
    server = client(name)
    description = server.get("/openapi.json").json()
    page = server.get("/docs").text
    assert page == server.get("/").text
    for path in description["paths"]:
        assert path in page
    assert "src=" not in page  # nothing is loaded from elsewhere
    assert re.findall(r"https?://[^/ \"]+", page.replace("http://testserver", "")) == []
    if name == "numbers":  # small enough for its example to be in the command
        body = description["paths"]["/predict"]["post"]["requestBody"]["content"]
        example = body["application/json"]["example"]
        assert example == server.get("/example").json()
        assert server.post("/predict", json=example).status_code == 200
        assert json.dumps(example).replace('"', "&quot;") in page


def test_names_are_no_markup(served: Served) -> None:
    from minidl.serving.page import page

    description = {
        "info": {"title": "<script>", "version": "1"},
        "paths": {"/a": {"get": {"summary": "<b>", "responses": {"200": {"description": "<i>"}}}}},
    }
    found = page(description, "http://<u>")
    for tag in ("<script>", "<b>", "<i>", "<u>"):
        assert tag not in found
