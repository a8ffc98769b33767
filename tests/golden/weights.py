"""Regularisers and constraints: some steps of plain gradient descent, with Keras' own classes as the reference."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
import torch.nn.functional as F

from recorder import array, batch_tensors, save, trained

STEPS = 8
PATHS = ["Case.dense.weight", "Case.dense.bias", "Case.dense_2.weight", "Case.dense_2.bias"]


def text(arguments, rules):
    return f"""
model Case(x: f32[n, 6]) -> f32[n, 3] {{
    x |> dense(4{arguments}) |> tanh |> dense(3)
}}

data rows = mnist("data/mnist") {{
    x = (f32(image[:6, 0, 0]) - 128) / 64
}}

train {{
    on rows as {{ x, label }}
    batch = 5
    epochs = 1
    minimize cross_entropy(Case(x), label) using sgd(rate = 0.2){rules}
}}
"""


def batches():
    rng = np.random.default_rng(6)
    made = []
    for _ in range(3):
        image = np.zeros((5, 28, 28, 1), np.uint8)
        image[:, :6, 0, 0] = rng.integers(0, 256, (5, 6))
        made.append({"image": image, "label": rng.integers(0, 3, 5).astype(np.int32)})
    return made


def record():
    shared = batches()
    save("weights/batches", batch_tensors(shared))
    first = {path: array(shape, 40 + i) for i, (path, shape) in enumerate(zip(PATHS, [(6, 4), (4,), (4, 3), (3,)]))}

    def case(name, arguments="", rules="", regularise=None, constrain=None):
        """`regularise` and `constrain`: path → Keras' object."""
        regularise, constrain = regularise or {}, constrain or {}

        def run(_, weights, states, dtype):
            losses, gradients = [], None
            for step in range(STEPS):
                batch = shared[step % len(shared)]
                x = (torch.from_numpy(batch["image"][:, :6, 0, 0]).to(dtype) - 128) / 64
                y = torch.tanh(x @ weights[PATHS[0]] + weights[PATHS[1]]) @ weights[PATHS[2]] + weights[PATHS[3]]
                loss = F.cross_entropy(y, torch.from_numpy(batch["label"]).long())
                for path, regulariser in regularise.items():
                    loss = loss + regulariser(weights[path])
                losses.append(loss.item())
                found = torch.autograd.grad(loss, list(weights.values()))
                gradients = gradients or dict(zip(weights, found))
                for path, gradient in zip(list(weights), found):
                    moved = weights[path].detach() - 0.2 * gradient
                    moved = constrain[path](moved) if path in constrain else moved
                    weights[path] = moved.to(dtype).requires_grad_(True)
            return losses, gradients, weights

        trained(f"weights/{name}", run, shared, first, steps=STEPS, text=text(arguments, rules), shared="weights/batches")

    weight, other = PATHS[0], PATHS[2]
    r, c = keras.regularizers, keras.constraints
    case("l1", ", regularise = l1(0.02)", regularise={weight: r.L1(0.02)})
    case("l2", ", regularise = l2(0.02)", regularise={weight: r.L2(0.02)})
    case("elastic", ", regularise = elastic(0.01, 0.02)", regularise={weight: r.L1L2(0.01, 0.02)})
    case("near_orthogonal", ", regularise = near_orthogonal(0.3)",
         regularise={weight: r.OrthogonalRegularizer(0.3, mode="columns")})
    case("rules", ", regularise = l1(0.5)", " { regularise = l2(0.02) for *.weight; constrain = max_norm(0.5) for dense_2.* }",
         regularise={weight: r.L2(0.02), other: r.L2(0.02)},
         constrain={other: c.MaxNorm(0.5, axis=0), PATHS[3]: lambda w: w * (w.abs().clamp(0, 0.5) / (w.abs() + 1e-7))})
    case("no_more", ", regularise = l1(0.5), constrain = unit_norm", " { regularise = none for *; constrain = none for * }")
    case("max_norm", ", constrain = max_norm(0.8)", constrain={weight: c.MaxNorm(0.8, axis=0)})
    case("max_norm_axis", ", constrain = max_norm(0.8, axis = 1)", constrain={weight: c.MaxNorm(0.8, axis=1)})
    case("min_max_norm", ", constrain = min_max_norm(0.5, 0.9, rate = 0.7)",
         constrain={weight: c.MinMaxNorm(0.5, 0.9, rate=0.7, axis=0)})
    case("unit_norm", ", constrain = unit_norm", constrain={weight: c.UnitNorm(axis=0)})
    case("non_negative", ", constrain = non_negative", constrain={weight: c.NonNeg()})
