"""Weft and its peers in turn: every round times each contender once, and ratios are of the same rounds.

Usage: compare.py [--rounds 5] [--threads 2] [--weft target/release/weft] [--peers torch,tensorflow,…] [CASE …]
A CASE is MODEL/MODE/BATCH: cnn/train/64, autoencoder/predict/1, lstm/train/64, …; without any, all of them. Where a round is a few steps of a
large model, it takes seconds for each contender.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import data

HERE = pathlib.Path(__file__).resolve().parent
# Batches, models and layers of the peers; of the language model also its number of symbols, and T5 without dropout, as there.
SPECS = {"cnn": ["specs/mnist_cnn.weft"], "autoencoder": ["specs/autoencoder.weft"], "lstm": ["benches/specs/lstm.weft"],
         "dcgan": ["benches/specs/dcgan.weft"], "gpt": ["specs/gpt.weft", "--set", f"vocab={data.SYMBOLS}"],
         "t5": ["specs/t5_small.weft", "--set", "drop=0.0"]}
CASES = ["cnn/train/64", "autoencoder/train/64", "autoencoder/train/256",
         "cnn/predict/1", "cnn/predict/64", "autoencoder/predict/1", "autoencoder/predict/64",
         "lstm/train/64", "lstm/predict/1", "lstm/predict/64", "dcgan/train/64", "gpt/train/12", "t5/train/8"]
PEERS = {"train": ["tensorflow", "torch", "torch-compile", "jax"], "predict": ["onnxruntime", "torch-compile", "jax", "tensorflow"]}


class Peer:
    """A framework's process, which is idle between rounds."""

    def __init__(self, name, model, mode, batch, threads):
        command = [sys.executable, str(HERE / "peer.py"), name, model, mode, str(batch), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.ready = "ready" in (self.line() or "")

    def line(self):
        for line in self.process.stdout:
            if line.strip() == "ready" or line[0].isdigit():
                return line
        return None

    def time(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.line()
        return float(line) if line else None

    def end(self):
        self.process.kill()
        self.process.wait()


def weft(binary, model, mode, batch, threads, given):
    # A burst of Weft's is as long as one of a peer's.
    repeats = "5" if model in ("dcgan", "gpt", "t5") else "500"
    command = [binary, "bench", *SPECS[model], *given, "--entry", mode, "--batch", batch, "--threads", str(threads), "--repeats", repeats, "--json"]
    out = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weft", default="target/release/weft")
    parser.add_argument("--peers", default="")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    only = [p for p in args.peers.split(",") if p]
    print("| case | weft, ms | GFLOP/s (share of peak) | " + "ratio to each peer (its ms) |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        given = data.make(folder)
        SPECS["t5"][0] = from_random(SPECS["t5"][0], folder)
        for case in args.cases or CASES:
            print(row(case, args, only, given), flush=True)


def from_random(spec, folder):
    """A copy of a spec that loads no weights."""
    text = (HERE.parent / spec).read_text()
    copy = pathlib.Path(folder) / pathlib.Path(spec).name
    copy.write_text(re.sub(r"\nload .*?\n}\n", "", text, flags=re.S))
    return str(copy)


def row(case, args, only, given):
    """The table's row of one case."""
    model, mode, batch = case.split("/")
    options = ["--data", given[model]] if mode == "train" and model in given else []
    peers = {}
    for name in PEERS[mode]:
        if only and name not in only:
            continue
        peer = Peer(name, model, mode, batch, args.threads)
        if peer.ready:
            peers[name] = peer
        else:
            print(f"{case}: {name} does not run here", file=sys.stderr)
    ours, shares, theirs = [], [], {name: [] for name in peers}
    for _ in range(args.rounds):
        result = weft(args.weft, model, mode, batch, args.threads, options)
        ours.append(result["median_ms"])
        shares.append((result["fma_peak_share"], result["gflops"]))
        for name, peer in peers.items():
            theirs[name].append(peer.time())
    for peer in peers.values():
        peer.end()
    cells = []
    for name, times in theirs.items():
        ratio = statistics.median(o / t for o, t in zip(ours, times))
        cells.append((ratio, f"{name} **{ratio:.2f}** ({statistics.median(times):.3g})"))
    cells = "; ".join(text for _, text in sorted(cells, reverse=True))
    share, gflops = sorted(shares)[len(shares) // 2]
    return f"| {case} | {statistics.median(ours):.3g} | {gflops:.0f} ({100 * share:.0f}%) | {cells} |"


main()
