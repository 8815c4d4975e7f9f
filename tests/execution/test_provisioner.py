"""The provisioner as Jupyter tools use it: through a kernelspec that names it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking import BlockingKernelClient

from jupyter_pipelines.execution.prefork.zygote_handle import can_fork
from jupyter_pipelines.execution.prefork.zygote_pool import ZYGOTE_POOL
from tests.kernels import async_kernel_manager, kernel_manager
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel
forks = pytest.mark.skipif(not can_fork({}), reason="forked processes are for Linux")
ENTRY = "jupyter-pipelines-warm"
NAME = "warm"


@pytest.fixture(scope="module", autouse=True)
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("jupyter")
    place = folder / "kernels" / NAME
    place.mkdir(parents=True)
    provisioner = {"provisioner_name": ENTRY, "config": {"modules": ["json", "yaml"]}}
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Warm", "language": "python", "metadata": {"kernel_provisioner": provisioner}}
    (place / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("JUPYTER_PIPELINES_WARM", "1")
        yield
    ZYGOTE_POOL.end_all()


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    started: list[Any] = []

    def start_kernel(**options: Any) -> Any:
        manager = kernel_manager(kernel_name=NAME)
        manager.start_kernel(**options)
        client = manager.client()
        client.start_channels()
        started.append((manager, client))
        client.wait_for_ready(PATIENCE)
        return manager, client

    yield start_kernel
    for manager, client in started:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def value(client: Any, expression: str, code: str = "") -> Any:
    """Run code, and return the value of an expression afterwards."""
    reply = client.execute(code, user_expressions={"it": f"__import__('json').dumps({expression})"}, reply=True)
    assert reply["content"]["status"] == "ok", reply["content"]
    answer = reply["content"]["user_expressions"]["it"]
    assert answer["status"] == "ok", answer
    return json.loads(answer["data"]["text/plain"].strip("'").replace("\\'", "'").encode().decode("unicode_escape"))


def is_forked(manager: Any) -> bool:
    return not isinstance(manager.provisioner.process, subprocess.Popen)


@forks
def test_a_kernel_is_forked_and_knows_what_was_asked_for(start: Callable[..., Any], tmp_path: Path) -> None:
    manager, client = start(cwd=str(tmp_path), env={**os.environ, "MINE": "1"})
    assert is_forked(manager)
    assert value(client, "[os.getcwd(), os.environ['MINE'], os.getpid()]", "import os") == [
        str(tmp_path),
        "1",
        manager.provisioner.pid,
    ]
    assert value(client, "['yaml' in sys.modules, 'pandas' in sys.modules]", "import sys") == [True, False]


@forks
def test_clients_stay_connected_when_a_kernel_is_restarted(start: Callable[..., Any]) -> None:
    manager, client = start()
    before = manager.get_connection_info(), value(client, "[os.getpid(), x]", "import os; x = 1")
    other = BlockingKernelClient()
    other.load_connection_file(manager.connection_file)
    other.start_channels()
    manager.restart_kernel()
    for kernel_client in (client, other):
        kernel_client.wait_for_ready(PATIENCE)
    assert is_forked(manager)
    assert value(client, "'x' in globals()") is False
    assert value(other, "__import__('os').getpid()") == value(client, "__import__('os').getpid()") != before[1][0]
    assert manager.get_connection_info() == before[0]
    other.stop_channels()


@forks
def test_a_restart_sees_what_was_installed_meanwhile(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(packages))
    manager, _ = start()
    tree = manager.provisioner._kept
    (packages / "new_package").mkdir()
    manager.restart_kernel()
    assert is_forked(manager)
    assert manager.provisioner._kept is not tree


@forks
def test_a_kernel_that_dies_is_known_to_be_dead(start: Callable[..., Any]) -> None:
    manager, _ = start()
    psutil.Process(manager.provisioner.pid).kill()
    while manager.is_alive():  # the test's own time limit ends a hang
        pass
    manager.restart_kernel()
    assert manager.is_alive()


@pytest.mark.parametrize("warm", ["0", "1"])
def test_it_is_interrupted_and_goes_on(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, warm: str) -> None:
    monkeypatch.setenv("JUPYTER_PIPELINES_WARM", warm)
    manager, client = start()
    assert is_forked(manager) is (warm == "1" and can_fork({}))
    request = client.execute(
        "print('here', flush=True)\nimport time\nwhile True: time.sleep(0.01)", stop_on_error=False
    )
    while client.get_iopub_msg(timeout=PATIENCE)["msg_type"] != "stream":
        pass
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=PATIENCE))["parent_header"]["msg_id"] != request:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert value(client, "1 + 1") == 2


@pytest.mark.parametrize("now", [False, True])
@forks
def test_a_shutdown_leaves_nothing(now: bool) -> None:
    manager = kernel_manager(kernel_name=NAME)
    manager.start_kernel()
    pid, folder = manager.provisioner.pid, Path(manager.provisioner.process.facts["folder"])
    links = Path(manager.ip).parent
    manager.shutdown_kernel(now=now)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not manager.is_alive()
    assert not links.exists()
    manager = kernel_manager(kernel_name=NAME)  # the node that reaped the first kernel has removed its folder by now
    manager.start_kernel()
    assert not folder.exists()
    manager.shutdown_kernel(now=True)


@forks
def test_many_kernels_at_once() -> None:
    async def all_of_them() -> list[int]:
        managers = [async_kernel_manager(kernel_name=NAME) for _ in range(4)]
        await asyncio.gather(*[manager.start_kernel() for manager in managers])
        pids = [manager.provisioner.pid for manager in managers]
        clients = [manager.client() for manager in managers]
        for client in clients:
            client.start_channels()
            await client.wait_for_ready(PATIENCE)
            client.stop_channels()
        await asyncio.gather(*[manager.shutdown_kernel(now=True) for manager in managers])
        return pids

    assert len(set(asyncio.run(all_of_them()))) == 4


@forks
@pytest.mark.parametrize(
    "options",
    [{"independent": True}, {"stderr": subprocess.STDOUT, "stdout": subprocess.DEVNULL}, {"umask": 0o077}],
    ids=["independent", "merged", "other"],
)
def test_what_a_fork_cannot_give_starts_an_ordinary_kernel(start: Callable[..., Any], options: dict[str, Any]) -> None:
    manager, client = start(**options)
    assert not is_forked(manager)
    assert value(client, "1 + 1") == 2


@forks
def test_a_tree_that_refuses_is_done_without(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    manager, client = start()
    os.kill(manager.provisioner._kept._process.pid, signal.SIGKILL)
    monkeypatch.setattr(type(ZYGOTE_POOL), "take", lambda *_: manager.provisioner._kept)
    manager.restart_kernel()
    client.wait_for_ready(PATIENCE)
    assert not is_forked(manager)
    assert value(client, "1 + 1") == 2


@forks
def test_a_folder_that_is_not_there_fails_as_usual() -> None:
    manager = kernel_manager(kernel_name=NAME)
    with pytest.raises(FileNotFoundError):
        manager.start_kernel(cwd="/nowhere")
    manager.cleanup_resources()


EARLY = """
import json, os, sys, tempfile, threading
from pathlib import Path
from jupyter_pipelines.execution.prefork.fork_safety import QUIET
os.environ.update(QUIET)
from jupyter_pipelines.execution.kernels import forked_kernel
out = os.dup(1)
forked_kernel.prepare()
forked_kernel.enter(os.getcwd(), {"arguments": []})
forked_kernel.take_stock()
folder = Path(sys.argv[1])
made = forked_kernel.boot(folder, {"arguments": [], "environment": {}})["connection"]

def listen():
    import zmq
    from jupyter_client.session import Session
    context, session = zmq.Context(), Session(key=b"the key that was asked for")
    beat, news = context.socket(zmq.REQ), context.socket(zmq.SUB)
    news.subscribe("")
    news.connect(f"ipc://{made['ip']}-{made['iopub_port']}")
    beat.connect(f"ipc://{made['ip']}-{made['hb_port']}")
    beat.send(b"beat")
    beat.recv()
    news.poll(100)  # enough to be greeted too early
    entered.set()
    _, parts = session.feed_identities(news.recv_multipart())
    os.write(out, session.deserialize(parts)["msg_type"].encode())
    os._exit(0)

entered = threading.Event()
threading.excepthook = lambda error: (os.write(out, repr(error.exc_value).encode()), os._exit(1))
threading.Thread(target=listen).start()
entered.wait()
null = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
forked_kernel.run({"cwd": os.getcwd(), "environment": dict(os.environ), "key": "the key that was asked for"}, null)
"""


@forks
def test_a_client_that_listens_before_the_kernel_has_its_key_hears_nothing_signed_with_another() -> None:
    with tempfile.TemporaryDirectory(prefix="jp-") as folder:  # the path of a socket has to be short
        command = [sys.executable, "-c", EARLY, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout in ("iopub_welcome", "status"), done.stdout + done.stderr
