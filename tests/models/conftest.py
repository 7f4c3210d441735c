"""One thread: the networks here are too small to share out, and other tests may run beside."""

import torch

torch.set_num_threads(1)
