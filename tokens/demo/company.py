"""Whom and what the demonstration is about: a company with robots in warehouses, and the people who run its portal."""

from typing import Any, NamedTuple

from osmo_portal.events.actor import ADMINISTRATOR_ROLE, AUDITORS, OPERATORS


class Person(NamedTuple):
    name: str
    display_name: str
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Account(NamedTuple):
    name: str
    accountable: str
    roles: tuple[str, ...]
    purpose: str


class Batch(NamedTuple):
    """Tokens that were issued alike: `many` of them, `issued` days ago, ending in `ends` days (0: at 00:00 today) and
    each `step` days after the one before. `used` is how many days ago, None for never."""

    owner: str
    name: str
    many: int
    issued: int
    ends: int
    used: float | None
    roles: tuple[str, ...] = ()
    step: int = 0
    by: str = "maya"


ADMINISTRATOR, SECOND, OPERATOR, AUDITOR, ANYBODY = "maya", "jonas", "olga", "arthur", "priya"
SHOWN = {ADMINISTRATOR: "administrator", OPERATOR: "operator", AUDITOR: "auditor", ANYBODY: "no console, own tokens"}

PEOPLE = [
    Person(SECOND, "Jonas Weber", roles=(ADMINISTRATOR_ROLE,)),
    Person(OPERATOR, "Olga Lindqvist", groups=(OPERATORS,)),
    Person(AUDITOR, "Arthur Bell", groups=(AUDITORS,)),
    Person(ANYBODY, "Priya Raman", roles=("osmo-perception",)),
    Person("kenji", "Kenji Mori", roles=("osmo-training",)),
    Person("lena", "Lena Hoffmann", roles=("osmo-simulation",)),
    Person("sam", "Samuel Okafor", roles=("osmo-hil-bench",)),
    Person("nina", "Nina Kovač", roles=("osmo-training", "osmo-simulation")),
    Person("diego", "Diego Santos", roles=("osmo-edge-lab",)),
    Person("mei", "Mei Lin"),
    Person("hannah", "Hannah Schmidt", roles=("osmo-simulation",)),
    Person("victor", "Victor Dumas", roles=("osmo-training",)),
]
LEFT = {"hannah": 26, "victor": 9}  # days ago

POOLS: dict[str, dict[str, Any]] = {
    "train-h100": {
        "backend": "dgx-frankfurt",
        "quota": (148, 160),
        "gpus": (231, 256),
        "description": "Large training",
    },
    "train-a100": {"backend": "dgx-frankfurt", "quota": (61, 96), "gpus": (88, 128), "description": "Training"},
    "sim-l40s": {"backend": "aws-eu-1", "quota": (40, 64), "gpus": (52, 96), "description": "Isaac Sim workers"},
    "sim-rtx6000": {
        "backend": "onprem-munich",
        "quota": (9, 24),
        "gpus": (9, 24),
        "description": "Simulation with screens",
    },
    "synth-l4": {"backend": "aws-eu-1", "quota": (16, 48), "gpus": (16, 48), "description": "Synthetic data"},
    "perception-a10": {"backend": "aws-us-2", "quota": (22, 32), "gpus": (30, 40), "description": "Perception models"},
    "hil-bench": {"backend": "onprem-munich", "quota": (3, 8), "gpus": (3, 8), "description": "Hardware in the loop"},
    "edge-lab": {
        "backend": "onprem-munich",
        "quota": (5, 12),
        "gpus": (5, 12),
        "description": "Orin boards in the lab",
    },
    "fleet-munich": {
        "backend": "onprem-munich",
        "quota": (34, 40),
        "gpus": (34, 40),
        "description": "Robots in hall 3",
    },
    "fleet-rotterdam": {
        "backend": "onprem-rotterdam",
        "quota": (18, 20),
        "gpus": (18, 20),
        "description": "Robots at the port",
    },
    "ci-small": {"backend": "aws-eu-1", "quota": (2, 8), "gpus": (2, 8), "description": "Short jobs of pull requests"},
    "legacy-v100": {
        "backend": "dgx-old",
        "quota": (0, 16),
        "gpus": (0, 16),
        "description": "Until the end of the year",
    },
}
OFF, IN_MAINTENANCE = {"legacy-v100"}, "sim-rtx6000"

POOL_ROLES = {
    "osmo-training": ["train-*"],
    "osmo-simulation": ["sim-*", "synth-l4"],
    "osmo-perception": ["perception-a10"],
    "osmo-hil-bench": ["hil-bench"],
    "osmo-edge-lab": ["edge-lab"],
    "osmo-fleet-munich": ["fleet-munich"],
    "osmo-fleet-rotterdam": ["fleet-rotterdam"],
    "osmo-legacy": ["legacy-*"],
}
ROLES: list[dict[str, Any]] = [
    *(
        {
            "name": name,
            "description": f"Run workflows on {' and '.join(pools)}.",
            "policies": [
                {"effect": "Allow", "actions": ["workflow:*"], "resources": [f"pool/{pool}" for pool in pools]}
            ],
        }
        for name, pools in POOL_ROLES.items()
    ),
    {
        "name": "ci-runner",
        "description": "Pull requests. Its tokens live 60 days at most.",
        "max_token_days": 60,
        "policies": [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/ci-small"]}],
    },
    {
        "name": "metrics-reader",
        "description": "What dashboards read.",
        "policies": [
            {"effect": "Allow", "actions": ["workflow:List", "workflow:Read", "pool:List"], "resources": ["*"]}
        ],
    },
    {
        "name": "dataset-reader",
        "description": "Datasets, to read.",
        "policies": [{"effect": "Allow", "actions": ["dataset:Read"], "resources": ["*"]}],
    },
    {
        "name": "no-exec",
        "description": "Denies to enter running workflows, wherever they run.",
        "policies": [{"effect": "Deny", "actions": ["workflow:Exec", "workflow:Rsync"], "resources": ["*"]}],
    },
]

ACCOUNTS = [
    Account("fleet-munich", "sam", ("osmo-fleet-munich", "metrics-reader"), "A token for each robot in hall 3"),
    Account("fleet-rotterdam", "diego", ("osmo-fleet-rotterdam",), "A token for each robot at the port"),
    Account("ci", "lena", ("ci-runner", "dataset-reader"), "GitHub runners of all repositories"),
    Account("nightly-training", "kenji", ("osmo-training", "dataset-reader"), "Retrains the grasp models every night"),
    Account("sim-farm", "lena", ("osmo-simulation", "no-exec"), "Regression scenes in Isaac Sim"),
    Account("synth-data", "hannah", ("osmo-simulation",), "Renders the pallets that nobody photographs"),
    Account("perception-eval", "priya", ("osmo-perception", "dataset-reader"), "Scores each release candidate"),
    Account("hil-scheduler", "sam", ("osmo-hil-bench",), "Books the benches"),
    Account("edge-deployer", "diego", ("osmo-edge-lab", "metrics-reader"), "Flashes the Orin boards"),
    Account("grafana", "olga", ("metrics-reader",), "Dashboards in the control room"),
    Account("cost-report", "mei", ("metrics-reader",), "The monthly bill by team"),
    Account("dataset-mirror", "victor", ("dataset-reader",), "Copies datasets to Rotterdam"),
    Account("map-builder", "victor", ("osmo-training", "osmo-legacy"), "Builds the maps of new halls"),
    Account("sandbox", "nina", ("osmo-simulation", "osmo-training"), "Experiments of the research team"),
]

BATCHES = [
    Batch("fleet-munich", "amr-{:03}", 34, issued=61, ends=24, used=0.2, roles=("osmo-fleet-munich",)),
    Batch("fleet-rotterdam", "agv-{:02}", 18, issued=40, ends=52, used=0.1, roles=("osmo-fleet-rotterdam",)),
    Batch("ci", "runner-{:02}", 8, issued=33, ends=2, used=0.1, roles=("ci-runner",), step=3),
    Batch("ci", "cache-{}", 3, issued=20, ends=11, used=0.4, roles=("dataset-reader",), step=14, by="olga"),
    Batch("nightly-training", "worker-{}", 9, issued=75, ends=6, used=0.5, roles=("osmo-training",), step=9),
    Batch("sim-farm", "node-{:02}", 12, issued=28, ends=15, used=0.3, roles=("osmo-simulation", "no-exec"), step=6),
    Batch("synth-data", "renderer-{}", 6, issued=100, ends=33, used=2, roles=("osmo-simulation",), step=11),
    Batch("perception-eval", "candidate-{}", 6, issued=30, ends=4, used=1, roles=("osmo-perception",), step=12),
    Batch("perception-eval", "archive", 1, issued=200, ends=120, used=130, roles=("dataset-reader",)),
    Batch("hil-scheduler", "bench-{}", 4, issued=80, ends=0, used=1.2, roles=("osmo-hil-bench",), step=30),
    Batch("edge-deployer", "flasher-{}", 3, issued=90, ends=0, used=3, roles=("osmo-edge-lab",)),
    Batch("edge-deployer", "spare-{}", 4, issued=45, ends=70, used=None, roles=("osmo-edge-lab",)),
    Batch("grafana", "panel-{}", 3, issued=110, ends=20, used=0.05, roles=("metrics-reader",), step=40, by="olga"),
    Batch("grafana", "wall-screen", 1, issued=170, ends=90, used=118, roles=("metrics-reader",), by="olga"),
    Batch("cost-report", "report-{}", 3, issued=150, ends=45, used=100, roles=("metrics-reader",), step=30, by="olga"),
    Batch("dataset-mirror", "mirror-{}", 4, issued=160, ends=60, used=97, roles=("dataset-reader",), by="olga"),
    Batch("map-builder", "hall-{}", 5, issued=55, ends=40, used=12, roles=("osmo-legacy",), step=8),
    Batch("map-builder", "merge", 1, issued=55, ends=80, used=2, roles=("osmo-training", "osmo-legacy")),
    Batch("sandbox", "try-{}", 8, issued=120, ends=-70, used=80, roles=("osmo-simulation",), step=9),
    Batch("sandbox", "notebook-{}", 6, issued=25, ends=30, used=None, roles=("osmo-training",), step=5),
]
# Issued while the portal allowed two years.
LONG_AGO_DAYS = 730
OVER_POLICY = [
    Batch("nightly-training", "orchestrator", 1, issued=205, ends=420, used=0.1, roles=("osmo-training",)),
    Batch("fleet-munich", "gateway-{}", 2, issued=204, ends=400, used=0.1, roles=("osmo-fleet-munich",)),
    Batch("cost-report", "export", 1, issued=203, ends=380, used=30, roles=("metrics-reader",)),
]
USER_TOKENS = [
    Batch("priya", "laptop", 1, issued=20, ends=70, used=0.1),
    Batch("kenji", "laptop", 1, issued=50, ends=13, used=0.3),
    Batch("lena", "laptop", 1, issued=12, ends=78, used=0.6),
    Batch("nina", "workstation", 1, issued=80, ends=5, used=1.5),
    Batch("diego", "laptop", 1, issued=130, ends=35, used=110),
    Batch("mei", "spreadsheet", 1, issued=10, ends=20, used=None),
    Batch("hannah", "laptop", 1, issued=70, ends=18, used=27),
    Batch("victor", "laptop", 1, issued=66, ends=25, used=10),
]
