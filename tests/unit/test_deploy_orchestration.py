"""deploy/compose.yaml and deploy/kubernetes: valid, and consistent with the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bot.config.consistency import require_consistent
from bot.config.loader import load
from bot.config.presets import KEY_VARIABLES
from bot.config.settings import Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
COMPOSE: Any = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
NAMES = {name.upper() for name in Settings.model_fields} | KEY_VARIABLES
DRAIN_SECONDS = Settings.model_fields["drain_seconds"].default
PROBES = {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
"""An outage of a platform neither ends a process nor prevents one from starting."""

HARDENED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def one(kind: str) -> Any:
    [found] = [each for path in KUBERNETES for each in documents(path) if each["kind"] == kind]
    return found


def pod() -> Any:
    return one("Deployment")["spec"]["template"]["spec"]


def container() -> Any:
    [found] = pod()["containers"]
    return found


def env_lines(file: str) -> Iterator[tuple[str, str]]:
    for line in (ROOT / "deploy" / file).read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


def env_names(file: str) -> set[str]:
    return {name for name, _ in env_lines(file)}


# ── Kubernetes ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: str(path.name))
def test_kubernetes_accepts_the_manifest(path: Path) -> None:
    """Kubernetes' own schemas, with unknown fields refused."""
    for document in documents(path):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_an_unknown_field_would_be_noticed() -> None:
    wrong = one("Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_every_selector_finds_the_pods() -> None:
    spec = one("Deployment")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert one("Service")["spec"]["selector"] == labels
    [spread] = pod()["topologySpreadConstraints"]
    network = one("NetworkPolicy")["spec"]["podSelector"]
    budget = one("PodDisruptionBudget")["spec"]["selector"]
    for selector in (spec["selector"], budget, network, spread["labelSelector"]):
        assert selector == {"matchLabels": labels}


def test_the_pods_have_minimal_privileges() -> None:
    context = pod()["securityContext"]
    assert context["runAsNonRoot"] and context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert f"USER {context['runAsUser']}" in (ROOT / "Dockerfile").read_text()
    assert container()["securityContext"] == HARDENED
    assert pod()["automountServiceAccountToken"] is False


def test_ports_and_probes_match() -> None:
    environ = {each["name"]: each["value"] for each in container()["env"]}
    [port] = container()["ports"]
    assert port == {"name": "http", "containerPort": int(environ["HTTP_PORT"])}
    [served] = one("Service")["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    assert one("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"] == port["containerPort"]
    probes = {kind: container()[f"{kind}Probe"]["httpGet"] for kind in PROBES}
    assert probes == {k: {"path": path, "port": port["name"]} for k, path in PROBES.items()}


def test_an_upgrade_keeps_a_replica_ready_and_lets_answers_end() -> None:
    spec = one("Deployment")["spec"]
    assert spec["replicas"] >= 2 and spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pause = int(
        re.findall(r"sleep\((\d+)\)", container()["lifecycle"]["preStop"]["exec"]["command"][2])[0]
    )
    drain = next(each["value"] for each in container()["env"] if each["name"] == "DRAIN_SECONDS")
    assert float(drain) == DRAIN_SECONDS
    assert pod()["terminationGracePeriodSeconds"] >= pause + float(drain) + 15
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] < spec["replicas"]


def test_the_writable_folders_are_volumes() -> None:
    mounted = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    assert mounted.keys() == {"/tmp", "/data", "/config"}
    assert {volume["name"] for volume in pod()["volumes"]} == set(mounted.values())


def test_all_processes_have_the_same_readable_configuration(tmp_path: Path) -> None:
    """Each file is valid on its own, and mounted where THREADLINE_CONFIG says."""
    variables = {each["name"]: each["value"] for each in container()["env"] if "value" in each}
    in_compose = dict(env_lines("bot.env.example"))
    assert variables["THREADLINE_CONFIG"] == in_compose["THREADLINE_CONFIG"]
    folder, name = in_compose["THREADLINE_CONFIG"].rsplit("/", 1)
    [mount] = [each for each in container()["volumeMounts"] if each["mountPath"] == folder]
    assert mount["readOnly"]
    [volume] = [each for each in pod()["volumes"] if each["name"] == mount["name"]]
    assert volume["configMap"]["name"] == one("ConfigMap")["metadata"]["name"]
    assert COMPOSE["services"]["bot"]["volumes"] == [f"./config:{folder}:ro"]
    for text in (one("ConfigMap")["data"][name], (ROOT / "deploy/config" / name).read_text()):
        (tmp_path / name).write_text(text)
        assert not load({"THREADLINE_CONFIG": str(tmp_path / name)}, None).file.problems


def test_every_variable_is_a_setting() -> None:
    secret = one("Secret")
    assert secret["metadata"]["name"] == container()["envFrom"][0]["secretRef"]["name"]
    used = set(secret["stringData"]) | {each["name"] for each in container()["env"]}
    used |= env_names("bot.env.example")
    assert used - NAMES == set()


@pytest.mark.parametrize("platform", ["DISCORD", "SLACK"])
def test_the_settings_are_consistent(platform: str) -> None:
    """Each platform's settings are tried alone, once filled in; the port is open to other
    containers."""
    compose = dict(env_lines("bot.env.example"))
    kubernetes = one("Secret")["stringData"] | {e["name"]: e["value"] for e in container()["env"]}
    for environ in (compose, kubernetes):
        values = {name: value or "a-secret-of-24-characters" for name, value in environ.items()}
        values |= {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}
        known = {k: v for k, v in values.items() if platform in k or not k.endswith(CHAT_TOKENS)}
        settings = load(known, None)
        require_consistent(settings)
        assert settings.http_host == "0.0.0.0"
        assert settings.serves_metrics and settings.web_tokens and settings.uses_postgres


CHAT_TOKENS = ("DISCORD_TOKEN", "BOT_TOKEN", "APP_TOKEN")


# ── Compose ───────────────────────────────────────────────────────────────────────────────────
def test_compose_uses_known_fields_of_the_right_types() -> None:
    """Checks the part of the Compose specification that the file uses."""
    assert COMPOSE.keys() == {"name", "services", "volumes"}
    for service in COMPOSE["services"].values():
        for name, value in service.items():
            assert isinstance(value, SERVICE_FIELDS[name]), name
        for name in ("stop_grace_period",):
            assert re.fullmatch(r"\d+s", service[name])


SERVICE_FIELDS: dict[str, type] = {
    **dict.fromkeys(("build", "image", "env_file", "restart", "stop_grace_period"), str),
    **dict.fromkeys(("mem_limit", "shm_size", "stop_signal"), str),
    **dict.fromkeys(("tmpfs", "cap_drop", "security_opt", "expose", "volumes"), list),
    **dict.fromkeys(("deploy", "depends_on", "healthcheck", "logging"), dict),
    **dict.fromkeys(("init", "read_only"), bool),
    "pids_limit": int,
}
"""https://github.com/compose-spec/compose-spec/blob/main/05-services.md"""


def test_the_bots_start_after_the_database_and_end_after_their_answers() -> None:
    bot, database = COMPOSE["services"]["bot"], COMPOSE["services"]["postgres"]
    assert bot["deploy"]["replicas"] >= 2
    assert bot["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert database["healthcheck"]["test"][0] == "CMD-SHELL"
    assert int(bot["stop_grace_period"].rstrip("s")) >= DRAIN_SECONDS + 15
    [volume] = [each.partition(":")[0] for each in database["volumes"]]
    assert COMPOSE["volumes"].keys() == {volume}


def test_the_bots_have_minimal_privileges() -> None:
    bot = COMPOSE["services"]["bot"]
    assert bot["read_only"] and bot["cap_drop"] == ["ALL"]
    assert bot["security_opt"] == ["no-new-privileges:true"]
    assert [entry.partition(":")[0] for entry in bot["tmpfs"]] == ["/tmp"]
    assert "privileged" not in bot and "ports" not in bot


def test_secrets_are_in_files_that_are_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/*.env", "/deploy/kubernetes/secret.yaml"} <= set(ignored)
    for service in COMPOSE["services"].values():
        assert (ROOT / "deploy" / f"{service['env_file']}.example").exists()
    assert env_names("postgres.env.example") == {
        "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"
    }  # fmt: skip


# ── images ────────────────────────────────────────────────────────────────────────────────────
def images() -> Iterator[str]:
    yield from (service["image"] for service in COMPOSE["services"].values())
    yield container()["image"]
    yield from re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_images_have_versions_and_no_host() -> None:
    found = set(images())
    assert all(re.fullmatch(r"[a-z]+(:[0-9][\w.-]*)?", image) for image in found)
    assert {image for image in found if ":" not in image} == {"threadline"}  # built here
