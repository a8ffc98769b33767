"""Whole models: outputs, loss, gradients, and the weights after twenty steps on real digits."""

import gzip
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from layers import conv
from recorder import array, trained

STEPS, ROWS = 20, 8
MNIST = Path(__file__).parents[2] / "specs/data/mnist"


def batches(count=3):
    read = lambda name, skip: np.frombuffer(gzip.open(MNIST / name).read(), np.uint8, offset=skip)
    images = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    labels = read("train-labels-idx1-ubyte.gz", 8).astype(np.int32)
    part = lambda i: slice(i * ROWS, (i + 1) * ROWS)
    return [{"image": images[part(i)].copy(), "label": labels[part(i)]} for i in range(count)]


def glorot(shape, seed):
    """Weights as the spec would start them; biases small instead of 0, so that a lost bias shows."""
    if len(shape) == 1:
        return array(shape, seed, -0.1, 0.1)
    taps = math.prod(shape[:-2])
    limit = math.sqrt(6 / (taps * (shape[-2] + shape[-1])))
    return array(shape, seed, -limit, limit)


def weights_of(shapes):
    return {path: glorot(shape, 50 + i) for i, (path, shape) in enumerate(shapes.items())}


def train(file, forward, loss, optimizer, rate, shapes, states=None, **where):
    """`forward(x, w, states)` may replace `states` by new ones; `rate(step)` counts from 0."""

    def run(rows, w, s, dtype):
        step = optimizer(list(w.values()))
        losses, first = [], {}
        for i in range(STEPS):
            batch = rows[i % len(rows)]
            x = torch.from_numpy(batch["image"]).to(dtype) / 255
            label = torch.from_numpy(batch["label"]).long()
            y = forward(x, w, s)
            value = loss(y, x, label)
            step.zero_grad()
            value.backward()
            losses.append(value.item())
            if i == 0:
                first = {path: t.grad.clone() for path, t in w.items()}
            for group in step.param_groups:
                group["lr"] = rate(i)
            step.step()
        return losses, first, w | s

    trained(file, run, batches(), weights_of(shapes), states, **where)


def adam(parameters):
    return torch.optim.Adam(parameters)


def cosine(peak):
    return lambda i: peak * 0.5 * (1 + math.cos(math.pi * i / STEPS))


def cross_entropy(y, x, label):
    return F.cross_entropy(y, label)


def pool(x):
    return F.max_pool2d(x.movedim(-1, 1), 2).movedim(1, -1)


def cnn():
    def forward(x, w, _):
        layer = lambda name, x: F.relu(conv(x, w[f"Cnn.{name}.weight"]) + w[f"Cnn.{name}.bias"])
        x = layer("conv2d_3", pool(layer("conv2d_2", pool(layer("conv2d", x)))))
        x = F.relu(x.flatten(1) @ w["Cnn.dense.weight"] + w["Cnn.dense.bias"])
        return x @ w["Cnn.dense_2.weight"] + w["Cnn.dense_2.bias"]

    shapes = {
        "Cnn.conv2d.weight": (3, 3, 1, 4), "Cnn.conv2d.bias": (4,),
        "Cnn.conv2d_2.weight": (3, 3, 4, 8), "Cnn.conv2d_2.bias": (8,),
        "Cnn.conv2d_3.weight": (3, 3, 8, 8), "Cnn.conv2d_3.bias": (8,),
        "Cnn.dense.weight": (72, 8), "Cnn.dense.bias": (8,),
        "Cnn.dense_2.weight": (8, 10), "Cnn.dense_2.bias": (10,),
    }
    train("models/mnist_cnn", forward, cross_entropy, adam, cosine(1e-3), shapes, spec="specs/mnist_cnn.weft", settings={"width": 4})


def mlp():
    def forward(x, w, _):
        layer = lambda name, x: x @ w[f"Mlp.{name}.weight"] + w[f"Mlp.{name}.bias"]
        return layer("dense_3", F.relu(layer("dense_2", F.relu(layer("dense", x.flatten(1))))))

    shapes = {
        "Mlp.dense.weight": (784, 8), "Mlp.dense.bias": (8,),
        "Mlp.dense_2.weight": (8, 4), "Mlp.dense_2.bias": (4,),
        "Mlp.dense_3.weight": (4, 10), "Mlp.dense_3.bias": (10,),
    }
    train("models/mnist_mlp", forward, cross_entropy, adam, lambda i: 1e-3, shapes, spec="specs/mnist_mlp.weft", settings={"units": 8})


def autoencoder():
    def forward(x, w, _):
        layer = lambda name, x: x @ w[f"Autoencoder.{name}.weight"] + w[f"Autoencoder.{name}.bias"]
        code = F.relu(layer("encoder.dense_2", F.relu(layer("encoder.dense", x.flatten(1)))))
        return torch.sigmoid(layer("decoder.dense_2", F.relu(layer("decoder.dense", code))))

    shapes = {
        "Autoencoder.encoder.dense.weight": (784, 8), "Autoencoder.encoder.dense.bias": (8,),
        "Autoencoder.encoder.dense_2.weight": (8, 4), "Autoencoder.encoder.dense_2.bias": (4,),
        "Autoencoder.decoder.dense.weight": (4, 8), "Autoencoder.decoder.dense.bias": (8,),
        "Autoencoder.decoder.dense_2.weight": (8, 784), "Autoencoder.decoder.dense_2.bias": (784,),
    }
    loss = lambda y, x, label: F.binary_cross_entropy(y, x.flatten(1))
    train("models/autoencoder", forward, loss, adam, lambda i: 1e-3, shapes, spec="specs/autoencoder.weft",
          settings={"units": 8, "code": 4, "drop": 0.0})


BATCH_NORM = """
layer unit_of(filters: int)(x: f32[n, h, w, c]) {
    x |> conv2d(filters, kernel = 3, padding = same, bias = false) |> batch_norm(momentum = 0.9) |> relu
}

model Case(image: f32[n, 28, 28, 1]) -> f32[n, 10] {
    image |> unit_of(4) |> max_pool2d(2) |> unit_of(6) |> max_pool2d(2) |> global_avg_pool2d |> dense(10)
}

data digits = mnist("data/mnist") {
    image = f32(image) / 255
}

train {
    on digits as { image, label }
    batch = 8
    epochs = 1
    minimize cross_entropy(Case(image), label) using sgd(rate = 0.1, momentum = 0.9, decay = 1e-3)
}
"""


def batch_norm():
    def forward(x, w, s):
        for name in ["Case.unit_of", "Case.unit_of_2"]:
            x = conv(x, w[f"{name}.conv2d.weight"], padding="same")
            norm = f"{name}.batch_norm"
            centre, spread = x.mean((0, 1, 2)), x.var((0, 1, 2), correction=0)
            s[f"{norm}.moving_mean"] = (0.9 * s[f"{norm}.moving_mean"] + 0.1 * centre).detach()
            s[f"{norm}.moving_variance"] = (0.9 * s[f"{norm}.moving_variance"] + 0.1 * spread).detach()
            x = (x - centre) / torch.sqrt(spread + 1e-3) * w[f"{norm}.scale"] + w[f"{norm}.bias"]
            x = pool(F.relu(x))
        return x.mean((1, 2)) @ w["Case.dense.weight"] + w["Case.dense.bias"]

    shapes, states = {}, {}
    for name, wide, filters in [("Case.unit_of", 1, 4), ("Case.unit_of_2", 4, 6)]:
        shapes[f"{name}.conv2d.weight"] = (3, 3, wide, filters)
        shapes[f"{name}.batch_norm.scale"] = shapes[f"{name}.batch_norm.bias"] = (filters,)
        states[f"{name}.batch_norm.moving_mean"] = np.zeros(filters, np.float32)
        states[f"{name}.batch_norm.moving_variance"] = np.ones(filters, np.float32)
    shapes |= {"Case.dense.weight": (6, 10), "Case.dense.bias": (10,)}
    sgd = lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9, weight_decay=1e-3)
    train("models/batch_norm_cnn", forward, cross_entropy, sgd, lambda i: 0.1, shapes, states, text=BATCH_NORM)


def gpt():
    """The language model of `specs/gpt.weft`, small, on windows of bytes."""
    layers, width, heads, context, vocab = 2, 16, 2, 12, 32
    text = np.random.default_rng(7).integers(0, vocab, (3, 4, context + 1)).astype(np.uint8)
    block = {"attend.query.weight": (width, width), "attend.key.weight": (width, width), "attend.value.weight": (width, width),
             "attend.out.weight": (width, width), "attention_norm.scale": (width,), "feed_norm.scale": (width,),
             "feed.wide.weight": (width, 4 * width), "feed.out.weight": (4 * width, width)}
    shapes = {"Gpt.symbols.table": (vocab, width), "Gpt.positions.table": (context, width), "Gpt.last_norm.scale": (width,)}
    shapes |= {f"Gpt.block.{i}.{name}": shape for i in range(layers) for name, shape in block.items()}
    weights = weights_of(shapes)
    for path in weights:
        if path.endswith("scale"):
            weights[path] = 1 + weights[path]

    def run(rows, w, s, dtype):
        still = lambda path: path.endswith(("_norm.scale", ".table"))
        groups = [{"params": [t for path, t in w.items() if still(path)], "weight_decay": 0.0},
                  {"params": [t for path, t in w.items() if not still(path)], "weight_decay": 0.1}]
        step = torch.optim.AdamW(groups, 1.5e-3, betas=(0.9, 0.99))
        losses, first = [], {}
        norm = lambda x, scale: F.layer_norm(x, (width,), scale)
        parts = lambda x: x.unflatten(-1, (heads, width // heads)).transpose(1, 2)
        for i in range(STEPS):
            window = torch.from_numpy(rows[i % len(rows)]["text"]).long()
            x = w["Gpt.symbols.table"][window[:, :-1]] + w["Gpt.positions.table"]
            for b in range(layers):
                of = lambda name: w[f"Gpt.block.{b}.{name}"]
                seen = norm(x, of("attention_norm.scale"))
                q, k, v = (parts(seen @ of(f"attend.{name}.weight")) for name in ["query", "key", "value"])
                found = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
                x = x + found @ of("attend.out.weight")
                x = x + F.gelu(norm(x, of("feed_norm.scale")) @ of("feed.wide.weight")) @ of("feed.out.weight")
            logits = norm(x, w["Gpt.last_norm.scale"]) @ w["Gpt.symbols.table"].T
            value = F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
            step.zero_grad()
            value.backward()
            losses.append(value.item())
            if i == 0:
                first = {path: t.grad.clone() for path, t in w.items()}
            torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
            for group in step.param_groups:
                group["lr"] = 1.5e-3 * (i + 1) / 100
            step.step()
        return losses, first, w | s

    trained("models/gpt", run, [{"text": rows} for rows in text], weights, spec="specs/gpt.weft",
            settings={"layers": layers, "width": width, "heads": heads, "context": context, "vocab": vocab})


def record():
    gpt()
    cnn()
    mlp()
    autoencoder()
    batch_norm()
