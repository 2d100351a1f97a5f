"""The recipes for clusters start processes that find each other, again only where it helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from segtf.run.config import TrainConfig
from segtf.training import cluster
from voc_builder.base.command import build_parser

RECIPES = Path(cluster.__file__).parents[1] / "recipes/cluster"
PROG = "python -m segtf.train"
NODES = 4
# Stand for Python, which notes its arguments down and ends with the code that the test wants, and
# for Slurm: srun returns the highest code of its tasks.
PYTHON = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["NOTES"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(int(os.environ["CODE"]))
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then printf 'node1\\nnode2\\nnode3\\nnode4\\n'; else echo "$@"; fi
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do echo "$1"; shift; done
highest=0
for SLURM_PROCID in 0 1 2 3; do
    export SLURM_PROCID
    "$@"
    code=$?
    [ "$code" -gt "$highest" ] && highest=$code
done
exit "$highest"
"""


def start(command: list[str], work: Path, code: int, **variables: str) -> tuple[int, str]:
    """Exit code and output of a recipe's command, in the folder `work`."""
    folder = work / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in (("python", PYTHON), ("scontrol", SCONTROL), ("srun", SRUN)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    variables |= {"NOTES": str(work / "notes"), "CODE": str(code)}
    variables["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True)
    assert not ended.stderr
    return ended.returncode, ended.stdout


def start_slurm(work: Path, code: int = 0) -> tuple[int, str]:
    script = str(RECIPES / "slurm.sh")
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node[1-4]", "SLURM_NTASKS": str(NODES)}
    return start(["bash", script], work, code, **job, SLURM_CPUS_PER_TASK="8")


def kubernetes() -> tuple[dict[str, Any], dict[str, Any]]:
    """The service and the job."""
    service, job = yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text())
    return service, job


def container() -> dict[str, Any]:
    (found,) = kubernetes()[1]["spec"]["template"]["spec"]["containers"]
    return found


def start_kubernetes(work: Path) -> None:
    for index in range(NODES):
        command = container()["command"] + container()["args"]
        assert start(command, work, 0, JOB_COMPLETION_INDEX=str(index)) == (0, "")


def configs(work: Path) -> list[TrainConfig]:
    """What the processes that were started since the last call were told."""
    notes = [json.loads(line) for line in (work / "notes").read_text().splitlines()]
    (work / "notes").unlink()
    parser = build_parser(TrainConfig, PROG)
    found = []
    for first, module, *flags in notes:
        assert (first, module) == ("-m", "segtf.train")
        values = parser.parse_args(flags)
        del values.config
        found.append(TrainConfig(**vars(values)))
    return found


@pytest.mark.parametrize("recipe", ["slurm", "kubernetes"])
def test_a_recipe_starts_processes_that_fit_together(recipe: str, tmp_path: Path) -> None:
    begin, host = {
        "slurm": (start_slurm, "node1"),
        "kubernetes": (start_kubernetes, "chips-0.chips"),
    }[recipe]
    begin(tmp_path)
    begun = configs(tmp_path)
    assert [config.process_id for config in begun] == list(range(NODES))
    assert {config.processes for config in begun} == {NODES}
    assert {config.coordinator for config in begun} == {f"{host}:29400"}
    assert not any(config.resume for config in begun)
    # not looked for by each process, which may or may not find them
    assert begun[0].encoder_weights not in ("auto", "imagenet")

    backup = tmp_path / begun[0].run_folder / "backup"
    backup.mkdir(parents=True)
    (backup / "state.json").write_text("{}")
    begin(tmp_path)
    resumed = configs(tmp_path)
    assert all(config.resume and config.run == begun[0].run for config in resumed)
    assert [(c.process_id, c.processes, c.coordinator) for c in resumed] == [
        (c.process_id, c.processes, c.coordinator) for c in begun
    ]


def settings(script: str) -> dict[str, str]:
    """The job's settings in the comments of a script."""
    lines = [line.split()[1] for line in script.splitlines() if line.startswith("#SBATCH --")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_slurm_starts_a_process_a_node_with_all_its_cores(tmp_path: Path) -> None:
    script = (RECIPES / "slurm.sh").read_text()
    job = settings(script)
    assert (job["--nodes"], job["--ntasks-per-node"]) == (str(NODES), "1")
    assert job["--open-mode"] == "append", "a job that begins again keeps its log"
    assert "29401 is used too" in script
    code, said = start_slurm(tmp_path)
    assert code == 0
    assert said.splitlines() == ["--cpus-per-task=8", "--kill-on-bad-exit=0", "--wait=0"]


@pytest.mark.parametrize("code", [0, 2, cluster.LOST, cluster.TOLD])
def test_slurm_begins_again_what_was_told_to_end(code: int, tmp_path: Path) -> None:
    ended, said = start_slurm(tmp_path, code)
    assert ended == code
    assert ("requeue 77" in said.splitlines()) == (code == cluster.TOLD)


def test_pods_find_the_first_one() -> None:
    service, job = kubernetes()
    name, pod = job["metadata"]["name"], job["spec"]["template"]
    assert service["metadata"]["name"] == pod["spec"]["subdomain"] == name == "chips"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["selector"] == {"job-name": name}
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == NODES
    assert [port["containerPort"] for port in container()["ports"]] == [29400, 29401]


def test_a_job_ends_for_what_no_new_pod_mends() -> None:
    spec = kubernetes()[1]["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "podFailurePolicy wants it"
    assert spec["completionMode"] == "Indexed", "backoffLimitPerIndex wants it"
    assert spec["backoffLimitPerIndex"] > 5
    assert spec["maxFailedIndexes"] == 0, "the others cannot train without it"
    actions: dict[int, str] = {}
    for rule in spec["podFailurePolicy"]["rules"]:
        if "onExitCodes" in rule:
            assert rule["onExitCodes"]["containerName"] == container()["name"]
            assert rule["onExitCodes"]["operator"] == "In"
            actions |= dict.fromkeys(rule["onExitCodes"]["values"], rule["action"])
    assert actions == {2: "FailJob", cluster.TOLD: "Ignore"}
    assert cluster.LOST not in actions, "it counts"
