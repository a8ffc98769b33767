"""`./executable serve` beside a Python server around ONNX Runtime: the same network, requests and load, in turns.

Usage: serve.py EXECUTABLE [--rounds N] [--seconds S] [--threads N]

EXECUTABLE is what `weft build specs/mnist_cnn.weft --weights … -o …` made. Prints a Markdown table: answers a second, and the
milliseconds in which half and 99% of the answers came, as medians over the rounds. The load is made by `load.rs` on the same machine,
so all figures hold its share of the processors too.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def export(path):
    """The network of specs/mnist_cnn.weft, with random weights: what it answers takes no other time."""
    import torch
    import torch.nn as nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))
    torch.onnx.export(model.eval(), torch.zeros(1, 1, 28, 28), path, dynamo=False, input_names=["x"],
                      dynamic_axes={"x": {0: "n"}})


def listening(at, process):
    for _ in range(600):
        if process.poll() is not None:
            sys.exit("a server ended before it listened")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", at)) == 0:
                return
        time.sleep(0.1)
    sys.exit("a server does not listen")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("executable")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--kind", choices=["json", "bytes"], default="json")
    given = parser.parse_args()
    folder = tempfile.mkdtemp()
    load, model = os.path.join(folder, "load"), os.path.join(folder, "model.onnx")
    subprocess.run(["rustc", "--edition", "2024", "-O", os.path.join(HERE, "load.rs"), "-o", load], check=True)
    export(model)
    pixels = [(7 * i) % 256 for i in range(784)]
    rows = [[[pixels[28 * y + x]] for x in range(28)] for y in range(28)]
    kind = {"json": "application/json", "bytes": "application/octet-stream"}[given.kind]
    body = json.dumps({"image": rows}, separators=(",", ":")).encode() if given.kind == "json" else bytes(pixels)
    file = os.path.join(folder, "body")
    with open(file, "wb") as out:
        out.write(body)
    threads = str(given.threads)
    servers = {}
    for name, command in {
        "weft": lambda at: [given.executable, "serve", "--port", at, "--threads", threads],
        "ONNX Runtime, batches": lambda at: [sys.executable, os.path.join(HERE, "serve_peer.py"), model, at, threads, "64"],
        "ONNX Runtime, one by one": lambda at: [sys.executable, os.path.join(HERE, "serve_peer.py"), model, at, threads, "1"],
    }.items():
        at = port()
        process = subprocess.Popen(command(str(at)), stdout=subprocess.DEVNULL)
        listening(at, process)
        servers[name] = (at, process)
    found = {}
    try:
        for _ in range(given.rounds):
            for connections in (1, 8, 64):
                for name, (at, _) in servers.items():
                    told = subprocess.run([load, f"127.0.0.1:{at}", "/predict", kind, file, str(connections), str(given.seconds)],
                                          check=True, capture_output=True, text=True).stdout
                    found.setdefault((connections, name), []).append([float(value) for value in told.split()])
    finally:
        for _, process in servers.values():
            process.terminate()
    print(f"{given.kind}, {len(body)} bytes a request, {threads} threads, medians of {given.rounds} rounds of {given.seconds} s")
    print("| connections | server | answers a second | median, ms | 99%, ms |\n|---|---|---|---|---|")
    for (connections, name), rounds in found.items():
        second, half, most = (statistics.median(values) for values in zip(*rounds))
        print(f"| {connections} | {name} | {second:,.0f} | {half:.2f} | {most:.2f} |")


main()
