"""Functions without weights: activations, softmax, reductions."""

import torch
import torch.nn.functional as F

from recorder import array, integers, model


def function(name, text, run, family="functions", **inputs):
    """`text` is the body of a model whose inputs are the arrays given by name."""
    kinds = {"f": "f32", "i": "i32", "b": "bool"}
    params = ", ".join(f"{k}: {kinds[v.dtype.kind]}[{', '.join(map(str, v.shape))}]" for k, v in inputs.items())
    model(f"{family}/{name}", f"model Case({params}) {{ {text} }}", lambda i, w, s: run(*i.values()), inputs)


def activations():
    x = array((4, 6), 1, -4.0, 4.0)
    # The places where pieces meet, and large values.
    x[0] = [0.0, -1.0, 1.0, 6.0, 30.0, -30.0]
    away = array((4, 6), 2, -4.0, 4.0)
    for name, expression, run in [
        ("relu", "relu(x)", F.relu),
        ("leaky_relu", "leaky_relu(x, slope = 0.2)", lambda x: F.leaky_relu(x, 0.2)),
        ("elu", "elu(x, alpha = 0.7)", lambda x: F.elu(x, 0.7)),
        ("selu", "selu(x)", F.selu),
        ("celu", "celu(x, alpha = 0.5)", lambda x: F.celu(x, 0.5)),
        ("gelu", "gelu(x)", F.gelu),
        ("gelu_tanh", "gelu(x, approximate = true)", lambda x: F.gelu(x, approximate="tanh")),
        ("silu", "silu(x)", F.silu),
        ("log_sigmoid", "log_sigmoid(x)", F.logsigmoid),
        ("softplus", "softplus(x)", lambda x: F.softplus(x, threshold=100.0)),
        ("softsign", "softsign(x)", F.softsign),
        ("tanh", "tanh(x)", torch.tanh),
        ("sigmoid", "sigmoid(x)", torch.sigmoid),
    ]:
        function(name, expression, run, x=x)
    for name, expression, run in [
        ("relu6", "relu6(x)", F.relu6),
        ("mish", "mish(x)", F.mish),
        ("hard_tanh", "hard_tanh(x)", F.hardtanh),
        ("hard_sigmoid", "hard_sigmoid(x)", F.hardsigmoid),
        ("hard_silu", "hard_silu(x)", F.hardswish),
        ("soft_shrink", "soft_shrink(x, threshold = 0.3)", lambda x: F.softshrink(x, 0.3)),
        ("clamp", "clamp(x, -1.5, 2)", lambda x: torch.clamp(x, -1.5, 2)),
        ("glu", "glu(x)", F.glu),
        ("unit", "unit(x)", lambda x: F.normalize(x, dim=-1)),
        ("norm", "norm(x, axis = -1)", lambda x: torch.linalg.vector_norm(x, dim=-1)),
        ("mean", "mean(x, axis = 0)", lambda x: x.mean(0)),
        ("mean_all", "mean(x)", lambda x: x.mean()),
        ("variance", "variance(x, axis = -1, keep = true)", lambda x: x.var(-1, correction=0, keepdim=True)),
    ]:
        function(name, expression, run, x=away)


def softmaxes():
    x = array((3, 4, 5), 3, -8.0, 8.0)
    mask = integers((3, 4, 5), 4, 3) > 0
    mask[0, 0] = False
    function("softmax", "softmax(x)", lambda x: F.softmax(x, -1), x=x)
    function("softmax_axis", "softmax(x, axis = 1)", lambda x: F.softmax(x, 1), x=x)
    function("log_softmax", "log_softmax(x)", lambda x: F.log_softmax(x, -1), x=x)
    function("log_sum_exp", "log_sum_exp(x, axis = 1)", lambda x: torch.logsumexp(x, 1), x=x)

    def masked(x, mask):
        some = mask.any(-1, keepdim=True)
        return F.softmax(torch.where(mask, x, torch.where(some, -torch.inf, 0.0)), -1) * mask

    function("masked_softmax", "masked_softmax(x, mask)", masked, x=x, mask=mask)
    function("one_hot", "one_hot(label, 5)", lambda label: F.one_hot(label.long(), 5).float(), label=integers((3, 4), 5, 5))


def record():
    activations()
    softmaxes()
