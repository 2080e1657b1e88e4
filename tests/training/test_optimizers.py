"""Optimisers that stages have unless a recipe says otherwise: each is one that PyTorch takes."""

import subprocess
import sys

import pytest
import torch

from compressvqa import registry
from compressvqa.training.optimizers import OptimizerChoice

DEFAULTS = [
    (name, field.default)
    for name in registry.stages
    for field in registry.stages[name].value.Config.model_fields.values()
    if isinstance(field.default, OptimizerChoice)
]


@pytest.mark.parametrize(("stage", "choice"), DEFAULTS)
def test_the_default_of_a_stage_is_a_choice_that_a_recipe_could_make(stage, choice):
    assert OptimizerChoice.model_validate(choice.model_dump()) == choice
    assert isinstance(choice.build([torch.nn.Parameter(torch.zeros(1))]), torch.optim.Optimizer)


LOADED = """
import sys
import compressvqa.running.pipeline
print(*sys.modules)
"""


def test_what_only_training_needs_is_loaded_when_something_is_trained():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert not {"torch._dynamo", "lightning_fabric", "torchmetrics", "torchvision", "scipy.stats"} & {
        *done.stdout.split()
    }
