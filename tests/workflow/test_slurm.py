"""A sweep on a real SLURM of this one host gives the serial table, whatever is killed meanwhile.

``make test-slurm`` asks for it; it starts munged, slurmctld and slurmd of its own on loopback, in a
temporary folder.
"""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

from scimf.core import paths
from scimf.core.optimise import CHECKPOINT_EVERY
from workflow.settings import reports_folder, search_path

NEEDED = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm"}
STEPS = CHECKPOINT_EVERY + 60  # so that a fit can be caught between its checkpoint and its end
SWEEP = f"""
boards = ["toy"]
methods = ["scimf", "no_interaction", "attention"]
seeds = [0, 1]
steps = {STEPS}
draws = 2
transport_n = 50
"""
#: The smallest cluster: this host, two slots, no accounting; a finished job is remembered for 10
#: minutes.
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
JobAcctGatherType=jobacct_gather/none
MinJobAge=600
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SCIMF_SLURM"), reason="starts a SLURM of its own: make test-slurm"
    ),
]
WORKFLOW = paths.ROOT / "workflow"
#: The name of a method by the interaction of its fits.
METHODS = {"attention": "attention", "none": "no_interaction", "additive": "scimf"}


def say(line):
    sys.__stdout__.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.__stdout__.flush()


def which(program):
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")  # where Debian has daemons


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def until(condition, what, seconds=120, pause=0.2):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(pause)
    pytest.fail(f"waited {seconds} s in vain for {what}")


class Cluster:
    """SLURM on this host, its configuration, state and logs in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.daemons = {}
        for part in ("state", "spool"):
            (folder / part).mkdir()
        host = socket.gethostname().split(".")[0]
        conf = folder / "slurm.conf"
        user = getpass.getuser()
        conf.write_text(CONF.format(folder=folder, host=host, user=user, ports=free_ports(2)))
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        wrapper = folder / "bin" / "srun"  # the plugin hides SLURM_CONF from the srun of a job
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {which("srun")} "$@"\n')
        wrapper.chmod(0o700)
        places = [str(wrapper.parent), str(WORKFLOW / "without-accounting"), os.environ["PATH"]]
        self.environment = os.environ | {
            "SLURM_CONF": str(conf),
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join(places),
            "PYTHONPATH": search_path(reports_folder()),
        }

    def daemon(self, name, *arguments):
        with open(self.folder / f"{name}.out", "ab") as log:
            streams = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            self.daemons[name] = subprocess.Popen(
                [which(name), *arguments], env=self.environment, **streams
            )

    def start_controller(self):
        self.daemon("slurmctld", "-D")

    def __enter__(self):
        munge = [f"--socket={self.folder}/munge.socket"]
        for kind in ("key", "pid", "log", "seed"):
            munge.append(f"--{kind}-file={self.folder}/munge.{kind}")
        self.daemon("munged", "-F", "-f", *munge)
        until((self.folder / "munge.socket").exists, "munged")
        self.start_controller()
        self.daemon("slurmd", "-D")
        until(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), "an idle node")
        return self

    def __exit__(self, *_):
        self.ask("scancel", "--user", getpass.getuser())
        time.sleep(2)
        for process in self.daemons.values():
            process.terminate()
        for process in self.daemons.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def ask(self, *command):
        got = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        return got.stdout.strip()

    def jobs(self, state):
        return self.ask("squeue", "-h", "-t", state, "-o", "%i").split()

    def history(self):
        """State of every job that ended, as SLURM wrote it down."""
        text = (self.folder / "jobs.txt").read_text()
        return dict(re.findall(r"^JobId=(\d+) .*?JobState=(\w+)", text, re.MULTILINE))


def fitting(folder):
    """Process id -> result file, of the jobs below ``folder`` that run now."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode().split("\0")
        except OSError:
            continue  # it has just ended
        if words[1:4] == ["-m", "workflow.sweep", "job"] and str(folder) in words[4]:
            found[int(entry.parent.name)] = words[5]
    return found


def half_way(cache):
    """Jobs (``method.seed``) that have a fit whose checkpoint is not the last one."""
    found = set()
    for path in cache.glob("*.pt"):
        checkpoint = torch.load(path, weights_only=True)
        if checkpoint["step"] < checkpoint["steps"]:
            method = METHODS[checkpoint["config"]["interaction"]]
            found.add(f"{method}.{checkpoint['seed']}")
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    missing = sorted({package for tool, package in NEEDED.items() if not which(tool)})
    if missing:
        advice = f"on Debian or Ubuntu: apt-get install {' '.join(missing)}"
        pytest.fail(f"no SLURM here; {advice}", pytrace=False)
    if not (find_spec("snakemake") and find_spec("snakemake_executor_plugin_slurm")):
        advice = "make sweep says what to install"
        pytest.fail(f"no Snakemake with its SLURM plugin here: {advice}", pytrace=False)
    with Cluster(tmp_path_factory.mktemp("slurm")) as started:
        nodes = started.ask("sinfo", "-h", "-o", "%n %c CPUs %T")
        say(f"SLURM {started.ask('sinfo', '--version')}: {nodes}")
        yield started


def run_sweep(cluster, build, *arguments):
    command = [sys.executable, "-m", "workflow.sweep", *map(str, arguments)]
    environment = cluster.environment | {"SCIMF_BUILD": str(build)}
    subprocess.run(command, env=environment, check=True)


def start_snakemake(cluster, folder, build, log):
    options = {
        "--snakefile": WORKFLOW / "Snakefile",
        "--directory": folder,
        "--workflow-profile": WORKFLOW / "profiles" / "slurm",
        "--configfile": folder / "plan.json",
        "--slurm-init-seconds-before-status-checks": 5,
    }
    command = [sys.executable, "-m", "snakemake"]
    for option, value in options.items():
        command += [option, str(value)]
    environment = cluster.environment | {"SCIMF_BUILD": str(build)}
    with open(log, "wb") as stream:
        return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)


def test_table_is_the_serial_one_whatever_is_killed(cluster, tmp_path):
    settings = tmp_path / "sweep.toml"
    settings.write_text(SWEEP)
    serial = tmp_path / "serial"
    start = time.monotonic()
    run_sweep(cluster, serial, "serial", settings, serial)
    say(f"serial: {time.monotonic() - start:.0f} s")

    build = tmp_path / "slurm"
    folder = build / "sweep"
    log = tmp_path / "snakemake.log"
    run_sweep(cluster, build, "plan", settings, folder / "plan.json")
    sweep = start_snakemake(cluster, folder, build, log)
    try:
        disturb(cluster, folder, build / "fits")
        assert sweep.wait(900) == 0, log.read_text()[-3000:]
    except BaseException:
        say(log.read_text()[-3000:])
        raise
    finally:
        sweep.kill()
    states = Counter(cluster.history().values())
    say(f"jobs of SLURM by state: {dict(states)}")
    assert states["COMPLETED"] == 8
    assert {"FAILED", "CANCELLED"} <= set(states)
    for name in ("scores.csv", "summary.csv"):
        assert (folder / name).read_bytes() == (serial / name).read_bytes(), name
    n_scores = len(pd.read_csv(folder / "scores.csv"))
    say(f"{n_scores} scores, equal to the serial ones to the last byte")


def disturb(cluster, folder, cache):
    """Kill a job between two checkpoints, cancel another, restart the controller amid jobs."""
    kill_a_fit(folder, cache)
    cancel_a_job(cluster, folder)
    restart_the_controller(cluster, folder)


def kill_a_fit(folder, cache):
    def caught():
        running = fitting(folder).items()
        return [(pid, file) for pid, file in running if Path(file).stem in half_way(cache)]

    pid, file = until(caught, "a fit half-way", 300)[0]
    os.kill(pid, signal.SIGKILL)
    assert Path(file).stem in half_way(cache)
    say(f"kill -9 of process {pid} ({file}), its fit at step {CHECKPOINT_EVERY} of {STEPS}")


def cancel_a_job(cluster, folder):
    def two_running():
        return cluster.jobs("RUNNING") if len(fitting(folder)) > 1 else []

    job = until(two_running, "two running jobs", 300)[-1]
    cluster.ask("scancel", job)
    until(lambda: cluster.history().get(job) == "CANCELLED", "the end of a cancelled job")
    # The controller writes its state down every few seconds; what it did since is lost with it.
    time.sleep(10)
    say(f"scancel {job}")


def restart_the_controller(cluster, folder):
    until(lambda: fitting(folder) and cluster.jobs("PENDING"), "running and waiting jobs", 300)
    running = cluster.jobs("RUNNING")
    waiting = cluster.jobs("PENDING")
    controller = cluster.daemons["slurmctld"]
    controller.kill()
    controller.wait()
    say(f"kill -9 of slurmctld with {len(running)} jobs running, {len(waiting)} waiting")
    time.sleep(20)
    assert not cluster.ask("squeue", "-h"), "the controller should be away"
    cluster.start_controller()
    until(lambda: cluster.ask("squeue", "-h", "-t", "all"), "the controller's return")
    known = cluster.ask("squeue", "-h", "-t", "all").splitlines()
    say(f"slurmctld again, with {len(known)} jobs")
