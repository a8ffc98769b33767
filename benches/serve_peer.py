"""The server that serve.py compares with: Starlette and uvicorn (with uvloop and httptools) around ONNX Runtime.

Usage: serve_peer.py MODEL.onnx PORT THREADS BATCH

Requests that wait are run as one batch of at most BATCH rows, as the executable does it; with BATCH 1 each is run alone. The model
takes `[n, 1, 28, 28]` floats, of which JSON gives `{"image": [28 × 28 × 1 numbers]}` and application/octet-stream 784 bytes.
"""
import asyncio
import sys

import numpy as np
import onnxruntime as ort
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

MODEL, PORT, THREADS, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
options = ort.SessionOptions()
options.intra_op_num_threads = THREADS
session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
waiting = asyncio.Queue()


def run(rows):
    images = np.stack(rows).astype(np.float32).reshape(-1, 1, 28, 28) / 255
    logits = session.run(None, {"x": images})[0]
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return shares.argmax(-1), shares.max(-1)


async def work():
    loop = asyncio.get_running_loop()
    while True:
        batch = [await waiting.get()]
        while len(batch) < BATCH and not waiting.empty():
            batch.append(waiting.get_nowait())
        # On another thread, so that requests are read meanwhile.
        labels, confidences = await loop.run_in_executor(None, run, [row for row, _ in batch])
        for (_, answer), label, confidence in zip(batch, labels, confidences):
            answer.set_result({"label": int(label), "confidence": float(confidence)})


async def predict(request):
    body = await request.body()
    if request.headers["content-type"] == "application/octet-stream":
        row = np.frombuffer(body, np.uint8)
    else:
        row = np.array(orjson.loads(body)["image"], np.uint8)
    answer = asyncio.get_running_loop().create_future()
    await waiting.put((row.reshape(784), answer))
    return Response(orjson.dumps(await answer), media_type="application/json")


class Lifespan:
    async def __aenter__(self):
        self.worker = asyncio.create_task(work())

    async def __aexit__(self, *_):
        self.worker.cancel()


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])], lifespan=lambda _: Lifespan())
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False, loop="uvloop", http="httptools")
