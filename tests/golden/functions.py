"""Functions without weights: activations, softmax, reductions, losses."""

import torch
import torch.nn.functional as F

from recorder import array, integers, model


def function(name, text, run, **inputs):
    """`text` is the body of a model whose inputs are the arrays given by name."""
    kinds = {"f": "f32", "i": "i32", "b": "bool"}
    params = ", ".join(f"{k}: {kinds[v.dtype.kind]}[{', '.join(map(str, v.shape))}]" for k, v in inputs.items())
    model(f"functions/{name}", f"model Case({params}) {{ {text} }}", lambda i, w, s: run(*i.values()), inputs)


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


def losses():
    logits, label = array((4, 5), 6, -6.0, 6.0), integers((4,), 7, 5)
    target = F.softmax(torch.from_numpy(array((4, 5), 8)), -1).numpy()
    p = F.softmax(torch.from_numpy(logits), -1).numpy()
    ce = lambda **how: lambda logits, label: F.cross_entropy(logits, label.long(), reduction="none", **how)
    function("cross_entropy", "cross_entropy(logits, label)", ce(), logits=logits, label=label)
    function("cross_entropy_smooth", "cross_entropy(logits, label, smoothing = 0.1)", ce(label_smoothing=0.1), logits=logits, label=label)
    function("cross_entropy_steps", "cross_entropy(logits, label)",
             lambda logits, label: F.cross_entropy(logits.movedim(-1, 1), label.long(), reduction="none"),
             logits=array((2, 3, 5), 9), label=integers((2, 3), 10, 5))
    function("soft_cross_entropy", "soft_cross_entropy(logits, target)",
             lambda logits, target: -(target * F.log_softmax(logits, -1)).sum(-1), logits=logits, target=target)
    function("negative_log_likelihood", "negative_log_likelihood(p, label)",
             lambda p, label: F.nll_loss(torch.log(p), label.long(), reduction="none"), p=p, label=label)
    function("kl_divergence", "kl_divergence(p, q)", lambda p, q: (p * torch.log(p / q)).sum(-1), p=p, q=target)

    q, truth = array((3, 4), 11, 0.01, 0.99), (array((3, 4), 12) > 0).astype("float32")
    z = array((3, 4), 13, -8.0, 8.0)
    z[0] = [60.0, -60.0, 0.0, 0.0]
    function("binary_cross_entropy", "binary_cross_entropy(p, target)",
             lambda p, target: -(target * torch.log(p) + (1 - target) * torch.log(1 - p)), p=q, target=truth)
    function("binary_cross_entropy_logits", "binary_cross_entropy_logits(logit, target)",
             lambda logit, target: F.binary_cross_entropy_with_logits(logit, target, reduction="none"), logit=z, target=truth)

    def focal(logit, target):
        p = torch.sigmoid(logit)
        right = p * target + (1 - p) * (1 - target)
        share = 0.25 * target + 0.75 * (1 - target)
        return share * (1 - right) ** 2.0 * F.binary_cross_entropy_with_logits(logit, target, reduction="none")

    function("focal", "focal(logit, target)", focal, logit=array((3, 4), 14, -4.0, 4.0), target=truth)
    function("dice", "dice(p, target)",
             lambda p, target: 1 - (2 * (p * target).sum(1) + 1) / (p.sum(1) + target.sum(1) + 1), p=q, target=truth)

    a, b = array((3, 4), 15, -3.0, 3.0), array((3, 4), 16, -3.0, 3.0)
    pair = dict(prediction=a, target=b)
    none = dict(reduction="none")
    function("mse", "mse(prediction, target)", lambda prediction, target: F.mse_loss(prediction, target, **none), **pair)
    function("mae", "mae(prediction, target)", lambda prediction, target: F.l1_loss(prediction, target, **none), **pair)
    function("huber", "huber(prediction, target, delta = 1.5)",
             lambda prediction, target: F.huber_loss(prediction, target, delta=1.5, **none), **pair)
    function("log_cosh", "log_cosh(prediction, target)", lambda prediction, target: torch.log(torch.cosh(prediction - target)), **pair)
    function("quantile", "quantile(prediction, target, q = 0.9)",
             lambda prediction, target: torch.maximum(0.9 * (target - prediction), -0.1 * (target - prediction)), **pair)
    function("poisson", "poisson(log_rate, target)",
             lambda log_rate, target: F.poisson_nll_loss(log_rate, target, **none), log_rate=a, target=array((3, 4), 17, 0.0, 5.0))
    function("gaussian_nll", "gaussian_nll(mean, variance, target)",
             lambda mean, variance, target: F.gaussian_nll_loss(mean, target, variance, **none),
             mean=a, variance=array((3, 4), 18, 0.1, 2.0), target=b)

    side = truth * 2 - 1
    function("hinge", "hinge(score, target)", lambda score, target: F.relu(1 - target * score), score=a, target=side)
    function("squared_hinge", "squared_hinge(score, target)", lambda score, target: F.relu(1 - target * score) ** 2, score=a, target=side)
    function("cosine_similarity", "cosine_similarity(a, b)", lambda a, b: F.cosine_similarity(a, b), a=a, b=b)
    function("cosine_distance", "cosine_distance(a, b)", lambda a, b: 1 - F.cosine_similarity(a, b), a=a, b=b)
    function("triplet", "triplet(a, p, q)", lambda a, p, q: F.triplet_margin_loss(a, p, q, eps=0.0, **none), a=a, p=b, q=array((3, 4), 19))

    def contrastive(a, b, same):
        d = torch.linalg.vector_norm(a - b, dim=-1)
        return same * d * d + (1 - same) * F.relu(3.0 - d) ** 2

    function("contrastive", "contrastive(a, b, same, margin = 3.0)", contrastive, a=a, b=b, same=truth[:, 0])

    def info_nce(a, b):
        return F.cross_entropy(F.normalize(a) @ F.normalize(b).T / 0.2, torch.arange(len(a)), reduction="none")

    function("info_nce", "info_nce(a, b, temperature = 0.2)", info_nce, a=a, b=b)


def record():
    activations()
    softmaxes()
    losses()
