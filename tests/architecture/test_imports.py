"""What may import what, and what starting the command costs."""

import ast
import json
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
HEAVY = {
    "fastapi", "lightning", "matplotlib", "mlflow", "monai", "nibabel", "numpy", "pandas", "prefect", "pyarrow",
    "pydantic", "pydicom", "scipy", "sqlalchemy", "torch",
}  # fmt: skip


def test_every_import_contract_holds(capsys):
    outcome = lint_imports(config_filename=str(REPOSITORY / "pyproject.toml"), no_cache=True)
    assert outcome == 0, capsys.readouterr().out


def test_help_imports_no_heavy_library():
    program = (
        "import json, sys\n"
        "from pipeline.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print('\\n' + json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, imported = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert not HEAVY & set(imported)


def test_prefect_server_imports_with_the_pinned_fastapi():
    # In its own process: this suite makes warnings errors, and the server's modules hold some of their own.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import prefect.server.api.server"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_imported_package_is_a_declared_dependency():
    own = {"pipeline", "flows", *sys.stdlib_module_names}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [project["optional-dependencies"][name] for name in ("pretrained", "dask", "ray")]
    texts = [*project["dependencies"], *chain.from_iterable(optional)]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    distributions = metadata.packages_distributions()
    undeclared = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for folder in ("pipeline", "flows")
        for path in (REPOSITORY / folder).rglob("*.py")
        for name in imported_packages(path) - own
        if not declared & {canonicalize_name(distribution) for distribution in distributions.get(name, [name])}
    }
    assert not undeclared


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
