"""deploy/: units and manifests that parse, and commands that exist and take the options written there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

DEPLOY = settings.BASE_DIR / "deploy"
SYSTEMD, KUBERNETES = DEPLOY / "systemd", DEPLOY / "kubernetes"
SERVICES = sorted(path.name for path in SYSTEMD.glob("*.service"))
TIMERS = sorted(path.name for path in SYSTEMD.glob("*.timer"))
MANIFESTS = sorted(path.name for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")
CRON_JOBS = [name for name in MANIFESTS if "\nkind: CronJob\n" in (KUBERNETES / name).read_text()]
VERSIONS = ["1.27", "1.37"]  # of Kubernetes: the oldest that has all that is used, and the newest known here
SCHEDULES = sorted(path.removesuffix(".timer") for path in TIMERS)
EXPOSURE = 15  # in tenths, as systemd-analyze counts it: 100 is no protection at all


def started(service: str) -> str:
    (line,) = re.findall(r"^ExecStart=(.*)$", (SYSTEMD / service).read_text(), re.MULTILINE)
    return line


def manifests(name: str) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all((KUBERNETES / name).read_text())]


def manifest(name: str) -> dict[str, Any]:
    (one,) = manifests(name)
    return one


def container(name: str) -> dict[str, Any]:
    (one,) = manifest(name)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return one


def run_by(name: str) -> str:
    """The command line of a manifest; that of a shell without what it does about the exit code."""
    one = container(name)
    return one["args"][0].partition(" || ")[0] if "args" in one else shlex.join(one["command"])


def written() -> list[str]:
    lines = [started(name) for name in SERVICES] + [run_by(name) for name in CRON_JOBS]
    return [line.partition("manage.py ")[2] for line in lines if "manage.py " in line]


@pytest.mark.parametrize("line", sorted({*written()}))
def test_every_command_exists_and_takes_its_options(line: str) -> None:
    name, *options = shlex.split(line)
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    parser.called_from_command_line = False  # so that it raises

    parser.parse_args(options)


def test_both_run_the_same_commands() -> None:
    def commands(lines: list[str]) -> set[str]:
        plain = [line.partition("manage.py ")[2].replace("'", "") for line in lines if "manage.py " in line]
        return {line.replace("${SCHEDULE_ACTOR}", "$(SCHEDULE_ACTOR)") for line in plain}

    assert commands([started(name) for name in SERVICES]) == commands([run_by(name) for name in CRON_JOBS])


# systemd.


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """As installed, but where this portal is."""
    shutil.copytree(SYSTEMD, tmp_path / "units")
    for path in (tmp_path / "units").rglob("osmo-portal-*"):
        if path.is_file():
            path.write_text(path.read_text().replace("/opt/osmo-portal/.venv/bin/", "/bin/true "))
    return tmp_path / "units"


def analyze(*args: Any, units: Path) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    answer = subprocess.run(
        ["systemd-analyze", *map(str, args)],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout + answer.stderr


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    assert analyze("verify", *units.glob("*.service"), *units.glob("*.timer"), units=units) == ""


def test_systemd_would_say_what_is_wrong(units: Path) -> None:
    """The test above can fail."""
    sandbox = units / "osmo-portal-.service.d" / "10-sandbox.conf"
    sandbox.write_text(sandbox.read_text().replace("ProtectSystem=strict", "ProtectSystem=rather"))

    assert "rather" in analyze("verify", units / "osmo-portal-web.service", units=units)


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_shut_in(units: Path, service: str) -> None:
    analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", units / service, units=units)


@pytest.mark.parametrize("timer", TIMERS)
def test_each_timer_has_its_service_and_an_instant_that_comes(units: Path, timer: str) -> None:
    (when,) = re.findall(r"^OnCalendar=(.*)$", (SYSTEMD / timer).read_text(), re.MULTILINE)

    assert timer.replace(".timer", ".service") in SERVICES
    assert "Persistent=yes" in (SYSTEMD / timer).read_text()
    assert "Next elapse: " in analyze("calendar", when, units=units)


# Kubernetes.


def test_the_base_names_every_manifest() -> None:
    base = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())

    assert base["resources"] == MANIFESTS


def test_there_is_a_manifest_for_each_timer() -> None:
    assert [manifest(name)["metadata"]["name"] for name in CRON_JOBS] == SCHEDULES


@pytest.mark.parametrize("name", CRON_JOBS)
def test_a_job_runs_alone_with_bounds_and_without_power(name: str) -> None:
    job = manifest(name)
    spec, template = job["spec"], job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    one = container(name)

    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert re.fullmatch(r"\d+ (\*|\d+(-\d+)?) (\*|1) \* (\*|0)", spec["schedule"])
    assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Etc/UTC")
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] <= 7200
    assert (template["restartPolicy"], template["automountServiceAccountToken"]) == ("Never", False)
    assert template["securityContext"]["runAsNonRoot"] is True
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {*one["resources"]["requests"]} == {"cpu", "memory"}
    assert one["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", CRON_JOBS)
def test_settings_come_from_outside(name: str) -> None:
    one = container(name)

    assert one["envFrom"] == [{"configMapRef": {"name": "osmo-portal"}}, {"secretRef": {"name": "osmo-portal"}}]
    assert {variable["name"] for variable in one["env"]} == {"USER"}


def test_kustomize_builds_it() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")

    built = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES],
        capture_output=True,
        text=True,
        check=True,
    )

    assert len([*yaml.safe_load_all(built.stdout)]) == sum(len(manifests(name)) for name in MANIFESTS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_every_manifest(name: str, version: str) -> None:
    for one in manifests(name):
        kubernetes_validate.validate(one, version, strict=True)


def test_kubernetes_would_refuse_what_it_does_not_know() -> None:
    """The test above can fail."""
    one = manifest("deployment.yaml")
    one["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


def pod() -> dict[str, Any]:
    return manifest("deployment.yaml")["spec"]["template"]["spec"]


def test_the_portal_runs_twice_and_never_less_than_once() -> None:
    spec = manifest("deployment.yaml")["spec"]

    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert manifest("pod-disruption-budget.yaml")["spec"]["minAvailable"] == 1
    assert pod()["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"


def test_the_portal_is_brought_up_to_date_before_it_is_asked_whether_it_lives_and_serves() -> None:
    (migrate,), (web,) = pod()["initContainers"], pod()["containers"]

    assert migrate["command"] == ["python", "manage.py", "migrate"]
    assert web["livenessProbe"]["httpGet"] == web["startupProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert web["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    assert "command" not in web, "the image says what it runs"


@pytest.mark.parametrize("kind", ["initContainers", "containers"])
def test_the_portal_has_no_power_and_its_settings_from_outside(kind: str) -> None:
    (one,), job = pod()[kind], container("verify-events.yaml")

    assert one["securityContext"] == job["securityContext"]
    assert one["envFrom"] == job["envFrom"]
    assert "env" not in one
    assert one["resources"]["limits"]["memory"]
    assert (pod()["automountServiceAccountToken"], pod()["securityContext"]["runAsNonRoot"]) == (False, True)


def test_every_selector_finds_the_portal_and_nothing_else() -> None:
    labels = manifest("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    everything, web = manifests("network-policy.yaml")
    selectors = [
        manifest("deployment.yaml")["spec"]["selector"]["matchLabels"],
        manifest("service.yaml")["spec"]["selector"],
        manifest("pod-disruption-budget.yaml")["spec"]["selector"]["matchLabels"],
        web["spec"]["podSelector"]["matchLabels"],
    ]

    assert selectors == [labels] * 4
    for name in CRON_JOBS:
        job = manifest(name)["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        assert job["app.kubernetes.io/component"] != labels["app.kubernetes.io/component"]
        assert everything["spec"]["podSelector"]["matchLabels"].items() <= job.items()


def test_nobody_reaches_the_portal_but_on_its_port_and_nobody_the_jobs() -> None:
    everything, web = manifests("network-policy.yaml")

    assert everything["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everything["spec"]
    (allowed,) = web["spec"]["ingress"]
    assert allowed["ports"] == [{"port": 8000, "protocol": "TCP"}]
    assert allowed["from"] == [{"namespaceSelector": {"matchLabels": {"osmo-portal/access": "ingress"}}}]


def test_the_copy_of_events_lies_on_a_disk_of_its_own() -> None:
    spec = manifest("copy-events.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    unit = (SYSTEMD / "osmo-portal-copy-events.service").read_text()

    home = str(Path(started("osmo-portal-copy-events.service").split()[-1]).parent)

    assert f"\nAssertPathIsMountPoint={home}\n" in unit
    assert f"\nReadWritePaths=-{home}\n" in unit
    (mounted,) = [mount for mount in container("copy-events.yaml")["volumeMounts"] if mount["mountPath"] == home]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == mounted["name"]]
    claimed = manifest("events-volume.yaml")["metadata"]["name"]
    assert volume["persistentVolumeClaim"] == {"claimName": claimed}
    assert spec["securityContext"]["fsGroup"] == 10_001, "whom the image runs as"


# What nothing does by itself.


def test_purging_is_off_until_somebody_turns_it_on() -> None:
    timer = (SYSTEMD / "osmo-portal-purge-ended.timer").read_text()

    assert "\n[Install]" not in timer
    assert "\n# [Install]" in timer
    assert manifest("purge-ended.yaml")["spec"]["suspend"] is True
    others = [name for name in CRON_JOBS if name != "purge-ended.yaml"]
    assert not [name for name in others if "suspend" in manifest(name)["spec"]]


def test_nothing_to_purge_is_no_failure() -> None:
    assert "\nSuccessExitStatus=2\n" in (SYSTEMD / "osmo-portal-purge-ended.service").read_text()
    assert container("purge-ended.yaml")["args"][0].endswith(" || [ $? -eq 2 ]")
