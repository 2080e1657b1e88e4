"""The digest of code: what changes what runs changes it, and nothing else does."""

import copy
import functools
import re
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

import compressvqa.code_digest as digests
from compressvqa.code_digest import code_digest
from compressvqa.models import create_model
from compressvqa.registry import scorers


def load(text: str) -> dict:
    """A module of the user's own, as it would be read anew from an edited file."""
    names = {"__name__": "own"}
    exec(compile(textwrap.dedent(text), "own.py", "exec"), names)
    return names


NETWORK = """
import torch
from torch import nn
SCALE = {"whole": 2.0, "parts": [1, 2]}
def helper(x, power=2):
    return x ** power
class Base(nn.Module):
    def lift(self, x):
        return x + 1
class Net(Base):
    gain = 3
    def __init__(self):
        super().__init__()
        self.strides = [1, 2]
        self.register_buffer("mask", torch.ones(2), persistent=False)
    def forward(self, x):
        return self.lift(helper(x)) * SCALE["whole"]
"""


def digest_of(text: str) -> str:
    return code_digest(load(text)["Net"]())


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('return self.lift(helper(x)) * SCALE["whole"]', 'return self.lift(helper(x)) / SCALE["whole"]'),
        ("return x ** power", "return x ** -power"),  # a function that it uses
        ("power=2", "power=3"),
        ("return x + 1", "return x - 1"),  # a method that it inherits
        ("gain = 3", "gain = 4"),
        ('"whole": 2.0', '"whole": 2.5'),
        ("[1, 2]}", "[1, 3]}"),
        ("self.strides = [1, 2]", "self.strides = [1, 4]"),
        ("torch.ones(2)", "torch.ones(2) * 2"),  # a buffer that no state_dict holds
    ],
)
def test_what_changes_scores_changes_the_digest(was, now):
    assert was in NETWORK and digest_of(NETWORK) != digest_of(NETWORK.replace(was, now))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("def forward(self, x):", "def forward(self, x):  # as in the paper"),
        ("def forward(self, x):\n", 'def forward(self, x):\n        """Scores."""\n'),
        ("class Base(nn.Module):\n", '\n\nclass Base(nn.Module):\n    """A base."""\n'),
        ("import torch\n", "import torch\nimport json\n"),
    ],
)
def test_comments_docstrings_and_places_change_nothing(was, now):
    assert was in NETWORK and digest_of(NETWORK) == digest_of(NETWORK.replace(was, now))


def test_what_is_changed_while_the_program_runs():
    network = load(NETWORK)["Net"]()
    seen = [code_digest(network)]
    network.forward = lambda x: x
    seen.append(code_digest(network))
    handle = network.register_forward_hook(lambda module, inputs, output: output * 2)
    seen.append(code_digest(network))
    handle.remove()
    assert code_digest(network) == seen[1]
    type(network).lift = lambda self, x: x
    seen.append(code_digest(network))
    network.mask.add_(1)
    seen.append(code_digest(network))
    assert len(set(seen)) == 5
    before = code_digest(network)
    assert code_digest(network.train()) == code_digest(network.eval()) == before


def test_a_weight_and_a_setting_of_our_own_networks():
    torch.manual_seed(0)
    network = create_model("deepqa")
    before = code_digest(network)
    assert before == code_digest(network)
    torch.manual_seed(1)
    other = create_model("deepqa")  # it was made otherwise, and holds the same weights now
    other.load_state_dict(network.state_dict())
    assert code_digest(other) == before
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    assert code_digest(network) != before


def test_functions_by_what_they_hold():
    def scaled(by):
        return lambda x: x * by

    assert code_digest(scaled(2)) == code_digest(scaled(2)) != code_digest(scaled(3))
    assert code_digest(functools.partial(pow, 2)) != code_digest(functools.partial(pow, 3))
    assert code_digest(nn.ReLU()) != code_digest(nn.GELU()) and code_digest({1, 2}) == code_digest({2, 1})
    loop: list = []
    loop.append(loop)
    assert code_digest(loop) == code_digest(loop)


def test_modules_of_the_user_that_are_imported_late(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    helper, found = tmp_path / "late_helper_of_a_test.py", set()
    names = load("def forward(x):\n    from late_helper_of_a_test import lift\n    return lift(x)\n")
    for body in ("return x", "return x + 1"):
        helper.write_text(f"def lift(x):\n    {body}\n")
        digests._module_text.cache_clear()  # a program reads it once
        found.add(code_digest(names["forward"]))
    assert len(found) == 2


def test_what_a_program_did_before_changes_nothing():
    """Copying and pickling leave notes on classes; so does whatever is worked out once."""
    names = load(
        "import functools, dataclasses\n"
        "@dataclasses.dataclass(frozen=True)\nclass Spec:\n    name: str = 'a'\n    kwargs: dict = dataclasses.field("
        "default_factory=dict)\n"
        "@functools.lru_cache\ndef table(n):\n    return n\n"
        "class Net:\n    spec = Spec()\n    @functools.cached_property\n    def width(self):\n        return table(3)\n"
    )
    for kind in (names["Spec"], names["Net"]):
        before = code_digest(kind), code_digest(kind())
        copy.deepcopy(kind())
        copy.copy(kind())
        names["table"](3)
        assert (code_digest(kind), code_digest(kind())) == before


def test_sets_that_lead_back_to_themselves():
    """A registry of functions that look into the registry: in a set they have no order, and no end."""
    text = (
        "known = set()\nothers = set()\n"
        "def one(x):\n    return len(known) + x\n"
        "def two(x):\n    return one in known and two in others and x * {factor}\n"
        "known |= {{one, two}}\nothers |= {{two, one}}\n"
        "def forward(x):\n    return [f(x) for f in known]\n"
    )
    first, again, other = (code_digest(load(text.format(factor=factor))["forward"]) for factor in (2, 2, 3))
    assert first == again != other


@pytest.mark.parametrize("place", ["named", "user", "system"])
def test_a_package_is_known_wherever_it_was_installed(place, tmp_path):
    """In a folder that was named, the user's own site, and the system's beneath an environment."""
    made = tmp_path / {"named": "libs", "user": "home", "system": "dist-packages"}[place]
    (made / "bought").mkdir(parents=True)
    (made / "bought" / "__init__.py").write_text("def lift(x):\n    return x\n")
    (made / "bought-1.5.dist-info").mkdir()
    (made / "bought-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: bought\nVersion: 1.5\n")
    (made / "bought-1.5.dist-info" / "RECORD").write_text("bought/__init__.py,,\nbought-1.5.dist-info/RECORD,,\n")
    (made / "beside.py").write_text("def lift(x):\n    return x\n")  # the user's own, laid there
    script = (
        "import bought, beside; from compressvqa.packages import library; from compressvqa.code_digest import "
        "code_digest; print(library('bought'), library('beside'), library('torch').split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": ":".join([str(made), *sys.path])})  # fmt: skip
    assert re.fullmatch(r"bought 1\.5 [0-9a-f]{8} None torch\n", done.stdout)


def test_another_process_finds_the_same_digest():
    """Hash seeds and addresses differ from process to process."""
    script = (
        "import torch; from compressvqa.models import create_model; from compressvqa.code_digest import code_digest; "
        "from compressvqa.registry import scorers; torch.manual_seed(0); "
        "print(code_digest(create_model('wadiqam-fr'), scorers['psnr'].value))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)})  # fmt: skip
    torch.manual_seed(0)
    assert done.stdout.strip() == code_digest(create_model("wadiqam-fr"), scorers["psnr"].value)


def test_what_a_thread_remembers_is_no_code():
    names = load(
        """
        import contextvars, threading
        here, mode = threading.local(), contextvars.ContextVar("mode", default=0)
        def forward(x):
            return x + mode.get() + getattr(here, "seen", 0)
        """
    )
    before = code_digest(names["forward"])
    names["here"].seen, _ = 3, names["mode"].set(5)
    assert code_digest(names["forward"]) == before
