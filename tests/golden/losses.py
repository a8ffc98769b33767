"""Losses, one value an element, against PyTorch (or their formula, where PyTorch has none)."""

import torch
import torch.nn.functional as F

from functions import function
from recorder import array, integers


def loss(name, text, run, **inputs):
    function(name, text, run, family="losses", **inputs)


def record():
    logits, label = array((4, 5), 6, -6.0, 6.0), integers((4,), 7, 5)
    target = F.softmax(torch.from_numpy(array((4, 5), 8)), -1).numpy()
    p = F.softmax(torch.from_numpy(logits), -1).numpy()
    ce = lambda **how: lambda logits, label: F.cross_entropy(logits, label.long(), reduction="none", **how)
    loss("cross_entropy", "cross_entropy(logits, label)", ce(), logits=logits, label=label)
    loss("cross_entropy_smooth", "cross_entropy(logits, label, smoothing = 0.1)", ce(label_smoothing=0.1), logits=logits, label=label)
    loss("cross_entropy_steps", "cross_entropy(logits, label)",
             lambda logits, label: F.cross_entropy(logits.movedim(-1, 1), label.long(), reduction="none"),
             logits=array((2, 3, 5), 9), label=integers((2, 3), 10, 5))
    loss("soft_cross_entropy", "soft_cross_entropy(logits, target)",
             lambda logits, target: -(target * F.log_softmax(logits, -1)).sum(-1), logits=logits, target=target)
    loss("negative_log_likelihood", "negative_log_likelihood(p, label)",
             lambda p, label: F.nll_loss(torch.log(p), label.long(), reduction="none"), p=p, label=label)
    loss("kl_divergence", "kl_divergence(p, q)", lambda p, q: (p * torch.log(p / q)).sum(-1), p=p, q=target)

    q, truth = array((3, 4), 11, 0.01, 0.99), (array((3, 4), 12) > 0).astype("float32")
    z = array((3, 4), 13, -8.0, 8.0)
    z[0] = [60.0, -60.0, 0.0, 0.0]
    loss("binary_cross_entropy", "binary_cross_entropy(p, target)",
             lambda p, target: -(target * torch.log(p) + (1 - target) * torch.log(1 - p)), p=q, target=truth)
    loss("binary_cross_entropy_logits", "binary_cross_entropy_logits(logit, target)",
             lambda logit, target: F.binary_cross_entropy_with_logits(logit, target, reduction="none"), logit=z, target=truth)

    def focal(logit, target):
        p = torch.sigmoid(logit)
        right = p * target + (1 - p) * (1 - target)
        share = 0.25 * target + 0.75 * (1 - target)
        return share * (1 - right) ** 2.0 * F.binary_cross_entropy_with_logits(logit, target, reduction="none")

    loss("focal", "focal(logit, target)", focal, logit=array((3, 4), 14, -4.0, 4.0), target=truth)
    loss("dice", "dice(p, target)",
             lambda p, target: 1 - (2 * (p * target).sum(1) + 1) / (p.sum(1) + target.sum(1) + 1), p=q, target=truth)

    a, b = array((3, 4), 15, -3.0, 3.0), array((3, 4), 16, -3.0, 3.0)
    pair = dict(prediction=a, target=b)
    none = dict(reduction="none")
    loss("mse", "mse(prediction, target)", lambda prediction, target: F.mse_loss(prediction, target, **none), **pair)
    loss("mae", "mae(prediction, target)", lambda prediction, target: F.l1_loss(prediction, target, **none), **pair)
    loss("huber", "huber(prediction, target, delta = 1.5)",
             lambda prediction, target: F.huber_loss(prediction, target, delta=1.5, **none), **pair)
    loss("log_cosh", "log_cosh(prediction, target)", lambda prediction, target: torch.log(torch.cosh(prediction - target)), **pair)
    loss("quantile", "quantile(prediction, target, q = 0.9)",
             lambda prediction, target: torch.maximum(0.9 * (target - prediction), -0.1 * (target - prediction)), **pair)
    loss("poisson", "poisson(log_rate, target)",
             lambda log_rate, target: F.poisson_nll_loss(log_rate, target, **none), log_rate=a, target=array((3, 4), 17, 0.0, 5.0))
    loss("gaussian_nll", "gaussian_nll(mean, variance, target)",
             lambda mean, variance, target: F.gaussian_nll_loss(mean, target, variance, **none),
             mean=a, variance=array((3, 4), 18, 0.1, 2.0), target=b)

    side = truth * 2 - 1
    loss("hinge", "hinge(score, target)", lambda score, target: F.relu(1 - target * score), score=a, target=side)
    loss("squared_hinge", "squared_hinge(score, target)", lambda score, target: F.relu(1 - target * score) ** 2, score=a, target=side)
    loss("cosine_similarity", "cosine_similarity(a, b)", lambda a, b: F.cosine_similarity(a, b), a=a, b=b)
    loss("cosine_distance", "cosine_distance(a, b)", lambda a, b: 1 - F.cosine_similarity(a, b), a=a, b=b)
    loss("triplet", "triplet(a, p, q)", lambda a, p, q: F.triplet_margin_loss(a, p, q, eps=0.0, **none), a=a, p=b, q=array((3, 4), 19))

    def contrastive(a, b, same):
        d = torch.linalg.vector_norm(a - b, dim=-1)
        return same * d * d + (1 - same) * F.relu(3.0 - d) ** 2

    loss("contrastive", "contrastive(a, b, same, margin = 3.0)", contrastive, a=a, b=b, same=truth[:, 0])

    def info_nce(a, b):
        return F.cross_entropy(F.normalize(a) @ F.normalize(b).T / 0.2, torch.arange(len(a)), reduction="none")

    loss("info_nce", "info_nce(a, b, temperature = 0.2)", info_nce, a=a, b=b)
    weighted()
    of_classes()
    of_numbers()


def weighted():
    """Losses that come with weights, as the mean that `minimize` takes of them."""
    logits, label = array((6, 5), 20, -6.0, 6.0), integers((6,), 21, 5)
    weights = [1.0, 0.5, 4.0, 2.0, 3.0]
    mean = lambda call: f"let part = {call}  sum(part.loss * part.weight) / sum(part.weight)"
    ce = lambda **how: lambda logits, label: F.cross_entropy(
        logits, label.long(), **{k: v.to(logits.dtype) if k == "weight" else v for k, v in how.items()})
    loss("cross_entropy_class_weights", mean(f"cross_entropy(logits, label, class_weights = {weights})"),
         ce(weight=torch.tensor(weights)), logits=logits, label=label)
    # Labels that are no class: they may be ignored, but not looked up.
    padded = label.copy()
    padded[[1, 4]] = -100
    loss("cross_entropy_ignore", mean("cross_entropy(logits, label, ignore = -100)"), ce(ignore_index=-100), logits=logits, label=padded)
    loss("cross_entropy_weights_and_ignore", mean(f"cross_entropy(logits, label, class_weights = {weights}, ignore = 2)"),
         ce(weight=torch.tensor(weights), ignore_index=2), logits=logits, label=integers((6,), 22, 4))

    z, truth = array((3, 4), 23, -8.0, 8.0), (array((3, 4), 24) > 0).astype("float32")
    positive = lambda logit, target: F.binary_cross_entropy_with_logits(
        logit, target, reduction="none", pos_weight=torch.tensor(3.0, dtype=logit.dtype))
    loss("binary_cross_entropy_logits_positive", "binary_cross_entropy_logits(logit, target, positive_weight = 3)",
         positive, logit=z, target=truth)
    loss("binary_cross_entropy_positive", "binary_cross_entropy(sigmoid(logit), target, positive_weight = 3)",
         positive, logit=z / 2, target=truth)
    loss("binary_cross_entropy_smooth", "binary_cross_entropy_logits(logit, target, smoothing = 0.2)",
         lambda logit, target: F.binary_cross_entropy_with_logits(logit, 0.8 * target + 0.1, reduction="none"), logit=z, target=truth)


def of_classes():
    logits, label = array((4, 5), 25, -4.0, 4.0), integers((4,), 26, 5)
    one_hot = F.one_hot(torch.from_numpy(label).long(), 5).float().numpy()
    p = F.softmax(torch.from_numpy(logits), -1).numpy()
    loss("soft_cross_entropy_smooth", "soft_cross_entropy(logits, target, smoothing = 0.1)",
         lambda logits, target: F.cross_entropy(logits, target, reduction="none", label_smoothing=0.1), logits=logits, target=one_hot)
    loss("soft_negative_log_likelihood", "soft_negative_log_likelihood(p, target)",
         lambda p, target: -(target * torch.log(p)).sum(-1), p=p, target=one_hot)

    def focal(logits, label):
        # Keras's CategoricalFocalCrossentropy.
        p = F.softmax(logits, -1).gather(-1, label.long()[:, None])[:, 0]
        return 0.5 * (1 - p) ** 3.0 * -torch.log(p)

    loss("categorical_focal", "categorical_focal(logits, label, alpha = 0.5, gamma = 3)", focal, logits=logits, label=label)

    def hinge(score, label):
        own = score.gather(-1, label.long()[:, None])
        others = score.masked_fill(F.one_hot(label.long(), 5).bool(), -torch.inf)
        return F.relu(1 + others.max(-1).values - own[:, 0])

    loss("categorical_hinge", "categorical_hinge(score, label)", hinge, score=logits, label=label)


def of_numbers():
    a, b = array((3, 4), 27, 0.1, 3.0), array((3, 4), 28, 0.2, 3.0)
    pair = dict(prediction=a, target=b)
    loss("poisson_rate", "poisson_rate(rate, target)",
         lambda rate, target: F.poisson_nll_loss(rate, target, log_input=False, eps=1e-7, reduction="none"), rate=a, target=b)
    loss("squared_log_error", "squared_log_error(prediction, target)",
         lambda prediction, target: (torch.log1p(prediction) - torch.log1p(target)) ** 2, **pair)
    loss("percentage_error", "percentage_error(prediction, target)",
         lambda prediction, target: 100 * torch.abs((prediction - target) / target), **pair)
