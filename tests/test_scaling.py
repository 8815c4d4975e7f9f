"""The cluster files of the docs are what Docker Compose, Kubernetes and Dask take, and their numbers add up."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import kubernetes_validate
import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker

from jupyter_pipelines.interfaces.cli.main import commands as shell
from tests.e2e.notebook_project import NotebookProject
from tests.execution.dask_cluster import dask_cluster

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scaling.md"
FILES = ROOT / "docs" / "scaling"
PARSERS = {"worker": dask_worker.main, "scheduler": dask_scheduler.main}
UNITS = {"G": 2**30, "Gi": 2**30}  # both tools count in powers of two, as `--memory` does
NOT_FOR_STEPS = 2**30
"""What a worker itself, and the processes that kernels are forked from, need beside the steps."""

Document = dict[str, Any]


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path)


class WorkerSpec(NamedTuple):
    """A class of workers, as one of the files describes it."""

    where: str
    arguments: list[str]
    cpus: float
    gpus: int
    memory: int


def compose() -> Document:
    document: Document = yaml.safe_load((FILES / "compose.yaml").read_text(encoding="utf-8"))
    return document


def manifests() -> list[Document]:
    names = ("kubernetes.yaml", "kubernetes-run.yaml")
    return [manifest for name in names for manifest in yaml.safe_load_all((FILES / name).read_text(encoding="utf-8"))]


def pods() -> list[Document]:
    return [manifest["spec"]["template"] for manifest in manifests() if "template" in manifest["spec"]]


def container(pod: Document) -> Document:
    (only_container,) = pod["spec"]["containers"]
    return dict(only_container)


def bytes_of(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def composed() -> Iterator[WorkerSpec]:
    for name, service in compose()["services"].items():
        if name.startswith("worker"):
            resources = service["deploy"]["resources"]
            gpus = sum(len(device["device_ids"]) for device in resources.get("reservations", {}).get("devices", ()))
            limits = resources["limits"]
            yield WorkerSpec(name, service["command"], float(limits["cpus"]), gpus, bytes_of(limits["memory"]))


def orchestrated() -> Iterator[WorkerSpec]:
    for pod in pods():
        pod_container = container(pod)
        if pod_container["name"] == "worker":
            resources = pod_container["resources"]
            limits = resources["limits"]
            assert resources["requests"].items() <= limits.items(), "what a worker offers is reserved for it"
            gpus = int(limits.get("nvidia.com/gpu", 0))
            yield WorkerSpec(pod["metadata"]["labels"]["app"], pod_container["args"], float(limits["cpu"]), gpus,
                         bytes_of(limits["memory"]))  # fmt: skip


WORKERS = {"compose": list(composed()), "kubernetes": list(orchestrated())}
WORKER_PARAMS = [
    pytest.param(worker, id=f"{name}-{worker.where}") for name, workers in WORKERS.items() for worker in workers
]


def parsed(command: list[str]) -> Mapping[str, Any]:
    """Return what Dask itself understands."""
    dask, what, *arguments = command
    assert dask == "dask"
    return PARSERS[what].make_context(what, arguments).params


def offer(arguments: list[str]) -> dict[str, float]:
    pairs = parsed(arguments)["resources"].replace(",", " ").split()
    return {name: float(number) for name, number in (pair.split("=") for pair in pairs)}


def test_the_compose_file_keeps_the_compose_specification() -> None:
    schemas = files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(compose(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"scheduler": {"comand": []}}}, schema)


@pytest.mark.parametrize("document", manifests(), ids=lambda manifest: manifest["kind"])
def test_the_manifests_keep_the_schemas_of_kubernetes(document: Document) -> None:
    kubernetes_validate.validate(document, "1.37", strict=True)


def test_what_the_compose_file_names_is_there() -> None:
    document = compose()
    volumes = {volume.split(":")[0] for service in document["services"].values() for volume in service["volumes"]}
    assert volumes - {"."} == document["volumes"].keys()
    for service in document["services"].values():
        assert service.get("depends_on", {}).keys() <= document["services"].keys()
        assert set(service.get("profiles", ())) <= {"gpu", "client"}


def test_what_the_manifests_name_is_there() -> None:
    every = manifests()
    labels = [pod["metadata"]["labels"] for pod in pods()]
    claims = {manifest["metadata"]["name"] for manifest in every if manifest["kind"] == "PersistentVolumeClaim"}
    for manifest in every:
        chosen = manifest["spec"].get("selector", {})
        for wanted in (
            chosen.get("matchLabels", chosen),
            manifest["spec"].get("podSelector", {}).get("matchLabels", {}),
        ):
            assert any(wanted.items() <= label.items() for label in labels), manifest["metadata"]
    for pod in pods():
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        assert {mount["name"] for mount in container(pod).get("volumeMounts", ())} == volumes.keys()
        taken = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        ]
        assert set(taken) <= claims
        assert pod["metadata"]["labels"]["pipelines"] == "member"  # else the network policy shuts it out


@pytest.mark.parametrize("worker", WORKER_PARAMS)
def test_a_worker_offers_what_its_container_has(worker: WorkerSpec) -> None:
    understood, offered = parsed(worker.arguments), offer(worker.arguments)
    assert understood["nthreads"] == offered["CPU"] == worker.cpus
    assert offered.get("GPU", 0) == worker.gpus
    assert offered["MEMORY"] + NOT_FOR_STEPS <= worker.memory
    assert understood["memory_limit"] == "0"
    assert understood["nanny"] is False


def test_workers_and_clients_meet_their_scheduler() -> None:
    services, every = compose()["services"], manifests()
    address = f"tcp://scheduler:{parsed(services['scheduler']['command'])['port']}"
    assert {parsed(worker.arguments)["scheduler"] for worker in WORKERS["compose"]} == {address}
    assert f"client jupyter pipelines run churn.ipynb --on dask:{address}\n" in (FILES / "compose.yaml").read_text()
    (service,) = (manifest for manifest in every if manifest["kind"] == "Service")
    (port,) = service["spec"]["ports"]
    (scheduler,) = (container(pod) for pod in pods() if container(pod)["name"] == "scheduler")
    assert port["port"] == scheduler["ports"][0]["containerPort"] == int(parsed(scheduler["args"])["port"])
    address = f"tcp://{service['metadata']['name']}:{port['port']}"
    assert {parsed(worker.arguments)["scheduler"] for worker in WORKERS["kubernetes"]} == {address}
    (client,) = (container(pod)["args"] for pod in pods() if container(pod)["name"] == "client")
    assert understood_by_us(client)["on"] == f"dask:{address}"


def test_the_image_has_what_workers_need() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = (FILES / "Dockerfile").read_text(encoding="utf-8")
    wanted = re.search(r'"jupyter-pipelines\[(.+)\]"', text)
    assert wanted
    assert "dask" in wanted[1].split(",")
    assert set(wanted[1].split(",")) <= extras.keys()


def understood_by_us(line: list[str]) -> Mapping[str, Any]:
    """Return what the command line makes of a line that begins with ``jupyter pipelines``."""
    command = shell.get_command(None, line[2])  # type: ignore[arg-type]
    assert command is not None, line
    return command.make_context(line[2], line[3:]).params


def shown_commands() -> list[list[str]]:
    """Return every command that the page, and the heads of the files, show."""
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.M | re.S)
    lines = re.findall(r"^\$ (.+)$", "".join(blocks), re.M)
    heads = [line[1:].strip() for path in FILES.iterdir() for line in path.read_text().splitlines() if line[:1] == "#"]
    lines += [line for line in heads if "jupyter pipelines" in line]
    return [shlex.split(line, comments=True) for line in lines]


def test_every_command_of_the_page_is_understood() -> None:
    understood = 0
    for line in shown_commands():
        if "dask" in line[:1]:
            understood += bool(parsed([word for word in line if word != "&"]))
        if "jupyter" in line:
            at = line.index("jupyter")
            understood += bool(understood_by_us(line[at:]))
    assert understood > 5


@pytest.mark.cluster
@pytest.mark.kernel
@pytest.mark.parametrize("name", WORKERS)
def test_the_workers_of_the_files_run_steps(name: str, book: NotebookProject, tmp_path: Path) -> None:
    """The arguments of the containers, with a scheduler and folders of this machine."""
    apart = [
        [argument for argument in worker.arguments[3:] if "--local-directory" not in argument]
        for worker in WORKERS[name]
    ]
    book.write(
        "%%step plain -o a\na = 1",
        "%%step wide -i a --cpus 4 --memory 14GB -o b\nb = a + 1",
        "%%step quick -i b --gpus 1 --cpus 2 --memory 28GB -o c\nc = b + 1",
    )
    (tmp_path / "cluster").mkdir()
    with dask_cluster(tmp_path / "cluster", *(" ".join(arguments) for arguments in apart)) as made:
        answer = book.run("--on", f"dask:{made.address}")
        assert answer.code == 0, answer.err
        assert book.value("quick.c") == 3
        book.write("%%step wide --gpus 1 --cpus 4 -o d\nd = 1")
        assert book.run("--on", f"dask:{made.address}").code == 2
