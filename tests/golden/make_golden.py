"""Makes the golden files beside this script: what PyTorch and scikit-learn say about every case. See README.md.

    pip install torch scikit-learn safetensors numpy
    python make_golden.py
"""

import torch

import functions
import initialisers
import layers
import metrics
import models
import optimizers
import recorder
import sequences

torch.manual_seed(0)
torch.set_num_threads(1)
for family in [layers, functions, sequences, optimizers, metrics, initialisers, models]:
    family.record()
recorder.finish()
