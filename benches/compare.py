"""Weft and its peers in turn: every round times each contender once, and ratios are of the same rounds.

Usage: compare.py [--rounds 5] [--threads 2] [--weft target/release/weft] [--peers torch,tensorflow,…] [CASE …]
A CASE is MODEL/MODE/BATCH: cnn/train/64, autoencoder/predict/1, …; without any, all of them.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SPECS = {"cnn": "specs/mnist_cnn.weft", "autoencoder": "specs/autoencoder.weft"}
CASES = ["cnn/train/64", "autoencoder/train/64", "autoencoder/train/256",
         "cnn/predict/1", "cnn/predict/64", "autoencoder/predict/1", "autoencoder/predict/64"]
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


def weft(binary, model, mode, batch, threads):
    command = [binary, "bench", SPECS[model], "--entry", mode, "--batch", str(batch), "--threads", str(threads), "--repeats", "500", "--json"]
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
    for case in args.cases or CASES:
        model, mode, batch = case.split("/")
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
            result = weft(args.weft, model, mode, batch, args.threads)
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
        print(f"| {case} | {statistics.median(ours):.3g} | {gflops:.0f} ({100 * share:.0f}%) | {cells} |", flush=True)


main()
