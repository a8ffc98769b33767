"""Does a GPT that Weft trains go the way of the same one in PyTorch?

    pip install torch safetensors numpy
    cargo build --release
    python benches/gpt_trajectory.py [TEXT]

Both start from the same weights and see the same batches of `specs/gpt.weft` in the same order, in a smaller size so that it takes a minute, with
the spec's own optimizer, schedule, decay and clipping; TEXT is `specs/data/genesis/genesis.txt` unless another is named. A line for each validation shows both
losses; the script fails where they are further apart than 2%.
"""

import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
WEFT = ROOT / "target/release/weft"
SIZES = {"layers": 2, "width": 128, "heads": 4, "context": 64, "vocab": 256}
BATCH, EVERY, APART = 12, 40, 0.02


def first_weights(sizes):
    """Weights by Weft's names; dense weights are [in, out]."""
    layers, width, vocab = sizes["layers"], sizes["width"], sizes["vocab"]
    chance = np.random.default_rng(1)

    def dense(rows, columns):
        limit = math.sqrt(6 / (rows + columns))
        return chance.uniform(-limit, limit, (rows, columns)).astype(np.float32)

    ones = lambda: np.ones(width, np.float32)
    weights = {
        "Gpt.symbols.table": chance.normal(0, 0.02, (vocab, width)).astype(np.float32),
        "Gpt.positions.table": chance.normal(0, 0.02, (sizes["context"], width)).astype(np.float32),
        "Gpt.last_norm.scale": ones(),
    }
    for i in range(layers):
        block = f"Gpt.block.{i}."
        weights |= {block + f"attend.{part}.weight": dense(width, width) for part in ["query", "key", "value", "out"]}
        weights |= {block + "feed.wide.weight": dense(width, 4 * width), block + "feed.out.weight": dense(4 * width, width)}
        weights |= {block + "attention_norm.scale": ones(), block + "feed_norm.scale": ones()}
    return weights


def logits(w, tokens, sizes):
    heads, width = sizes["heads"], sizes["width"]
    n, t = tokens.shape
    norm = lambda x, scale: F.layer_norm(x, (width,), scale, None, 1e-5)
    apart = lambda x: x.view(n, t, heads, width // heads).transpose(1, 2)
    # As in the library: `gelu` is the exact one, `layer_norm` adds 1e-5.
    x = w["Gpt.symbols.table"][tokens] + w["Gpt.positions.table"][:t]
    for i in range(sizes["layers"]):
        at = lambda name: w[f"Gpt.block.{i}.{name}"]
        y = norm(x, at("attention_norm.scale"))
        q, k, v = (apart(y @ at(f"attend.{part}.weight")) for part in ["query", "key", "value"])
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, width)
        x = x + found @ at("attend.out.weight")
        y = norm(x, at("feed_norm.scale"))
        x = x + F.gelu(y @ at("feed.wide.weight")) @ at("feed.out.weight")
    return norm(x, w["Gpt.last_norm.scale"]) @ w["Gpt.symbols.table"].T


def windows(data, size):
    count = len(data) // size
    return torch.from_numpy(np.frombuffer(data[: count * size], np.uint8).reshape(count, size).astype(np.int64))


def pytorch(weights, train, held, sizes):
    """The validation losses after every so many batches."""
    w = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    plain = [v for k, v in w.items() if k.endswith("_norm.scale") or k.endswith(".table")]
    decayed = [v for k, v in w.items() if not (k.endswith("_norm.scale") or k.endswith(".table"))]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.99), eps=1e-8)
    total, rise, peak, end = len(train) // BATCH, 100, 1.5e-3, 1e-4
    losses = []
    for step in range(1, total + 1):
        done = (max(step - rise, 1) - 1) / max(total - rise, 1)
        rate = min(step / rise, 1) * (end + (peak - end) * 0.5 * (1 + math.cos(math.pi * min(done, 1))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = train[(step - 1) * BATCH : step * BATCH]
        loss = F.cross_entropy(logits(w, rows[:, :-1], sizes).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        optimizer.step()
        if step % EVERY == 0 or step == total:
            with torch.no_grad():
                losses.append(F.cross_entropy(logits(w, held[:, :-1], sizes).flatten(0, 1), held[:, 1:].flatten()).item())
    return losses


def weft(weights, train, held, sizes, folder):
    save_file(weights, folder / "first.safetensors")
    for name, rows in [("train", train), ("held", held)]:
        (folder / f"{name}.txt").write_bytes(rows.numpy().astype(np.uint8).tobytes())
    spec = (ROOT / "specs/gpt.weft").read_text()
    spec = re.sub(r"split validation = [\d.]+", f'split validation = "{folder}/held.txt"', spec)
    spec = re.sub(r"seed = 1\n", "seed = 1\n    shuffle = false\n", spec)
    spec = re.sub(r"validate every .*", f"validate every {EVERY} batches", spec)
    (folder / "gpt.weft").write_text(spec)
    settings = [word for name, value in sizes.items() for word in ["--set", f"{name}={value}"]]
    command = [WEFT, "train", folder / "gpt.weft", "--data", f"book={folder}/train.txt", "--out", folder / "run"]
    command += ["--weights", folder / "first.safetensors", "--epochs", "1", "--json", *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    # The last of them stands in the epoch's own line once more.
    return [line["validation"]["loss"] for line in lines if "validation" in line][:-1]


def main():
    text = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "specs/data/genesis/genesis.txt").read_bytes()
    rows = windows(text, SIZES["context"] + 1)
    held, train = rows[-120:], rows[:-120]
    train = train[: len(train) // BATCH * BATCH]
    weights = first_weights(SIZES)
    theirs = pytorch(weights, train, held, SIZES)
    with tempfile.TemporaryDirectory() as folder:
        ours = weft(weights, train, held, SIZES, Path(folder))
    assert len(ours) == len(theirs), (ours, theirs)
    worst = 0.0
    for place, (a, b) in enumerate(zip(ours, theirs)):
        worst = max(worst, abs(a - b) / b)
        print(f"after {min((place + 1) * EVERY, len(train) // BATCH):5} batches  Weft {a:.4f}  PyTorch {b:.4f}  {(a / b - 1) * 100:+.2f}%")
    sys.exit(worst > APART)


main()
