"""Makes the golden files beside this script: what PyTorch and scikit-learn say about every case. See README.md.

    pip install torch keras scikit-learn safetensors numpy
    python make_golden.py [--again] [layers functions …]

Without names, all families. Cases that are recorded already keep their files unless `--again` is given.
"""

import importlib
import sys

import torch

import recorder

FAMILIES = ["layers", "functions", "losses", "sequences", "optimizers", "metrics", "initialisers", "weights", "models", "pretrained",
            "generation"]

torch.manual_seed(0)
torch.set_num_threads(1)
names = [word for word in sys.argv[1:] if not word.startswith("-")]
for name in names or FAMILIES:
    importlib.import_module(name).record()
recorder.finish(again="--again" in sys.argv)
