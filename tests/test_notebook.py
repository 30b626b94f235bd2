"""The example notebook runs in a kernel and shows what it has stored; so do other cells, in the same kernel."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

EXAMPLE = Path(__file__).parents[1] / "examples" / "notebook.ipynb"
PACKAGE_ROOT = Path(cascade.__file__).parent.parent
# Runs are named by the time.
_VARIES = re.compile(r"\d{8}T\d{6}-\w+|\d+:\d\d")

Outputs = list[Any]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client with the example notebook, which has been run in its kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PACKAGE_ROOT))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        notebook = nbformat.read(EXAMPLE, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        folder = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
        client = nbclient.NotebookClient(notebook, timeout=90, kernel_name="python3", resources=folder)
        with client.setup_kernel():
            for number, cell in enumerate(notebook.cells):
                client.execute_cell(cell, number)
            yield client


@pytest.fixture
def outputs_of(kernel: Any) -> Callable[[str], Outputs]:
    """Runs a cell, and gives what it shows."""

    def run(source: str) -> Outputs:
        cell = nbformat.v4.new_code_cell(source)
        kernel.nb.cells.append(cell)
        kernel.execute_cell(cell, len(kernel.nb.cells) - 1)
        shown: Outputs = cell.outputs
        return shown

    return run


def shown(notebook: Any) -> list[Any]:
    """What the code cells show, without what differs from run to run."""
    found = []
    for cell in notebook.cells:
        for output in copy.deepcopy(cell.get("outputs", [])):
            texts = output.get("data", {"text": output.get("text", "")})
            found.append({kind: _VARIES.sub("...", text) for kind, text in texts.items()})
    return found


def test_the_example_shows_what_it_has_stored(kernel: Any) -> None:
    stored = nbformat.read(EXAMPLE, as_version=4)
    nbformat.validate(stored)
    assert shown(kernel.nb)[:4] == shown(stored)
    assert len(shown(stored)) == 4


def test_progress_is_drawn_in_one_place_without_widgets(outputs_of: Callable[[str], Outputs]) -> None:
    source = "await cascade.run(texts, observers=[cascade.observers.progress()])"
    picture, value = outputs_of(source)
    assert (picture.output_type, value.output_type) == ("display_data", "execute_result")
    assert set(picture.data) == {"text/plain", "text/html"}
    assert "3/3" in picture.data["text/plain"]


def test_a_cell_uses_what_other_cells_define_in_worker_processes(outputs_of: Callable[[str], Outputs]) -> None:
    outputs_of("FACTOR = 3\n\nclass Point:\n    def __init__(self, x):\n        self.x = x\n")
    (value,) = outputs_of(
        '@cascade.task(mode="process")\n'
        "def scaled(point):\n"
        "    return Point(point.x * FACTOR)\n"
        "\n"
        "[point.x for point in await cascade.run(scaled.map(point=[Point(1), Point(2)]))]"
    )
    assert value.data["text/plain"] == "[3, 6]"


def test_run_sync_is_refused_with_what_to_do_instead(outputs_of: Callable[[str], Outputs]) -> None:
    (said,) = outputs_of("try:\n    cascade.run_sync(flow)\nexcept RuntimeError as error:\n    print(error)")
    assert "await cascade.run(" in said.text
