"""Checkpoints that end or stop whoever builds them, as a fault in a library or a hung file system would."""

import os
import time

from torch import nn


def ends_the_process(num_classes: int) -> nn.Module:
    os._exit(9)


def hangs(num_classes: int) -> nn.Module:
    time.sleep(3600)
    return nn.Identity()
