"""The chart rendered by the real Helm."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.chart import CHART, run_helm

Object = dict[str, Any]


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[..., str]:
    """`rendered(values)`: what the chart makes of values, as YAML, the hooks too."""

    def render(values: Object, *more: str) -> str:
        file = tmp_path / "values.json"
        file.write_text(json.dumps(values))
        code, said = run_helm("template", "mail", str(CHART), "--namespace", "mail", "--values", str(file), *more)
        assert code == 0, said
        return said

    return render


@pytest.fixture
def objects(rendered: Callable[..., str]) -> Callable[..., list[Object]]:
    """`objects(values)`: the objects the chart makes."""

    def load(values: Object) -> list[Object]:
        return [found for found in yaml.safe_load_all(rendered(values)) if found]

    return load
