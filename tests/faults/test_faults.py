# SPDX-License-Identifier: Apache-2.0
"""Every call that can fail, failed: the walks of walk.c above the fake KVM, and that no call has
been forgotten. PAPRIKA_WALK names the program (lab/test faults builds and sets it)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

WALK = Path(os.environ["PAPRIKA_WALK"])
FAULTS = Path(__file__).resolve().parent / "faults.c"

# Calls without a row, by the reason.
WITHOUT_A_ROW = {
    "only compute": """
        memchr memcmp memcpy memmove memset strchr strcmp strcpy strcspn strlen strncmp strncpy strnlen
        strspn strstr strrchr strerror strerror_r snprintf sprintf vsnprintf qsort gmtime_r timegm
        cfmakeraw strtol strtoll strtoul strtoull strtod stpcpy strerrordesc_np dirfd getenv unsetenv tzset __errno_location""",
    "cannot fail as they are used": """
        clock_gettime geteuid getpgrp getpid gettid pthread_self pthread_join raise signal
        sigemptyset sigaddset sigfillset sigprocmask sigaltstack
        posix_spawnattr_init posix_spawnattr_setsigmask posix_spawnattr_setsigdefault
        posix_spawnattr_setflags posix_spawnattr_destroy posix_spawn_file_actions_init
        posix_spawn_file_actions_destroy
        closedir mallinfo2 malloc_trim mallopt pthread_attr_destroy
        pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_mutex_destroy
        pthread_cond_init pthread_cond_wait pthread_cond_broadcast pthread_cond_signal
        pthread_cond_destroy io_uring_queue_exit exit eventfd_read eventfd_write
        pthread_rwlock_init pthread_rwlock_rdlock pthread_rwlock_wrlock pthread_rwlock_unlock
        pthread_rwlock_destroy""",
    "standard output, whose failures finish_output() asks for at the end": """
        printf fprintf putc putchar puts fputc fputs fwrite ferror stdout""",
    "standard error": "stderr",
    "in the child of fork(), whose end the parent sees by a socket": "execv",
}


@pytest.mark.parametrize("scenario", [
    "life", "queries", "disk", "net", "vhost", "pty", "file", "unix", "dtb", "config", "check", "help"])
def test_walk(scenario: str) -> None:
    result = subprocess.run([WALK, scenario], capture_output=True, text=True, timeout=600)
    print(result.stdout, result.stderr)
    assert result.returncode == 0


def test_every_call_has_a_row() -> None:
    rows = set(re.findall(r"^(?:/\* )?(?:CALL|MEMORY|VARIADIC)\((\w+)", FAULTS.read_text(), re.M))
    known = rows | {name for names in WITHOUT_A_ROW.values() for name in names.split()}
    rooms = ("base", "mem", "virtio", "pci", "spapr", "control", "sandbox", "vmm", "drc")
    libraries = [str(WALK.parent / f"lib{room}-address.a") for room in rooms]
    symbols = subprocess.run(["nm", "-P", *libraries], capture_output=True, text=True,
                             check=True).stdout.splitlines()
    pairs = [line.split()[:2] for line in symbols if len(line.split()) > 1]
    defined = {name for name, kind in pairs if kind not in "Uw"}
    # Other rooms' and libraries' functions, which make their own calls through the table.
    elsewhere = re.compile(r"^(_|kvm_|ev_|json_|jsonp_|fdt_|seccomp_)")
    called = {name for name, kind in pairs if kind == "U" and not elsewhere.match(name)} - defined
    assert called - known == set()
