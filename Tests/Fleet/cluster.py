"""A RabbitMQ cluster of three nodes on loopback, and HAProxy in front of it: own ports, folders, cookie and port mapper.
Nothing of a system's own RabbitMQ is touched, and everything that is started is stopped."""

import glob
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import time

SBIN = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"))
EPMD = sorted(glob.glob("/usr/lib/erlang/erts-*/bin/epmd"))


def wait_for(condition, what, seconds, every=0.1):
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"fleet: after {seconds} s still not so: {what() if callable(what) else what}")
        time.sleep(every)
    return answer


_given = set()


def free_ports(count):
    """Below the range that the kernel gives to outgoing connections: they are free again after a restart. None is given twice:
    who got it may not listen yet."""
    ports, port = [], 20_000 + secrets.randbelow(9_000)
    while len(ports) < count:
        port += 1
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                ports.append(port)
            except OSError:
                pass
    _given.update(ports)
    return ports


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process, number=signal.SIGTERM, seconds=20):
    """The process and what it has started; it leads a group of its own."""
    for each in (number, signal.SIGKILL):
        try:
            os.killpg(process.pid, each)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


class Node:
    def __init__(self, cluster, number):
        self.cluster, self.name = cluster, f"kerb{number}@localhost"
        self.amqp, self.mqtt, self.distribution = free_ports(3)
        self.folder = cluster.folder / f"node{number}"
        self.folder.mkdir()
        self.process = None

    def configure(self, nodes, edit):
        """`nodes`: all of the cluster, this one among them."""
        members = "".join(
            f"cluster_formation.classic_config.nodes.{index} = {node.name}\n" for index, node in enumerate(nodes, 1))
        (self.folder / "rabbitmq.conf").write_text(edit(
            f"listeners.tcp.1 = 127.0.0.1:{self.amqp}\n"
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.mqtt}\n"
            "cluster_formation.peer_discovery_backend = classic_config\n" + members +
            # A node that is killed says nothing: the others notice after a quarter of this at the latest.
            "net_ticktime = 8\n"
            "vm_memory_high_watermark.absolute = 1GiB\ndisk_free_limit.absolute = 50MB\n"
            "log.console = false\nlog.file.level = warning\n"))
        (self.folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")

    @property
    def environment(self):
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(self.cluster.folder),
            "RABBITMQ_NODENAME": self.name, "RABBITMQ_NODE_PORT": str(self.amqp),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
            # The tools, too, keep to loopback and to this port mapper.
            "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_DIST_PORT_MIN": str(self.cluster.tools), "RABBITMQ_CTL_DIST_PORT_MAX": str(self.cluster.tools),
            "ERL_EPMD_PORT": str(self.cluster.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self):
        with open(self.folder / "console.log", "ab") as log:
            self.process = subprocess.Popen(
                [f"{SBIN[-1]}/rabbitmq-server"], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)

    def wait(self, seconds=300):
        def told():
            if self.process.poll() is not None:
                raise SystemExit(f"fleet: {self.name} ended:\n{self.logs()}")
            return listens(self.amqp) and listens(self.mqtt)

        wait_for(told, lambda: f"{self.name} listens\n{self.logs()}", seconds)

    def kill(self):
        """kill -9 of the whole node, as a power cut: nothing is said to anybody."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def logs(self):
        files = [self.folder / "console.log", *sorted((self.folder / "log").glob("*.log"))]
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-2000:]}" for path in files if path.exists())

    def tell(self, *arguments, tool="rabbitmqctl", seconds=240):
        done = subprocess.run(
            [f"{SBIN[-1]}/{tool}", "--node", self.name, *arguments], env=self.environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise SystemExit(f"fleet: {tool} {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout


class Cluster:
    def __init__(self, folder, size=3):
        if not SBIN or not EPMD:
            raise SystemExit("fleet: rabbitmq-server is not installed: run `scripts/setup fleet`")
        self.folder = pathlib.Path(folder)
        self.epmd_port, self.tools, self.port = free_ports(3)
        cookie = self.folder / ".erlang.cookie"
        cookie.touch(mode=0o600)
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        self.others = []
        self.nodes = [Node(self, number) for number in range(1, size + 1)]

    def start(self, edit=lambda text: text):
        # The port mapper in front, or the first node would leave one behind.
        self._run("epmd", [EPMD[-1], "-port", str(self.epmd_port), "-address", "127.0.0.1"])
        wait_for(lambda: listens(self.epmd_port), "the port mapper listens", 60)
        for node in self.nodes:
            node.configure(self.nodes, edit)
            node.start()
        for node in self.nodes:
            node.wait()
        wait_for(lambda: self.members() == len(self.nodes), "the nodes are one cluster", 240, every=1)

    def members(self):
        text = self.nodes[0].tell("eval", "length(rabbit_mnesia:cluster_nodes(running)).")
        return int(text.strip())

    def balance(self, haproxy="/usr/sbin/haproxy"):
        """What stands in front of brokers: TCP to whichever node is alive, the one with the fewest connections first."""
        path = self.folder / "haproxy.cfg"
        path.write_text(
            "global\n  maxconn 4096\n"
            "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 120s\n  timeout server 120s\n  option redispatch\n"
            f"frontend mqtt\n  bind 127.0.0.1:{self.port}\n  default_backend nodes\n"
            "backend nodes\n  balance leastconn\n  default-server check inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions\n"
            + "".join(f"  server {node.name.split('@')[0]} 127.0.0.1:{node.mqtt}\n" for node in self.nodes))
        self._run("haproxy", [haproxy, "-db", "-f", str(path)])
        wait_for(lambda: listens(self.port), lambda: (self.folder / "haproxy.log").read_text(), 60)

    def _run(self, name, arguments):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.others.append(subprocess.Popen(
                arguments, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))

    def stop(self):
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                end(node.process)
        for process in reversed(self.others):
            end(process)
