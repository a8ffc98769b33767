"""Records golden cases: runs the reference in f64 and in f32, and writes tensors and the manifest.

The f64 result is what is kept (rounded to f32). How far the f32 run strays from it says how sensitive a case is to
rounding: the tolerance is eight times that, and never less than the floor given.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

FOLDER = Path(__file__).parent
CASES = []
_files = {}


def array(shape, seed, low=-1.0, high=1.0):
    """Uniform numbers that f32 holds exactly, so that f64 and f32 runs start alike."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def integers(shape, seed, high):
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.int32)


def save(file, tensors):
    """Keeps tensors (name → array) in `file`.safetensors; f64 becomes f32."""
    packed = {}
    for name, value in tensors.items():
        value = np.array(value, order="C")
        packed[name] = value.astype(np.float32) if value.dtype == np.float64 else value
    _files[file] = packed


def tensors_of(values, dtype):
    """numpy → torch: floats in `dtype` with gradients, the rest as they are."""
    out = {}
    for name, value in values.items():
        t = torch.from_numpy(np.array(value))
        out[name] = t.to(dtype).requires_grad_(True) if t.is_floating_point() else t
    return out


def tolerance(exact, rough, floor):
    """{tensor: largest |difference| allowed}, from how far f32 strays from f64."""
    result = {}
    for name, value in exact.items():
        value = np.asarray(value, np.float64)
        stray = float(np.max(np.abs(value - np.asarray(rough[name], np.float64)), initial=0.0))
        size = float(np.max(np.abs(value), initial=0.0))
        result[name] = float(f"{max(8 * stray, floor * max(size, 1.0)):.2g}")
    return result


def model(file, text, run, inputs, weights=None, states=None, training=False, floor=2e-6):
    """A case of kind `model`: outputs, gradients and new states of one application.

    `text` is the spec; `run(inputs, weights, states)` is the reference and returns an output (or a dict of them), or a
    pair of that and the new states.
    """
    weights, states = weights or {}, states or {}

    def pass_in(dtype):
        i, w = tensors_of(inputs, dtype), tensors_of(weights, dtype)
        s = {name: t.detach() for name, t in tensors_of(states, dtype).items()}
        result = run(i, w, s)
        outputs, after = result if isinstance(result, tuple) else (result, {})
        outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
        found = {}
        total = 0.0
        for n, (name, value) in enumerate(outputs.items()):
            found[name] = value.detach().numpy()
            if value.is_floating_point() and value.requires_grad:
                seed = torch.from_numpy(array(tuple(value.shape), 1000 + n)).to(dtype)
                cotangents[f"cotangent.{name}"] = seed.numpy()
                total = total + (value * seed).sum()
        leaves = {f"input.{k}": t for k, t in i.items() if t.requires_grad}
        leaves |= {k: t for k, t in w.items() if t.requires_grad}
        if isinstance(total, torch.Tensor):
            got = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
            for name, g in zip(leaves, got):
                if g is not None:
                    found[f"gradient.{name}"] = g.numpy()
        for name, value in after.items():
            found[f"after.{name}"] = value.detach().numpy()
        return found

    cotangents = {}
    rough = pass_in(torch.float32)
    exact = pass_in(torch.float64)
    given = {f"input.{k}": v for k, v in inputs.items()}
    given |= {f"weight.{k}": v for k, v in weights.items()} | {f"state.{k}": v for k, v in states.items()}
    save(file, given | cotangents | exact)
    CASES.append(
        {
            "name": file,
            "kind": "model",
            "text": text.strip() + "\n",
            "training": training,
            "files": [f"{file}.safetensors"],
            "tolerance": tolerance(exact, rough, floor),
        }
    )


def trained(file, run, batches, weights, states=None, steps=20, epoch_steps=20, text=None, spec=None, settings=None,
            shared=None, floor=5e-6):
    """A case of kind `train`: `run(batches, weights, states, dtype)` trains for `steps` steps and returns the losses, the first
    gradients and the weights and states at the end."""
    states = states or {}

    def pass_in(dtype):
        w = {k: t.detach().clone().requires_grad_(True) for k, t in tensors_of(weights, dtype).items()}
        s = {k: t.detach().clone() for k, t in tensors_of(states, dtype).items()}
        losses, gradients, after = run(batches, w, s, dtype)
        found = {"loss": np.array(losses)}
        found |= {f"gradient.{k}": g.detach().numpy() for k, g in gradients.items()}
        return found | {f"after.{k}": v.detach().numpy() for k, v in after.items()}

    rough = pass_in(torch.float32)
    exact = pass_in(torch.float64)
    given = {f"weight.{k}": v for k, v in weights.items()} | {f"state.{k}": v for k, v in states.items()}
    files = [f"{file}.safetensors"]
    if shared:
        files.append(f"{shared}.safetensors")
    else:
        given |= batch_tensors(batches)
    save(file, given | exact)
    case = {
        "name": file,
        "kind": "train",
        "steps": steps,
        "epoch_steps": epoch_steps,
        "total_steps": steps,
        "batches": len(batches),
        "files": files,
        "tolerance": tolerance(exact, rough, floor),
    }
    if text:
        case["text"] = text.strip() + "\n"
    if spec:
        case |= {"spec": spec, "settings": settings or {}}
    CASES.append(case)


def evaluated(file, text, expected, batches, shared, tolerance=2e-6):
    """A case of kind `evaluate`: the figures of one pass over the batches."""
    CASES.append(
        {
            "name": file,
            "kind": "evaluate",
            "text": text.strip() + "\n",
            "batches": len(batches),
            "files": [f"{shared}.safetensors"],
            "expected": expected,
            "tolerance": {name: tolerance for name in expected},
        }
    )


def initialised(file, text, path, shape, mean, deviation, limit, orthogonal):
    """A case of kind `initialise`: the statistics of the weight at `path` before any training."""
    expected = {"path": path, "shape": shape, "mean": mean, "deviation": deviation, "orthogonal": orthogonal}
    if limit is not None:
        expected["limit"] = limit
    CASES.append({"name": file, "kind": "initialise", "text": text + "\n", "files": [], "expected": expected})


def batch_tensors(batches):
    return {f"batch.{i}.{field}": v for i, batch in enumerate(batches) for field, v in batch.items()}


def family(name):
    return name.split("/")[0]


def layout(tensors):
    return {name: value.shape for name, value in tensors.items()}


def finish(again=False):
    """Writes the manifests and the tensors of all families that recorded something.

    A case that stands in its manifest with the same text is left alone, tensors and all, unless `again` is set: another
    version of PyTorch may round differently, and nothing should change that nobody meant to change.
    """
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names), "case names must differ"
    unchanged = set()
    for folder in dict.fromkeys(map(family, names)):
        cases = [case for case in CASES if family(case["name"]) == folder]
        manifest = FOLDER / folder / "cases.json"
        known = {case["name"]: case for case in json.loads(manifest.read_text())} if manifest.exists() and not again else {}
        same = lambda a, b: all(a.get(key) == b.get(key) for key in a.keys() - {"tolerance"})
        cases = [json.loads(json.dumps(case)) for case in cases]
        cases = [known[case["name"]] if same(case, known.get(case["name"], {})) else case for case in cases]
        unchanged |= {file for case in cases if case is known.get(case["name"]) for file in case["files"]}
        manifest.parent.mkdir(exist_ok=True)
        manifest.write_text(json.dumps(cases, indent=1) + "\n")
        wanted = {file for case in cases for file in case["files"]}
        for path in (FOLDER / folder).glob("*.safetensors"):
            if path.relative_to(FOLDER).as_posix() not in wanted:
                path.unlink()
    written = 0
    for file, tensors in _files.items():
        path = FOLDER / f"{file}.safetensors"
        kept = f"{file}.safetensors" in unchanged and path.exists() and layout(load_file(path)) == layout(tensors)
        if not kept:
            path.parent.mkdir(exist_ok=True)
            save_file(tensors, path)
            written += 1
    print(f"{len(CASES)} cases, {written} of {len(_files)} files written")
