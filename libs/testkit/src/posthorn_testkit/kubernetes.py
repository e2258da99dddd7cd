"""Kubernetes without a cluster: Helm, kubeconform with schemas made from the API's own description, an API server.

The description (OpenAPI) comes with the Go module of Kubernetes, the one of ServiceMonitor with that of the Prometheus
operator. The API server is the real one, over Debian's etcd: it judges objects as a cluster would, and runs none.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.go_programs import go_module, go_program
from posthorn_testkit.programs import cache_folder

HELM = ("helm.sh/helm/v3/cmd/helm", "v3.19.5")
KUBECONFORM = ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0")
KUBERNETES = ("k8s.io/kubernetes", "v1.34.4")
OPERATOR = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
LOOSE = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
"""What the description calls a string and the server takes as a number too."""
_REFERENCE = "#/definitions/"


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `helm template` or `helm lint` for the pinned Kubernetes. Raises PartError when Helm cannot be had."""
    command = [str(go_program(*HELM)), *arguments, "--kube-version", KUBERNETES[1]]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kubeconform(objects: str) -> list[dict[str, Any]]:
    """What is wrong with objects (YAML), each with `kind`, `name`, `msg`; an object of an unknown kind is wrong too.

    Raises PartError when the program or the schemas cannot be had.
    """
    place = f"{schemas()}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    done = subprocess.run(
        [str(go_program(*KUBECONFORM)), "-strict", "-output", "json", "-summary", "-schema-location", place, "-"],
        input=objects,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise PartError(f"kubeconform: {done.stderr.strip()[-300:]}") from None
    if not found.get("resources") and not found["summary"]["valid"]:
        raise PartError("kubeconform: no objects were given")
    return list(found.get("resources") or [])


def schemas() -> Path:
    """A folder with a JSON schema for each kind of object, made on the first call. Raises PartError."""
    folder = cache_folder() / "kubernetes" / f"schemas-{KUBERNETES[1]}-{OPERATOR[1]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name, schema in _schemas():
            (private / name).write_text(json.dumps(schema))
        private.chmod(0o755)
        if not folder.is_dir():
            private.rename(folder)
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return folder


def _schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    api = json.loads((go_module(*KUBERNETES) / "api" / "openapi-spec" / "swagger.json").read_text())
    definitions = {name: LOOSE.get(name) or _strict(schema) for name, schema in api["definitions"].items()}
    for name, schema in api["definitions"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            needed = {other: definitions[other] for other in _closure(name, definitions)}
            yield _file(**kind), {"$ref": _REFERENCE + name, "definitions": needed}
    monitor = service_monitor()["spec"]
    for version in monitor["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        yield _file(monitor["group"], version["name"], monitor["names"]["kind"]), schema


def service_monitor() -> dict[str, Any]:
    """The definition of the kind ServiceMonitor, as the operator gives it to a cluster. Raises PartError."""
    file = go_module(*OPERATOR) / "jsonnet" / "prometheus-operator" / "servicemonitors-crd.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _file(group: str, version: str, kind: str) -> str:
    """The name under which kubeconform looks for a kind."""
    parts = [kind.lower(), *([group.partition(".")[0]] if group else []), version]
    return "-".join(parts) + ".json"


def _strict(schema: Any) -> Any:
    """The same schema, in which an object has no other properties than those that are named."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _strict(value) for key, value in schema.items() if key not in ("description", "format", "properties")}
    if found.pop("x-kubernetes-int-or-string", False):
        found["type"] = ["string", "integer"]
    if "properties" in schema:
        found["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        if "x-kubernetes-preserve-unknown-fields" not in schema:
            found.setdefault("additionalProperties", False)
    return found


def _closure(name: str, definitions: dict[str, Any]) -> set[str]:
    """A definition and all that it refers to."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        if (each := waiting.pop()) not in found:
            found.add(each)
            waiting += _references(definitions[each])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_REFERENCE)
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)
