"""`luna doctor`: what this machine has, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luna.cli import options
from luna.cli.console import print_data, print_lines, print_table
from luna.run.errors import EnvironmentFault

if TYPE_CHECKING:
    from luna.run.machine.inspection import Machine


def doctor(as_json: options.Json = False, debug: options.Debug = False) -> None:
    """Check versions, devices, memory and disks; exit code 4 when something is missing."""
    import json
    from dataclasses import asdict

    from luna.run.machine.inspection import inspect_machine

    machine = inspect_machine()
    if as_json:
        print_data(json.dumps(asdict(machine), indent=2))
    else:
        show(machine)
    if machine.missing:
        raise EnvironmentFault(
            "this machine is not ready for luna",
            why="; ".join(machine.missing),
            hint="scripts/setup.sh installs the tested set of packages",
        )


def show(machine: Machine) -> None:
    """Print the facts, a line each, then the packages, then the advice."""
    shm = "none" if machine.shm_gib is None else f"{machine.shm_gib:.1f} GiB"
    memory = "unknown" if machine.memory_gib is None else f"{machine.memory_gib:.1f} GiB"
    print_lines(
        f"luna {machine.luna}, Python {machine.python}, {machine.platform}",
        *(f"device: {device}" for device in machine.devices),
        f"bfloat16 in hardware: {'yes' if machine.bf16 else 'no'}",
        f"cores: {machine.cores}, memory: {memory}, /dev/shm: {shm}",
        f"disk free: {machine.disk_free_gib:.1f} GiB here, "
        f"{machine.temporary_free_gib:.1f} GiB for temporary files",
    )
    print_table(
        ("package", "found", "wanted", ""),
        [(p.name, p.found or "–", p.wanted, p.problem or "ok") for p in machine.packages],
    )
    print_lines(*(f"advice: {sentence}" for sentence in machine.advice))
    print_lines(*(f"missing: {problem}" for problem in machine.missing))
