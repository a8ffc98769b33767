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


def statistics():
    x = array((7, 3), 11, -2.0, 2.0)
    for name, expression, run in [
        ("std", "std(x, axis = 0)", lambda x: x.std(0, correction=0)),
        ("percentile", "percentile(x, 0.9)", lambda x: torch.quantile(x, 0.9, dim=0)),
        ("median", "median(x, axis = 1)", lambda x: torch.quantile(x, 0.5, dim=1)),
        ("ordinals", "x * ordinals(x, 0)", lambda x: x * torch.arange(7, dtype=x.dtype)[:, None]),
    ]:
        function(name, expression, run, x=x)
    known = integers((7, 3), 12, 4) > 0
    missing = "let gaps = where(known, x, log(-ones_like(x)))\n"

    def gaps(x, known):
        return torch.where(known, x, torch.nan)

    def nan_std(x, known):
        count = known.sum(0)
        mean = torch.where(known, x, 0).sum(0) / count
        return (torch.where(known, x - mean, 0).square().sum(0) / count).sqrt()

    for name, expression, run in [
        ("is_nan", "where(is_nan(gaps), x, 2 * x)", lambda x, known: torch.where(known, 2 * x, x)),
        ("fill_missing", "fill_missing(gaps, 3)", lambda x, known: torch.where(known, x, 3.0)),
        ("known_count", "x * known_count(gaps, axis = 0)", lambda x, known: x * known.sum(0)),
        ("nan_mean", "nan_mean(gaps, axis = 0)", lambda x, known: gaps(x, known).nanmean(0)),
        ("nan_std", "nan_std(gaps, axis = 0)", nan_std),
        ("nan_median", "nan_median(gaps)", lambda x, known: gaps(x, known).nanquantile(0.5, dim=0)),
        ("nan_percentile", "nan_percentile(gaps, 0.2)", lambda x, known: gaps(x, known).nanquantile(0.2, dim=0)),
    ]:
        function(name, missing + expression, run, x=x, known=known)
    label = integers((20,), 13, 4)
    function(
        "class_weights",
        "class_weights(label, 5)",
        lambda label: torch.where(
            torch.bincount(label.long(), minlength=5) > 0, 20 / (5 * torch.bincount(label.long(), minlength=5)), 0.0
        ),
        label=label,
    )


def pictures():
    image = array((6, 6, 2), 21)
    function("affine_quarter", "affine(image, rotation = 90)", lambda x: torch.rot90(x, 1, (0, 1)), image=image)
    function("affine_shift", "affine(image, down = 2, right = -1)", lambda x: F.pad(x, (0, 0, 0, 1, 2, 0))[:6, 1:], image=image)

    def affine(x):
        h, w = x.shape[:2]
        turn = torch.tensor(25 * torch.pi / 180, dtype=x.dtype)
        cos, sin = turn.cos(), turn.sin()
        # Forward, in pixels (x, y) from the middle: shear, then scale and turn (y points down), then move.
        shear = torch.tensor([[1, 0.2], [0, 1]], dtype=x.dtype)
        forward = 1.3 * torch.stack([torch.stack([cos, sin]), torch.stack([-sin, cos])]) @ shear
        back = torch.linalg.inv(forward)
        size = torch.tensor([(w - 1) / 2, (h - 1) / 2], dtype=x.dtype)
        offset = -back @ torch.tensor([-0.6, 1.4], dtype=x.dtype)
        theta = torch.cat([back * size[None, :], offset[:, None]], 1) / size[:, None]
        grid = F.affine_grid(theta[None], (1, 2, h, w), align_corners=True)
        return F.grid_sample(x.permute(2, 0, 1)[None], grid, align_corners=True)[0].permute(1, 2, 0)

    text = "affine(image, rotation = 25, scale = 1.3, shear = 0.2, down = 1.4, right = -0.6)"
    function("affine", text, affine, image=array((7, 9, 2), 22))
    places = "let y = broadcast(expand(iota(4), -1), [4, 5])\n let x = broadcast(iota(5), [4, 5])\n"
    function(
        "pixels",
        places + "pixels(image, y + 3, 2 * x)",
        lambda x: F.pad(x, (0, 0, 0, 3, 0, 1))[3:7, 0:9:2],
        image=image,
    )

    def halfway(x):
        return F.pad((x[:-1, :-1] + x[1:, :-1] + x[:-1, 1:] + x[1:, 1:]) / 4, (0, 0))[:4, :5]

    function("between_pixels", places + "between_pixels(image, f32(y) + 0.5, f32(x) + 0.5)", halfway, image=image)
    rows = array((5, 3), 23)
    function("next_row", "next_row(x)", lambda x: x.roll(-1, 0), x=rows)
    share = array((5,), 24, 0.0, 1.0)
    function(
        "share_out",
        "share_out(share, x)",
        lambda share, x: share[:, None] * x + (1 - share[:, None]) * x.roll(-1, 0),
        share=share,
        x=rows,
    )


def record():
    activations()
    softmaxes()
    statistics()
    pictures()
