"""The Helm chart, rendered by Helm's own engine, and every object of it checked by Kubernetes' schemas."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from origin.cli import main
from origin.config import SETTINGS
from origin.stream.worker.gunicorn_app import GRACEFUL_TIMEOUT_S
from testkit.services.process import unavailable

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "touchline"
# The oldest that the chart permits and one of today.
OLDEST, NEWEST = "1.30", "1.34"
FEEDS = {
    "feedworkers": [
        {
            "name": "league-39",
            "feed": "api-football-v3",
            "url": "https://vendor.example/",
            "existingSecret": "vendor-key",
            "args": ["--league", "39"],
        }
    ]
}
# What an operator may switch on; each is rendered and checked.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "as it comes": {},
    "feeds": FEEDS,
    "prometheus-adapter": {"stream": {"autoscaling": {"kind": "prometheus-adapter"}}},
    "not scaled": {"stream": {"autoscaling": {"kind": "none", "minReplicas": 7}}},
    "scheduled": {
        "stream": {
            "autoscaling": {"schedule": [{"start": "15 18 19 7 *", "end": "45 21 19 7 *", "replicas": 140}]}
        }
    },
    "io_uring": {"stream": {"seccompProfile": {"type": "Localhost", "localhostProfile": "touchline.json"}}},
    "ingress": {
        "ingress": {"enabled": True, "tlsSecret": "scores-tls"},
        "publicUrl": "https://scores.example",
    },
    "purge": {"purge": {"url": "https://cdn.example/purge", "existingSecret": "purge-token"}},
    "closed ingest": {"ingest": {"existingSecret": ""}},
    "digest": {"image": {"repository": "images.example/touchline", "tag": "@sha256:" + "0" * 64}},
    "pinned to nodes": {
        "nodeSelector": {"pool": "streams"},
        "tolerations": [{"key": "streams", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "pull"}],
    },
    "bare": {"networkPolicy": {"enabled": False}, "deletionCost": {"enabled": False}},
}


def renderer() -> str:
    """What testkit/services/install.sh builds."""
    found = sorted((ROOT / ".cache" / "helm").glob("render-*"), key=lambda path: path.stat().st_mtime)
    if not found:
        unavailable("the chart's renderer (testkit/helm)")
    return str(found[-1])


def run(values: Mapping[str, Any], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    return subprocess.run(
        [renderer(), "scores", str(CHART), str(file)], capture_output=True, text=True, timeout=60, check=False
    )


def rendered(values: Mapping[str, Any], tmp_path: Path) -> list[dict[str, Any]]:
    done = run(values, tmp_path)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def named(objects: Sequence[Mapping[str, Any]], kind: str, name: str) -> Any:
    return next(one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return rendered(FEEDS, tmp_path_factory.mktemp("chart"))


def pods(objects: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in objects
        if one["kind"] == "Deployment"
    }


# ---- objects


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_one_of_kubernetes(variant: str, tmp_path: Path) -> None:
    checked = 0
    for one in rendered(VARIANTS[variant], tmp_path):
        if one["apiVersion"].startswith("keda.sh/"):
            continue  # looked at below: its schema belongs to KEDA
        for version in (OLDEST, NEWEST) if variant == "feeds" else (NEWEST,):
            kubernetes_validate.validate(one, version, strict=True)
        checked += 1
    assert checked >= 8


def test_a_wrong_object_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "a"},
                "spec": {"ports": [{"port": "x"}]},
            },
            NEWEST,
            strict=True,
        )


def test_every_tier_is_there(default: Sequence[Mapping[str, Any]]) -> None:
    assert set(pods(default)) == {
        "scores-origin",
        "scores-stream",
        "scores-fanout",
        "scores-feedworker-league-39",
        "scores-deletion-cost",
    }
    budgets = {one["metadata"]["name"] for one in default if one["kind"] == "PodDisruptionBudget"}
    assert budgets == {"scores-origin", "scores-stream", "scores-fanout"}


def test_selectors_find_the_pods_that_they_mean(default: Sequence[Mapping[str, Any]]) -> None:
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in default
        if one["kind"] == "Deployment"
    }
    looked_at = 0
    for one in default:
        spec = one.get("spec", {})
        selector = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "Deployment": lambda spec: spec["selector"]["matchLabels"],
        }.get(one["kind"])
        if selector is None:
            continue
        found = [name for name, has in labels.items() if selector(spec).items() <= has.items()]
        expected = one["metadata"]["name"]
        assert found == ["scores-feedworker-league-39" if expected == "scores-feedworker" else expected]
        looked_at += 1
    assert looked_at == 2 + 3 + 5 + 5


# ---- what a pod may do


def test_every_container_is_confined(default: Sequence[Mapping[str, Any]]) -> None:
    for name, pod in pods(default).items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        assert pod["enableServiceLinks"] is False, name
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            assert "cpu" not in container["resources"]["limits"], name  # throttling would delay a goal


def test_only_the_deletion_cost_has_a_token_and_it_may_do_two_things(
    default: Sequence[Mapping[str, Any]],
) -> None:
    assert [name for name, pod in pods(default).items() if pod["automountServiceAccountToken"]] == [
        "scores-deletion-cost"
    ]
    rules = [rule for one in default if one["kind"] in ("Role", "ClusterRole") for rule in one["rules"]]
    assert rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "patch"]}]
    policy = named(default, "ValidatingAdmissionPolicy", "default-scores-deletion-cost")
    assert policy["spec"]["failurePolicy"] == "Fail"
    binding = named(default, "ValidatingAdmissionPolicyBinding", "default-scores-deletion-cost")
    assert binding["spec"]["validationActions"] == ["Deny"]
    assert "ports" not in pods(default)["scores-deletion-cost"]["containers"][0]


def test_each_tier_gets_the_secrets_that_it_needs(default: Sequence[Mapping[str, Any]]) -> None:
    secrets = {
        name: sorted(
            volume["secret"]["secretName"] for volume in pod.get("volumes", ()) if "secret" in volume
        )
        for name, pod in pods(default).items()
    }
    assert secrets == {
        "scores-origin": ["touchline-bus", "touchline-eventlog", "touchline-ingest-keys"],
        "scores-stream": ["touchline-bus", "touchline-eventlog"],
        "scores-fanout": ["touchline-bus", "touchline-eventlog"],
        "scores-feedworker-league-39": ["touchline-eventlog", "vendor-key"],
        "scores-deletion-cost": [],
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_setting_and_option_is_one_of_ours(variant: str, tmp_path: Path) -> None:
    """A setting that is unknown would end the process; so would an option."""
    for name, pod in pods(rendered(VARIANTS[variant], tmp_path)).items():
        for container in pod["containers"]:
            for entry in container.get("env", ()):
                assert entry["name"] in SETTINGS | {"FORWARDED_ALLOW_IPS"}, name
            words = container["args"]
            command = main.get_command(click.Context(main), words[0])
            assert command is not None, name
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, name


def test_who_may_reach_whom(default: Sequence[Mapping[str, Any]]) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in default if one["kind"] == "NetworkPolicy"}
    assert {name for name, spec in policies.items() if spec["policyTypes"] != ["Ingress", "Egress"]} == set()
    public = {
        name
        for name, spec in policies.items()
        if any(port["port"] == 8000 for rule in spec["ingress"] or () for port in rule["ports"])
    }
    assert public == {"scores-origin", "scores-stream"}
    assert policies["scores-deletion-cost"]["ingress"] == []
    for name, spec in policies.items():
        assert all(rule.get("from") for rule in spec["ingress"]), name  # from everywhere: nowhere
        assert all(rule.get("ports") for rule in spec["egress"]), name
    reached = {
        name: {port["port"] for rule in spec["egress"] for port in rule["ports"]}
        for name, spec in policies.items()
    }
    assert 443 in reached["scores-feedworker"]
    assert 443 not in reached["scores-stream"]


# ---- the stream tier


def test_the_stream_tier_is_scaled_by_viewers_and_never_by_cpu(tmp_path: Path) -> None:
    for variant in VARIANTS:
        for one in rendered(VARIANTS[variant], tmp_path):
            if one["kind"] == "HorizontalPodAutoscaler":
                assert [metric["type"] for metric in one["spec"]["metrics"]] == ["Pods"]
            elif one["kind"] == "ScaledObject":
                assert {trigger["type"] for trigger in one["spec"]["triggers"]} <= {"prometheus", "cron"}
                text = yaml.safe_dump(one)
                assert "touchline_stream_viewers" in text
                assert "cpu" not in text


def test_the_scaled_object_has_what_keda_asks_for(tmp_path: Path) -> None:
    scaled = named(rendered(VARIANTS["scheduled"], tmp_path), "ScaledObject", "scores-stream")["spec"]
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["stream"]["autoscaling"]
    assert scaled["scaleTargetRef"] == {"name": "scores-stream"}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (
        values["minReplicas"],
        values["maxReplicas"],
    )
    prometheus, cron = scaled["triggers"]
    assert prometheus["metricType"] == "AverageValue"
    # KEDA takes all metadata as texts.
    for trigger in scaled["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert prometheus["metadata"]["threshold"] == str(values["targetViewers"])
    assert cron["metadata"] == {
        "timezone": "UTC",
        "start": "15 18 19 7 *",
        "end": "45 21 19 7 *",
        "desiredReplicas": "140",
    }
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert (
        behavior["scaleDown"]["stabilizationWindowSeconds"]
        > behavior["scaleUp"]["stabilizationWindowSeconds"]
    )
    assert [policy["type"] for policy in behavior["scaleDown"]["policies"]] == ["Pods"]


def test_an_autoscaler_and_the_chart_do_not_both_say_how_many(tmp_path: Path) -> None:
    """A number in the Deployment would undo the autoscaler's at each upgrade."""
    for variant, said in (("as it comes", None), ("prometheus-adapter", None), ("not scaled", 7)):
        objects = rendered(VARIANTS[variant], tmp_path)
        assert named(objects, "Deployment", "scores-stream")["spec"].get("replicas") == said


def test_a_pod_has_time_to_send_its_viewers_away(default: Sequence[Mapping[str, Any]]) -> None:
    for name in ("scores-stream", "scores-origin"):
        pod = pods(default)[name]
        pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pause > 0
        assert pod["terminationGracePeriodSeconds"] >= pause + GRACEFUL_TIMEOUT_S + 5
    stream = named(default, "Deployment", "scores-stream")["spec"]
    assert stream["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    spread = pods(default)["scores-stream"]["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


# ---- values that cannot be


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"stream": {"terminationGracePeriodSeconds": 20}}, "stream.terminationGracePeriodSeconds 20"),
        ({"origin": {"terminationGracePeriodSeconds": 44}}, "origin.terminationGracePeriodSeconds 44"),
        ({"stream": {"autoscaling": {"targetViewers": 20000}}}, "targetViewers 20000"),
        ({"stream": {"autoscaling": {"minReplicas": 200}}}, "minReplicas 200"),
        ({"stream": {"autoscaling": {"kind": "cpu"}}}, "kind"),
        (
            {"stream": {"autoscaling": {"targetCPUUtilizationPercentage": 70}}},
            "targetCPUUtilizationPercentage",
        ),
        ({"stream": {"seccompProfile": {"type": "Localhost"}}}, "localhostProfile"),
        (
            {
                "stream": {
                    "autoscaling": {
                        "kind": "prometheus-adapter",
                        "schedule": [{"start": "1 1 1 1 *", "end": "2 1 1 1 *", "replicas": 9}],
                    }
                }
            },
            "schedule needs kind keda",
        ),
        (
            {"stream": {"autoscaling": {"schedule": [{"start": "now", "end": "2 1 1 1 *", "replicas": 9}]}}},
            "start",
        ),
        ({"eventlog": {"existingSecret": ""}}, "eventlog.existingSecret"),
        ({"bus": {"existingSecret": ""}}, "bus.existingSecret"),
        ({"purge": {"url": "https://cdn.example/"}}, "purge.existingSecret"),
        ({"feedworkers": [{"name": "UPPER", "feed": "opta-f24", "url": "https://v.example/"}]}, "name"),
        ({"feedworkers": [{"name": "a", "feed": "telegraph", "url": "https://v.example/"}]}, "feed"),
        ({"publicUrl": "scores.example"}, "publicUrl"),
        ({"imagee": {}}, "imagee"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_that_cannot_be_are_refused_by_name(
    values: Mapping[str, Any], says: str, tmp_path: Path
) -> None:
    done = run(values, tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert says in done.stderr


def test_examples_of_redis_and_kafka_are_what_the_documents_ask_for() -> None:
    examples = ROOT / "deploy" / "helm" / "examples"
    kafka = list(yaml.safe_load_all((examples / "kafka-strimzi.yaml").read_text(encoding="utf-8")))
    config = named(kafka, "Kafka", "touchline")["spec"]["kafka"]["config"]
    assert config["min.insync.replicas"] == 2
    assert config["auto.create.topics.enable"] is False
    assert named(kafka, "KafkaNodePool", "brokers")["spec"]["replicas"] >= 3
    valkey = yaml.safe_load((examples / "redis-values.yaml").read_text(encoding="utf-8"))
    assert "noeviction" in yaml.safe_dump(valkey)
