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
        # A number, or an array of them; or a dict of such when the metric's value is a record.
        parts = value if isinstance(value, dict) else {"": value}
        expected = {f"figure.{part}" if part else "figure": np.asarray(v, np.float64).tolist() for part, v in parts.items()}
        largest = max(float(np.max(np.abs(v))) for v in parts.values())
        evaluated(f"metrics/{name}", text(measure), expected, batches, "metrics/batches", 5e-6 * max(1.0, largest))

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
    case("mean_percentage_error", "mean_percentage_error(y, target + 20)", 100 * sk.mean_absolute_percentage_error(target.ravel() + 20, logits.ravel()))
    # Far from 0, where sums of squares in f32 would cancel.
    case("r2_offset", "r2(y + 1000, target + 1000)", sk.r2_score(target.ravel(), logits.ravel()))
    case("correlation", "correlation(y, target)", np.corrcoef(target.ravel(), logits.ravel())[0, 1])
    case("categorical_accuracy", "categorical_accuracy(y, one_hot(label, 5))", sk.accuracy_score(label, guess))
    kept = label != 2
    case("accuracy_ignore", "accuracy(y, label, ignore = 2)", sk.accuracy_score(label[kept], guess[kept]))
    case("perplexity_ignore", "perplexity(y, where(label == 2, -1, label), ignore = -1)", np.exp(-log_p[np.arange(21), label][kept].mean()))
    of_classes(case, label, guess)
    of_answers(case, logits, answer)
    of_scores(case, logits, label, answer)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def of_classes(case, label, guess):
    every = dict(average=None, zero_division=0, labels=range(CLASSES))
    case("precision_each", "precision(y, label, average = each)", sk.precision_score(label, guess, **every))
    case("recall_each", "recall(y, label, average = each)", sk.recall_score(label, guess, **every))
    case("f1_each", "f1(y, label, average = each)", sk.f1_score(label, guess, **every))
    case("iou_each", "iou(y, label, average = each)", sk.jaccard_score(label, guess, **every))
    others = [sk.recall_score(label != c, guess != c, zero_division=0) for c in range(CLASSES)]
    case("specificity_each", "specificity(y, label, average = each)", others)
    others, size = np.array(others), np.bincount(label, minlength=CLASSES)
    occurs = np.isin(range(CLASSES), np.concatenate([label, guess]))
    case("specificity_macro", "specificity(y, label, average = macro)", others[occurs].mean())
    case("specificity_weighted", "specificity(y, label, average = weighted)", (others * size).sum() / size.sum())
    of_each = np.eye(CLASSES, dtype=bool)
    case("specificity_micro", "specificity(y, label, average = micro)", sk.recall_score(~of_each[label].ravel(), ~of_each[guess].ravel()))
    counts = sk.confusion_matrix(label, guess, labels=range(CLASSES))
    case("confusion_matrix", "confusion_matrix(y, label)", counts)
    # Axes before the classes are all rows: each label twice, as a picture of two pixels.
    pixels = "reshape(concat([y, y]), [size(label), 2, 5]), concat([expand(label, -1), expand(label, -1)])"
    case("confusion_matrix_pixels", f"confusion_matrix({pixels})", 2 * counts)
    precision, recall, f1, support = sk.precision_recall_fscore_support(label, guess, **every)
    case("class_report", "class_report(y, label)", {"precision": precision, "recall": recall, "f1": f1, "support": support})
    case("cohen_kappa", "cohen_kappa(y, label)", sk.cohen_kappa_score(label, guess))
    case("matthews", "matthews(y, label)", sk.matthews_corrcoef(label, guess))


def of_answers(case, logits, answer):
    yes, true = (logits > 0.5).ravel(), (answer > 0.5).ravel()
    case("binary_precision", "binary_precision(y, answer)", sk.precision_score(true, yes))
    case("binary_recall", "binary_recall(y, answer)", sk.recall_score(true, yes))
    case("binary_f1", "binary_f1(y, answer)", sk.f1_score(true, yes))
    case("binary_specificity", "binary_specificity(y, answer)", sk.recall_score(~true, ~yes))
    case("binary_iou", "binary_iou(y, answer)", sk.jaccard_score(true, yes))
    case("binary_recall_threshold", "binary_recall(y, answer, threshold = -2)", sk.recall_score(true, (logits > -2).ravel()))


def of_scores(case, logits, label, answer):
    score, true = logits.ravel(), answer.ravel()
    # Few different scores, so that many rows share one.
    coarse = np.floor(score / 4)
    case("auc", "auc(y, answer)", sk.roc_auc_score(true, score))
    # Of several classes counted as one.
    case("auc_micro", "auc(softmax(y), one_hot(label, 5))", sk.roc_auc_score(np.eye(CLASSES)[label].ravel(), softmax(logits).ravel()))
    case("auc_ties", "auc(floor(y / 4), answer)", sk.roc_auc_score(true, coarse))
    case("average_precision", "auc(y, answer, curve = pr)", sk.average_precision_score(true, score))
    case("average_precision_ties", "auc(floor(y / 4), answer, curve = pr)", sk.average_precision_score(true, coarse))
    p = softmax(logits)
    seen = [c for c in range(CLASSES) if (label == c).any()]
    size = np.array([(label == c).sum() for c in seen])
    for name, curve, area in [("class_auc", "roc", sk.roc_auc_score), ("class_average_precision", "pr", sk.average_precision_score)]:
        areas = np.array([area(label == c, p[:, c]) for c in seen])
        call = lambda average: f"class_auc(softmax(y), label, curve = {curve}, average = {average})"
        case(f"{name}_macro", call("macro"), areas.mean())
        case(f"{name}_weighted", call("weighted"), (areas * size).sum() / size.sum())
        each = np.zeros(CLASSES)
        each[seen] = areas
        case(f"{name}_each", call("each"), each)
