"""Layers over time: attention, positions, recurrence."""

import torch
import torch.nn.functional as F

from layers import simple
from recorder import CASES, array, integers, model


def attention():
    q, k, v = array((2, 3, 2, 4), 1), array((2, 5, 2, 4), 2), array((2, 5, 2, 3), 3)
    qs, ks, vs = "q: f32[n, 3, 2, 4]", "k: f32[n, 5, 2, 4]", "v: f32[n, 5, 2, 3]"
    heads_first = lambda *tensors: [t.transpose(1, 2) for t in tensors]

    def attend(i, w, s, **how):
        return F.scaled_dot_product_attention(*heads_first(i["q"], i["k"], i["v"]), **how).transpose(1, 2)

    model("sequences/attend", f"model Case({qs}, {ks}, {vs}) {{ attend(q, k, v) }}", attend, {"q": q, "k": k, "v": v})
    same = {"q": array((2, 5, 2, 4), 1), "k": k, "v": v}
    model("sequences/attend_causal", f"model Case(q: f32[n, 5, 2, 4], {ks}, {vs}) {{ attend(q, k, v, causal = true) }}",
          lambda i, w, s: attend(i, w, s, is_causal=True), same)
    mask = integers((2, 1, 1, 5), 4, 4) > 0
    model("sequences/attend_masked", f"model Case({qs}, {ks}, {vs}, mask: bool[n, 1, 1, 5]) {{ attend(q, k, v, mask) }}",
          lambda i, w, s: attend(i, w, s, attn_mask=i["mask"]), {"q": q, "k": k, "v": v, "mask": mask})

    def whole(x, *weights):
        (wq, bq, wk, bk, wv, bv, wo, bo) = weights
        parts = [(x @ w + b).unflatten(-1, (2, 3)).transpose(1, 2) for w, b in [(wq, bq), (wk, bk), (wv, bv)]]
        return F.scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).flatten(2) @ wo + bo

    shapes = {f"attention.{part}.{w}": s for part in ["query", "key", "value", "out"] for w, s in [("weight", (6, 6)), ("bias", (6,))]}
    simple("attention", "attention(heads = 2, causal = true)", array((2, 4, 6), 5), shapes, whole, family="sequences")


def positions():
    x = array((2, 5, 2, 6), 6)

    def rotary(i, w, s):
        x = i["x"]
        frequency = 10000.0 ** (torch.arange(3, dtype=x.dtype) * (-2 / 6))
        angle = (torch.arange(5, dtype=x.dtype)[:, None] * frequency)[:, None]
        a, b = x.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    model("sequences/rotary", "model Case(x: f32[n, 5, 2, 6]) { rotary(x) }", rotary, {"x": x})

    def sinusoids(i, w, s):
        x = i["x"]
        angle = torch.arange(5, dtype=x.dtype)[:, None] * 10000.0 ** (torch.arange(4, dtype=x.dtype) * (-2 / 8))
        return x + torch.cat([angle.sin(), angle.cos()], -1)

    model("sequences/sinusoids", "model Case(x: f32[n, 5, 8]) { x + sinusoids(5, 8) }", sinusoids, {"x": array((2, 5, 8), 7)})


def recurrent():
    x = array((2, 5, 3), 8)
    zeros = lambda x: torch.zeros(2, 4, dtype=x.dtype)

    def lstm(x, w, b, u, sequences):
        h, c, steps = zeros(x), zeros(x), []
        for t in range(5):
            i, f, g, o = (x[:, t] @ w + b + h @ u).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            steps.append(h)
        return torch.stack(steps, 1) if sequences else h

    def gru(x, w, b, u, d):
        cell = torch.nn.GRUCell(3, 4).to(x.dtype)
        h = zeros(x)
        parameters = {"weight_ih": w.T, "weight_hh": u.T, "bias_ih": b, "bias_hh": d}
        for t in range(5):
            h = torch.func.functional_call(cell, parameters, (x[:, t], h))
        return h

    shapes = {"lstm.input.weight": (3, 16), "lstm.input.bias": (16,), "lstm.hidden.weight": (4, 16)}
    simple("lstm", "lstm(4)", x, shapes, lambda *a: lstm(*a, False), family="sequences")
    simple("lstm_sequences", "lstm(4, sequences = true)", x, shapes, lambda *a: lstm(*a, True), family="sequences")
    shapes = {"gru.input.weight": (3, 12), "gru.input.bias": (12,), "gru.hidden.weight": (4, 12), "gru.hidden.bias": (12,)}
    simple("gru", "gru(4)", x, shapes, gru, family="sequences")

    def rnn(x, w, b, u):
        h = zeros(x)
        for t in range(5):
            h = torch.tanh(x[:, t] @ w + b + h @ u)
        return h

    simple("rnn", "rnn(4)", x, {"rnn.input.weight": (3, 4), "rnn.input.bias": (4,), "rnn.hidden.weight": (4, 4)}, rnn, family="sequences")


def record():
    attention()
    positions()
    first = len(CASES)
    recurrent()
    for case in CASES[first:]:
        case["needs"] = "scan"
