"""Layers over time: attention, positions, recurrence."""

import numpy as np
import torch
import torch.nn.functional as F
from transformers.models.t5.modeling_t5 import T5Attention

from layers import simple
from recorder import array, integers, model


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


    # A bias on the scores, a scale of one's own, and a query that may look nowhere: it finds 0.
    bias = array((2, 3, 5), 9)
    model("sequences/attend_bias", f"model Case({qs}, {ks}, {vs}, bias: f32[2, 3, 5]) {{ attend(q, k, v, bias = bias, scale = 0.7) }}",
          lambda i, w, s: attend(i, w, s, attn_mask=i["bias"], scale=0.7), {"q": q, "k": k, "v": v, "bias": bias})
    blind = mask.copy()
    blind[1] = False

    def somewhere(i, w, s):
        q, k, v = heads_first(i["q"], i["k"], i["v"])
        scores = (q @ k.transpose(-1, -2) * 4 ** -0.5).masked_fill(~i["mask"], -1e30)
        return (scores.softmax(-1).masked_fill(~i["mask"], 0) @ v).transpose(1, 2)

    model("sequences/attend_blind", f"model Case({qs}, {ks}, {vs}, mask: bool[n, 1, 1, 5]) {{ attend(q, k, v, mask) }}",
          somewhere, {"q": q, "k": k, "v": v, "mask": blind})
    both = np.ones((2, 1, 5, 5), bool)
    both[0, 0, :, 3:], both[1, 0, 2, 1] = False, False
    model("sequences/attend_causal_masked",
          f"model Case(q: f32[n, 5, 2, 4], {ks}, {vs}, mask: bool[n, 1, 5, 5]) {{ attend(q, k, v, mask, causal = true) }}",
          lambda i, w, s: attend(i, w, s, attn_mask=i["mask"] & torch.ones(5, 5, dtype=bool).tril()), same | {"mask": both})
    # Four heads of queries share two of keys and values.
    many = {"q": array((2, 5, 4, 4), 1), "k": k, "v": v}
    model("sequences/attend_grouped", f"model Case(q: f32[n, 5, 4, 4], {ks}, {vs}) {{ attend(q, k, v, causal = true) }}",
          lambda i, w, s: attend(i, w, s, is_causal=True, enable_gqa=True), many)
    # More than one block of queries, and a length that fits no vector.
    long = {name: array((1, 53, 2, 4), seed) for name, seed in [("q", 1), ("k", 2), ("v", 3)]}
    types = ", ".join(f"{name}: f32[n, t, 2, 4]" for name in long)
    model("sequences/attend_long", f"model Case({types}) {{ attend(q, k, v, causal = true) }}",
          lambda i, w, s: attend(i, w, s, is_causal=True), long)

    def other(i, w, s):
        x, y = i["x"], i["y"]
        part = lambda x, name, heads: (x @ w[f"Case.attention.{name}.weight"]).unflatten(-1, (heads, 5)).transpose(1, 2)
        found = F.scaled_dot_product_attention(part(x, "query", 4), part(y, "key", 2), part(y, "value", 2), attn_mask=i["mask"], enable_gqa=True)
        return found.transpose(1, 2).flatten(2) @ w["Case.attention.out.weight"]

    shapes = {"query": (6, 20), "key": (7, 10), "value": (7, 10), "out": (20, 6)}
    weights = {f"Case.attention.{name}.weight": array(shape, 60 + i) for i, (name, shape) in enumerate(shapes.items())}
    cross = {"x": array((2, 4, 6), 5), "y": array((2, 5, 7), 6), "mask": mask}
    model("sequences/cross_attention",
          "model Case(x: f32[n, 4, 6], y: f32[n, 5, 7], mask: bool[n, 1, 1, 5]) {\n"
          "    attention(heads = 4, kv_heads = 2, width = 5, bias = false)(x, y, mask)\n}", other, cross, weights)

    def turned(x, *weights):
        (wq, bq, wk, bk, wv, bv, wo, bo) = weights
        parts = [(x @ w + b).unflatten(-1, (2, 4)) for w, b in [(wq, bq), (wk, bk), (wv, bv)]]
        parts = [turn(parts[0]), turn(parts[1]), parts[2]]
        return F.scaled_dot_product_attention(*heads_first(*parts), is_causal=True).transpose(1, 2).flatten(2) @ wo + bo

    shapes = {f"attention.{part}.{w}": s for part in ["query", "key", "value", "out"] for w, s in [("weight", (8, 8)), ("bias", (8,))]}
    simple("attention_rotary", "attention(heads = 2, causal = true, turn = rotary)", array((2, 4, 8), 5), shapes, turned, family="sequences")


def turn(x, base=10000.0):
    """Rotary embedding of `[n, t, heads, d]`."""
    steps, half = x.shape[1], x.shape[-1] // 2
    frequency = base ** (torch.arange(half, dtype=x.dtype) * (-1 / half))
    angle = (torch.arange(steps, dtype=x.dtype)[:, None] * frequency)[:, None]
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def relative():
    """T5's own buckets, and its bias in attention."""
    for causal in [False, True]:
        bucket = lambda i, w, s: T5Attention._relative_position_bucket(
            torch.arange(150)[None, :] - torch.arange(150)[:, None], bidirectional=not causal).int() + i["x"]
        model(f"sequences/distance_buckets{'_causal' if causal else ''}",
              f"model Case(x: i32[]) {{ distance_buckets(150, 150, causal = {str(causal).lower()}) + x }}", bucket, {"x": np.int32(0)})

    def attention(i, w, s):
        x = i["x"]
        parts = [(x @ w[f"Case.attention.{p}.weight"]).unflatten(-1, (2, 3)).transpose(1, 2) for p in ["query", "key", "value"]]
        distance = torch.arange(20)[None, :] - torch.arange(20)[:, None]
        buckets = T5Attention._relative_position_bucket(distance, bidirectional=False, num_buckets=8, max_distance=12)
        bias = w["Case.near.table"][buckets].permute(2, 0, 1).masked_fill(distance > 0, float("-inf"))
        return F.scaled_dot_product_attention(*parts, attn_mask=bias, scale=1.0).transpose(1, 2).flatten(2) @ w["Case.attention.out.weight"]

    weights = {f"Case.attention.{part}.weight": array((6, 6), 70 + i) for i, part in enumerate(["query", "key", "value", "out"])}
    model("sequences/attention_relative",
          "model Case(x: f32[n, 20, 6]) {\n    let near = relative_bias(2, buckets = 8, furthest = 12, causal = true)\n"
          "    attention(heads = 2, causal = true, bias = false, scale = 1.0, relative = near)(x)\n}",
          attention, {"x": array((2, 20, 6), 5)}, weights | {"Case.near.table": array((8, 2), 75)})


def blocks():
    """The blocks of transformers as PyTorch has them."""

    def given(w, prefix, kind, norms):
        """PyTorch's names for the weights of a block."""
        found = {}
        for ours, theirs in [("attend", "self_attn"), ("cross", "multihead_attn")]:
            if f"{prefix}.{ours}.query.weight" not in w:
                continue
            for part in ["weight", "bias"]:
                rows = [w[f"{prefix}.{ours}.{name}.{part}"] for name in ["query", "key", "value"]]
                found[f"{theirs}.in_proj_{part}"] = torch.cat([r.T if r.dim() == 2 else r for r in rows])
                found[f"{theirs}.out_proj.{part}"] = w[f"{prefix}.{ours}.out.{part}"].T if part == "weight" else w[f"{prefix}.{ours}.out.{part}"]
        for ours, theirs in [("wide", "linear1"), ("out", "linear2")]:
            found[f"{theirs}.weight"] = w[f"{prefix}.feed.{ours}.weight"].T
            found[f"{theirs}.bias"] = w[f"{prefix}.feed.{ours}.bias"]
        for place, norm in enumerate(norms):
            found[f"norm{place + 1}.weight"], found[f"norm{place + 1}.bias"] = w[f"{prefix}.{norm}.scale"], w[f"{prefix}.{norm}.bias"]
        return found

    def weights(prefix, attentions, norms):
        shapes = {}
        for name in attentions:
            for part in ["query", "key", "value", "out"]:
                shapes |= {f"{prefix}.{name}.{part}.weight": (6, 6), f"{prefix}.{name}.{part}.bias": (6,)}
        shapes |= {f"{prefix}.feed.wide.weight": (6, 9), f"{prefix}.feed.wide.bias": (9,)}
        shapes |= {f"{prefix}.feed.out.weight": (9, 6), f"{prefix}.feed.out.bias": (6,)}
        for norm in norms:
            shapes |= {f"{prefix}.{norm}.scale": (6,), f"{prefix}.{norm}.bias": (6,)}
        return {path: array(shape, 80 + i) for i, (path, shape) in enumerate(shapes.items())}

    x, y = array((2, 4, 6), 5), array((2, 5, 6), 6)
    there = np.arange(4)[None] < np.array([4, 2])[:, None]
    for first in [True, False]:
        norms = ["attention_norm", "feed_norm"]

        def encoder(i, w, s):
            layer = torch.nn.TransformerEncoderLayer(6, 2, 9, 0.0, "gelu", batch_first=True, norm_first=first).to(i["x"].dtype)
            out = torch.func.functional_call(layer, given(w, "Case.transformer_block", "encoder", norms), (i["x"],),
                                             {"src_key_padding_mask": ~i["there"]})
            return out * i["there"][..., None]

        model(f"sequences/encoder_block{'' if first else '_post_norm'}",
              "model Case(x: f32[n, t, 6], there: bool[n, t]) {\n    let seen = reshape(there, [n, 1, 1, t])\n"
              f"    let y = transformer_block(attention(heads = 2), feed_forward(hidden = 9), norm_first = {str(first).lower()})(x, mask = seen)\n"
              "    where(expand(there, -1), y, 0)\n}", encoder, {"x": x, "there": there},
              weights("Case.transformer_block", ["attend"], norms))

        def decoder(i, w, s):
            layer = torch.nn.TransformerDecoderLayer(6, 2, 9, 0.0, "relu", batch_first=True, norm_first=first).to(i["x"].dtype)
            past = torch.ones(4, 4, dtype=bool).triu(1)
            return torch.func.functional_call(layer, given(w, "Case.decoder_block", "decoder", norms), (i["x"], i["y"]), {"tgt_mask": past})

        norms = ["attention_norm", "cross_norm", "feed_norm"]
        text = ("model Case(x: f32[n, 4, 6], y: f32[n, 5, 6]) {\n    let feed = feed_forward(hidden = 9, activation = relu)\n"
                f"    decoder_block(attention(2, causal = true), attention(2), feed_forward(9, activation = relu), norm_first = {str(first).lower()})(x, y)\n}}")
        model(f"sequences/decoder_block{'' if first else '_post_norm'}", text.replace("    let feed = feed_forward(hidden = 9, activation = relu)\n", ""),
              decoder, {"x": x, "y": y}, weights("Case.decoder_block", ["attend", "cross"], norms))

    def gated(i, w, s):
        x = i["x"]
        weight = lambda name: w[f"Case.feed_forward.{name}.weight"]
        return (F.gelu(x @ weight("wide"), approximate="tanh") * (x @ weight("gate"))) @ weight("out")

    shapes = {"wide": (6, 9), "gate": (6, 9), "out": (9, 6)}
    model("sequences/feed_forward_gated",
          "model Case(x: f32[n, 4, 6]) {\n    x |> feed_forward(9, activation = gelu(approximate = true), gated = true, bias = false)\n}",
          gated, {"x": x}, {f"Case.feed_forward.{name}.weight": array(shape, 90 + i) for i, (name, shape) in enumerate(shapes.items())})

    model("sequences/mask", "model Case(x: f32[n, 4], length: i32[n]) { where(reshape(mask(length, 4), [n, 4]), x, 0) }",
          lambda i, w, s: i["x"] * (torch.arange(4) < i["length"][:, None]), {"x": array((3, 4), 96), "length": np.array([4, 0, 2], np.int32)})
    # One table for what comes in and what goes out.
    tied = lambda i, w, s: w["Case.symbols.table"][i["x"].long()] @ w["Case.symbols.table"].T
    model("sequences/tied_embedding",
          "model Case(x: i32[n, 4]) {\n    let symbols = embedding(7, 3)\n    symbols(x) @ transpose(symbols.table)\n}",
          tied, {"x": integers((2, 4), 4, 7)}, {"Case.symbols.table": array((7, 3), 95)})


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

    simple("positions", "positions(8)", array((2, 5, 6), 7), {"positions.table": (8, 6)}, lambda x, table: x + table[:5], family="sequences")
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


LENGTHS = [5, 3, 1]


def padded():
    """Padded sequences, both directions, states to begin with: PyTorch's own layers on packed sequences."""
    x, valid = array((3, 5, 3), 9), np.arange(5) < np.array(LENGTHS)[:, None]
    names = ["input.weight", "hidden.weight", "input.bias"]

    def torch_layer(kind, w, path, dtype, hidden_bias=None):
        """One direction with these weights, which Weft keeps as [in, out] and with one bias for both contractions."""
        layer = kind(3, 4, batch_first=True).to(dtype)
        bias = w[f"{path}.input.bias"]
        second = w[hidden_bias] if hidden_bias else torch.zeros_like(bias)
        parameters = {"weight_ih_l0": w[f"{path}.input.weight"].T, "weight_hh_l0": w[f"{path}.hidden.weight"].T,
                      "bias_ih_l0": bias, "bias_hh_l0": second}
        return lambda *given: torch.func.functional_call(layer, parameters, given)

    def pack(x):
        return torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True)

    def weights(path, gates, hidden_bias=False):
        shapes = [(3, 4 * gates), (4, 4 * gates), (4 * gates,)]
        found = {f"Case.{path}.{n}": array(s, 20 + i) for i, (n, s) in enumerate(zip(names, shapes))}
        return found | ({f"Case.{path}.hidden.bias": array((4 * gates,), 24)} if hidden_bias else {})

    def masked_lstm(i, w, s):
        _, (h, _) = torch_layer(torch.nn.LSTM, w, "Case.lstm", i["x"].dtype)(pack(i["x"]))
        return h[0]

    text = "model Case(x: f32[n, 5, 3], valid: bool[n, 5]) {{ {} }}"
    model("sequences/lstm_masked", text.format("lstm(4)(x, valid)"), masked_lstm, {"x": x, "valid": valid}, weights("lstm", 4))

    def masked_gru(i, w, s):
        _, h = torch_layer(torch.nn.GRU, w, "Case.gru", i["x"].dtype, "Case.gru.hidden.bias")(pack(i["x"]))
        return h[0]

    model("sequences/gru_masked", text.format("gru(4)(x, valid)"), masked_gru, {"x": x, "valid": valid}, weights("gru", 3, True))

    def states(i, w, s):
        all, (h, c) = torch_layer(torch.nn.LSTM, w, "Case.lstm", i["x"].dtype)(i["x"], (i["h"][None], i["c"][None]))
        return torch.cat([all.flatten(1), h[0], c[0]], 1)

    given = {"x": x, "h": array((3, 4), 30), "c": array((3, 4), 31)}
    spec = """model Case(x: f32[n, 5, 3], h: f32[n, 4], c: f32[n, 4]) {
    let found = lstm(4, sequences = true, states = true)(x, none, h, c)
    concat([flatten(found.result), found.h, found.c], axis = 1)
}"""
    model("sequences/lstm_states", spec, states, given, weights("lstm", 4))

    def both(i, w, s):
        layer = torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True).to(i["x"].dtype)
        parameters = {}
        for path, suffix in [("Case.bidirectional.forward", ""), ("Case.bidirectional.backward", "_reverse")]:
            parameters |= {f"weight_ih_l0{suffix}": w[f"{path}.input.weight"].T, f"weight_hh_l0{suffix}": w[f"{path}.hidden.weight"].T,
                           f"bias_ih_l0{suffix}": w[f"{path}.input.bias"], f"bias_hh_l0{suffix}": torch.zeros_like(w[f"{path}.input.bias"])}
        return torch.func.functional_call(layer, parameters, (i["sequence"],))

    two = {k: v for way in ["forward", "backward"] for k, v in weights(f"bidirectional.{way}", 4).items()}
    two = {k: array(v.shape, 40 + i) for i, (k, v) in enumerate(two.items())}

    def sequences(i, w, s):
        return both(i | {"sequence": i["x"]}, w, s)[0]

    def last(i, w, s):
        _, (h, _) = both(i | {"sequence": pack(i["x"])}, w, s)
        return torch.cat([h[0], h[1]], 1)

    model("sequences/bidirectional", "model Case(x: f32[n, 5, 3]) { x |> bidirectional(lstm(4, sequences = true)) }", sequences, {"x": x}, two)
    model("sequences/bidirectional_masked", text.format("bidirectional(lstm(4))(x, valid)"), last, {"x": x, "valid": valid}, two)


PEEPHOLE = """/// An LSTM whose gates see the cell (Gers & Schmidhuber 2000).
layer peephole(units: int)(x: f32[n, t, d]) -> f32[n, units] {
    let input = dense(4 * units)
    let hidden = dense(4 * units, bias = false)
    weight see_i: f32[units] = zeros()
    weight see_f: f32[units] = zeros()
    weight see_o: f32[units] = zeros()
    let states = scan step in x over t carrying h = zeros(n, units), c = zeros(n, units) {
        let i, f, g, o = split(input(step) + hidden(h), 4)
        let kept = sigmoid(f + see_f * c) * c
        c = kept + sigmoid(i + see_i * c) * tanh(g)
        h = sigmoid(o + see_o * c) * tanh(c)
    }
    states.h
}

model Case(x: f32[n, 5, 3]) -> f32[n, 4] { x |> peephole(4) }
"""


def own_cell():
    def peephole(i, w, s):
        w = {k.removeprefix("Case.peephole."): v for k, v in w.items()}
        x = i["x"]
        h = c = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        for t in range(5):
            a, f, g, o = (x[:, t] @ w["input.weight"] + w["input.bias"] + h @ w["hidden.weight"]).chunk(4, -1)
            c = torch.sigmoid(f + w["see_f"] * c) * c + torch.sigmoid(a + w["see_i"] * c) * torch.tanh(g)
            h = torch.sigmoid(o + w["see_o"] * c) * torch.tanh(c)
        return h

    shapes = {"input.weight": (3, 16), "input.bias": (16,), "hidden.weight": (4, 16), "see_i": (4,), "see_f": (4,), "see_o": (4,)}
    weights = {f"Case.peephole.{name}": array(shape, 50 + i) for i, (name, shape) in enumerate(shapes.items())}
    model("sequences/peephole", PEEPHOLE, peephole, {"x": array((2, 5, 3), 8)}, weights)


def ctc():
    """Repeated labels, no labels at all, and sequences of different lengths."""
    labels = np.array([[1, 2, 2], [3, 3, 0], [1, 0, 0], [0, 0, 0]], np.int32)
    counts, lengths = np.array([3, 2, 1, 0], np.int32), np.array([7, 6, 3, 7], np.int32)

    def loss(i, w, s):
        log = F.log_softmax(i["logits"], -1).transpose(0, 1)
        return F.ctc_loss(log, i["labels"].long(), i["lengths"].long(), i["counts"].long(), reduction="none")

    text = "model Case(logits: f32[n, 7, 4], labels: i32[n, 3], counts: i32[n], lengths: i32[n]) { ctc_loss(logits, labels, counts, lengths) }"
    given = {"logits": array((4, 7, 4), 60, -2.0, 2.0), "labels": labels, "counts": counts, "lengths": lengths}
    model("sequences/ctc", text, loss, given)


def trainings():
    """20 steps of a classifier that reads a picture row by row."""
    from models import adam, train

    def forward(x, w, _):
        h, c = torch.zeros(x.shape[0], 6, dtype=x.dtype), torch.zeros(x.shape[0], 6, dtype=x.dtype)
        for row in x.squeeze(-1).unbind(1):
            i, f, g, o = (row @ w["Case.lstm.input.weight"] + w["Case.lstm.input.bias"] + h @ w["Case.lstm.hidden.weight"]).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h @ w["Case.dense.weight"] + w["Case.dense.bias"]

    shapes = {"Case.lstm.input.weight": (28, 24), "Case.lstm.input.bias": (24,), "Case.lstm.hidden.weight": (6, 24),
              "Case.dense.weight": (6, 10), "Case.dense.bias": (10,)}
    text = """
model Case(image: f32[n, 28, 28, 1]) -> f32[n, 10] { squeeze(image, -1) |> lstm(6) |> dense(10) }

data digits = mnist() { image = f32(image) / 255 }

train {
    on digits as { image, label }
    batch = 8
    epochs = 1
    minimize cross_entropy(Case(image), label) using adam(rate = 1e-2)
}
"""
    loss = lambda y, x, label: F.cross_entropy(y, label)
    train("sequences/lstm_training", forward, loss, adam, lambda i: 1e-2, shapes, text=text)


def record():
    attention()
    relative()
    blocks()
    positions()
    recurrent()
    padded()
    own_cell()
    ctc()
    trainings()
