"""
Mutation testing of the gate and the validator: one small fault at a time is put into a module, and the focused tests must notice.

    python tests/mutants.py [--sample N] [--only REGEX] [--jobs N] [--list] [MODULE ...]

Each mutant is imported in a forked process in the place of the module, so nothing is written to disk. A mutant that no
test notices must be argued in docs/mutants.md, under its name (module, function, what became what); any other fails the
run, and so does an argument for a mutant that is noticed or is not there any more.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import importlib.abc
import importlib.util
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "mutants.md"
TIMEOUT_S = 120
DECISION = ["tests/test_consent_decide.py", "tests/test_consent_blocks.py", "tests/test_consent_oracle.py"]
OUTPUT = ["tests/test_consent_gate.py", "tests/test_leak_channels.py"]
FOREIGN = ["tests/test_consent_foreign.py", "tests/test_cli_decide.py"]
NOTICES = ["tests/test_consent_notice.py"]
ENTRIES = ["tests/test_consent_journal_entry.py"]
QUICK = ["tests/test_validation_quick.py"]
PROFILES = ["tests/test_validation_profiles.py"]
TESTS = {
    "consent.seal": OUTPUT[:1],
    "consent.inspection": ["tests/test_consent_inspection.py", *OUTPUT],
    "consent.disclosure": [*OUTPUT, *DECISION[:1]],
    "consent.names": ["tests/test_consent_names.py", *FOREIGN],
    "consent.provisions": ["tests/test_consent_provisions.py", *FOREIGN],
    "consent.foreign": ["tests/test_consent_foreign_reader.py", *FOREIGN],
    "consent.handed_over": ["tests/test_consent_handed_over.py"],
    "consent.notice": NOTICES,
    "consent.journal_entry": ENTRIES,
    "consent.gate": [*OUTPUT, *ENTRIES],
    "consent.policy": ["tests/test_consent_policy.py", *DECISION, *OUTPUT[:1], *FOREIGN[:1]],
    "consent.rules": ["tests/test_consent_rules.py", *DECISION],
    "consent.rulebook": [*DECISION, "tests/test_consent_rulebook.py", *FOREIGN],
    "consent.decide": [*DECISION, *FOREIGN],
    "validation.bindings": ["tests/test_validation_bindings.py", *PROFILES],
    "validation.extensions": ["tests/test_validation_extensions.py", *PROFILES, "tests/test_hl7_extensions.py"],
    "validation.holds": [*QUICK, *PROFILES],
    "validation.own_invariants": ["tests/test_own_invariants.py", *QUICK],
    "validation.quick": [*PROFILES, *QUICK],
}
"""The modules that are mutated, by their names below adapter, and the tests that must notice."""
FOCUS = " and ".join(
    f"not {each}"
    for each in (
        *(
            "planted_leak",
            "any_record",
            "cannot_tell",
            "samordningsforbund",
            "arbetsformedlingen",
            "has_its_tests",
            "doctor",
        ),
        *("another_implementation", "hostile", "thousand_entries", "sign_of_a_diagnosis", "format", "narrative"),
    )
)
"""Without what repeats a rule for one more recipient, proves the proof, or asks what no mutant touches."""
PLUGINS = ["_hypothesis_pytestplugin", "pytest_timeout"]
LOADED = ["hypothesis", "pytest", "adapter.store", "adapter.mapping"]
LOADED += ["fhirpathpy", "fhirpathrs", "fhir.resources.R4B"]
ENVIRONMENT = {
    "HYPOTHESIS_PROFILE": "mutants",
    "KOORD_ORACLE_CASES": "2000",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}

_COMPARED = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COMPUTED = {ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.Add: ast.Sub, ast.Sub: ast.Add}
_NAMED = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """One fault: the node at ``place`` (in the order of ``ast.walk``) becomes ``new``."""

    name: str
    module: str
    place: int
    new: ast.AST


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of the text."""
    tree = ast.parse(_source(module).read_text("utf-8"))
    functions, skipped = _owners(tree), _skipped(tree)
    seen: Counter[str] = Counter()
    for place, node in enumerate(ast.walk(tree)):
        if node in skipped:
            continue
        for new in _faults(node):
            name = f"{module} {functions.get(node, '-')}: {_text(node)} → {_text(new)}"
            seen[name] += 1
            yield Mutant(name if seen[name] == 1 else f"{name} ({seen[name]})", module, place, new)


def _faults(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901  one case for each kind of fault
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARED:
            yield ast.Compare(node.left, [_COMPARED[type(operator)]()], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _COMPUTED and not _is_text(node):
            yield ast.BinOp(node.left, _COMPUTED[type(node.op)](), node.right)
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.Constant(value=str() as value) if value:
            yield ast.Constant("")
        case ast.Call(func=ast.Name(id=name)) if name in _NAMED:
            yield ast.Call(ast.Name(_NAMED[name], ast.Load()), node.args, node.keywords)
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Continue() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.If() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(each, ast.JoinedStr) for each in (node.left, node.right))


def _skipped(tree: ast.Module) -> set[ast.AST]:  # noqa: C901  one case for each thing that is skipped
    """Annotations, docstrings, what an f-string or a repr says, and names that only Python and people read."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        annotations = [getattr(node, name, None) for name in ("annotation", "returns", "bases", "decorator_list")]
        silent = [each for one in annotations for each in (one if isinstance(one, list) else [one]) if each]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.append(node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"__all__", "__slots__"}:
            silent.append(node)
        if isinstance(node, ast.JoinedStr):
            silent += [each for each in node.values if isinstance(each, ast.Constant)]
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            silent += node.exc.args
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in {"Literal", "Callable", "Mapping"}:
            silent.append(node)
        if isinstance(node, ast.FunctionDef) and node.name == "__repr__":
            silent.append(node)
        if isinstance(node, ast.ClassDef):
            silent += node.keywords
        if isinstance(node, ast.keyword) and node.arg == "strict":
            silent.append(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeVar":
            silent += node.args
        found |= {inner for each in silent for inner in ast.walk(each)}
    return found


def _owners(tree: ast.Module) -> dict[ast.AST, str]:
    """The function or class that each node stands in, by its dotted name."""
    owners: dict[ast.AST, str] = {}

    def enter(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".lstrip(".")
            owners[child] = inner or "-"
            enter(child, inner)

    enter(tree, "")
    return owners


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.IfExp):
        return f"if {_text(node.test)}"
    if isinstance(node, ast.comprehension):
        return f"for {ast.unparse(node.target)} " + " ".join(f"if {_text(each)}" for each in node.ifs)
    text = re.sub(r"\s+", " ", ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))))
    return text if len(text) <= 70 else f"{text[:45]}…{text[-24:]}"


def _source(module: str) -> Path:
    return ROOT.joinpath("adapter", *module.split(".")).with_suffix(".py")


@cache
def _reached(module: str) -> list[str]:
    """What is loaded and must be loaded anew with another form of a module: its package, and all that imports one of these."""
    loaded = [name for name in sys.modules if name.startswith("adapter.")]
    imports = {name: set(_imported(Path(str(sys.modules[name].__file__)))) for name in loaded}
    found = {f"adapter.{module}", f"adapter.{module}".rpartition(".")[0]}
    while more := {name for name, used in imports.items() if used & found} - found:
        found |= more
    return sorted(found & set(loaded))


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant, self.full = mutant, f"adapter.{mutant.module}"

    def find_spec(self, full, path, target=None):
        return importlib.util.spec_from_loader(full, self) if full == self.full else None

    def exec_module(self, module):
        file = _source(self.mutant.module)
        tree = ast.parse(file.read_text("utf-8"))
        old = list(ast.walk(tree))[self.mutant.place]

        class Put(ast.NodeTransformer):
            def visit(_, node):  # noqa: N805  the outer self is needed
                return self.mutant.new if node is old else ast.NodeTransformer.generic_visit(_, node)

        module.__file__ = str(file)
        exec(compile(ast.fix_missing_locations(Put().visit(tree)), str(file), "exec"), module.__dict__)


class _Order:
    """What has noticed a mutant is asked first about the next one: they stand side by side in the text."""

    def __init__(self) -> None:
        self._latest: list[str] = []
        self._told, self._tell = os.pipe()
        os.set_blocking(self._told, False)

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self._place(item.nodeid))

    def pytest_runtest_logreport(self, report):
        if report.failed:
            os.write(self._tell, f"{report.nodeid}\n".encode())

    def learn(self) -> None:
        """Hear which tests have failed in the processes that have ended."""
        with contextlib.suppress(BlockingIOError):
            for test in os.read(self._told, 65536).decode().splitlines():
                self._latest = [test, *(each for each in self._latest if each != test)]

    def files(self, module: str) -> list[str]:
        files = [test.partition("::")[0] for test in self._latest]
        return sorted(TESTS[module], key=lambda file: files.index(file) if file in files else len(files))

    def _place(self, test: str) -> int:
        return self._latest.index(test) if test in self._latest else len(self._latest)


def _started(module: str, mutant: Mutant | None, order: _Order) -> int:
    """A process of its own in which the tests run; it ends with 0 if all of them pass."""
    reached = _reached(module)
    process = os.fork()
    if process:
        return process
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    import pytest

    for name in reached:
        del sys.modules[name]
    if mutant:
        sys.meta_path.insert(0, _Mutated(mutant))
    alone = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", *(f"-p{each}" for each in PLUGINS)]
    try:
        passed = all(
            pytest.main([*alone, "-m", "not processes", "-k", FOCUS, file], [order]) == 0
            for file in order.files(module)
        )
    except BaseException:  # noqa: BLE001  a mutant that breaks the import of a test is noticed
        passed = False
    os._exit(not passed)


def _prepared() -> None:
    """Load, once for all, what the gate and the tests stand on, but not the gate."""
    os.chdir(ROOT)
    os.environ.update(ENVIRONMENT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    for name in LOADED:
        importlib.import_module(name)
    from adapter.definitions import definitions
    from adapter.tables import load
    from adapter.validation import validate

    load()
    definitions("R4")
    validate({"resourceType": "Patient"})


def survivors(chosen: list[Mutant], jobs: int, order: _Order) -> list[Mutant]:
    """Those that no test noticed. Prints them as they are found."""
    waiting, running, found = list(reversed(chosen)), dict[int, tuple[Mutant, float]](), []
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[_started(mutant.module, mutant, order)] = mutant, time.monotonic()
        time.sleep(0.01)
        for process, (mutant, since) in list(running.items()):
            if time.monotonic() - since > TIMEOUT_S:
                os.killpg(process, signal.SIGKILL)
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del running[process]
                order.learn()
                if status == 0:
                    found.append(mutant)
                    print(mutant.name, flush=True)  # noqa: T201
    return found


def argued() -> list[str]:
    """The names under which docs/mutants.md argues for survivors."""
    return re.findall(r"^\| `(.+?)` \|", PAGE.read_text("utf-8"), re.MULTILINE) if PAGE.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE", help="or package")
    parser.add_argument("--sample", type=int, help="so many, the same every time")
    parser.add_argument("--only", default="", metavar="REGEX", help="those whose name it is found in")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="only their names")
    asked = parser.parse_args()
    modules = [name for name in TESTS if any(f"{name}.".startswith(f"{each}.") for each in asked.modules)]
    everything = [mutant for module in modules for mutant in mutants(module)]
    known = set(argued())
    stale = {name for name in known if name.partition(" ")[0] in modules} - {each.name for each in everything}
    chosen = [mutant for mutant in everything if re.search(asked.only, mutant.name)]
    if asked.sample:
        unargued = [mutant for mutant in chosen if mutant.name not in known]
        chosen = unargued[:: max(1, len(unargued) // asked.sample)][: asked.sample]
    if asked.list:
        print(*(mutant.name for mutant in chosen), sep="\n")  # noqa: T201
        return 0
    _prepared()
    order = _Order()
    for module in {mutant.module for mutant in chosen} if not asked.sample else ():
        _, status = os.waitpid(_started(module, None, order), 0)
        if status:
            sys.exit(f"the tests of {module} fail without any mutant")
    left = [mutant.name for mutant in survivors(chosen, asked.jobs, order)]
    unargued = [name for name in left if name not in known]
    killed = [mutant.name for mutant in chosen if mutant.name in known and mutant.name not in left]
    print(f"{len(chosen)} mutants, {len(left)} not noticed, {len(unargued)} of them not argued")  # noqa: T201
    for name in (*sorted(stale), *killed):
        print(f"argued in {PAGE.name} without need: {name}")  # noqa: T201
    return bool(unargued or stale or killed)


if __name__ == "__main__":
    sys.exit(main())
