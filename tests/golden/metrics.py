"""Metrics: one pass over three batches of different sizes, against scikit-learn."""

import numpy as np
from sklearn import metrics as sk

from recorder import batch_tensors, evaluated, save

CLASSES = 5


def text(measure):
    return f"""
model Case(logits: f32[n, 5]) -> f32[n, 5] {{
    weight w: f32[5] = ones()
    logits * w
}}

data rows = mnist("data/mnist") {{
    logits = (f32(image[0, :5, 0]) - 128) / 16
    target = (f32(image[1, :5, 0]) - 128) / 16
    answer = f32(image[2, :5, 0])
}}

train {{
    on rows as {{ logits, label, target, answer }}
    batch = 8
    epochs = 1
    let y = Case(logits)
    minimize cross_entropy(y, label) using sgd(rate = 0.0)
    measure figure: {measure}
}}
"""


def rows():
    rng = np.random.default_rng(35)
    image = np.zeros((21, 28, 28, 1), np.uint8)
    # All different in a row, so that ranks have no ties.
    image[:, 0, :5, 0] = [rng.choice(256, 5, replace=False) for _ in range(21)]
    image[:, 1, :5, 0] = rng.integers(0, 256, (21, 5))
    image[:, 2, :5, 0] = rng.integers(0, 2, (21, 5))
    likely = image[:, 0, :5, 0].argmax(1)
    # Half of the labels are right; two classes are never seen, only guessed.
    label = np.where(rng.random(21) < 0.5, likely, rng.integers(0, 4, 21)).astype(np.int32)
    return image, label


def record():
    image, label = rows()
    batches = [{"image": image[a:b], "label": label[a:b]} for a, b in [(0, 8), (8, 16), (16, 21)]]
    save("metrics/batches", batch_tensors(batches) | {"weight.Case.w": np.ones(5, np.float32)})
    number = lambda row: (image[:, row, :5, 0].astype(np.float64) - 128) / 16
    logits, target, answer = number(0), number(1), image[:, 2, :5, 0].astype(np.float64)
    guess = logits.argmax(1)

    def case(name, measure, value):
        evaluated(f"metrics/{name}", text(measure), {"figure": float(value)}, batches, "metrics/batches",
                  5e-6 * max(1.0, abs(value)))

    case("accuracy", "accuracy(y, label)", sk.accuracy_score(label, guess))
    case("top_k_accuracy", "top_k_accuracy(y, label, k = 2)", sk.top_k_accuracy_score(label, logits, k=2, labels=range(CLASSES)))
    odds = 1 / (1 + np.exp(-logits))
    case("binary_accuracy", "binary_accuracy(sigmoid(y), answer)", np.mean((odds > 0.5) == (answer > 0.5)))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    case("perplexity", "perplexity(y, label)", np.exp(-log_p[np.arange(21), label].mean()))
    for average in ["macro", "micro", "weighted"]:
        how = dict(average=average, zero_division=0)
        case(f"precision_{average}", f"precision(y, label, average = {average})", sk.precision_score(label, guess, **how))
        case(f"recall_{average}", f"recall(y, label, average = {average})", sk.recall_score(label, guess, **how))
        case(f"f1_{average}", f"f1(y, label, average = {average})", sk.f1_score(label, guess, **how))
        case(f"iou_{average}", f"iou(y, label, average = {average})", sk.jaccard_score(label, guess, **how))
    # `binary` speaks of class 1 against the rest.
    one, marked = label == 1, guess == 1
    case("precision_binary", "precision(y, label, average = binary)", sk.precision_score(one, marked))
    case("recall_binary", "recall(y, label, average = binary)", sk.recall_score(one, marked))
    case("f1_binary", "f1(y, label, average = binary)", sk.f1_score(one, marked))
    case("specificity_binary", "specificity(y, label, average = binary)", sk.recall_score(~one, ~marked))
    case("mean_squared_error", "mean_squared_error(y, target)", sk.mean_squared_error(target, logits))
    case("root_mean_squared_error", "root_mean_squared_error(y, target)", sk.root_mean_squared_error(target.ravel(), logits.ravel()))
    case("mean_absolute_error", "mean_absolute_error(y, target)", sk.mean_absolute_error(target, logits))
    case("r2", "r2(y, target)", sk.r2_score(target.ravel(), logits.ravel()))
    cosine = (logits * target).sum(1) / np.linalg.norm(logits, axis=1) / np.linalg.norm(target, axis=1)
    case("mean_cosine", "mean_cosine(y, target)", cosine.mean())
