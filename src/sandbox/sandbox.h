/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h - what the process gives up before the guest's first instruction, so that a guest
 * or a client that has taken over the process can do as little as possible with it.
 *
 * There are three kinds of threads. The loop's thread serves the operator; vCPU threads run the
 * guest, and I/O threads do the work of its devices: these two may make fewer system calls. A
 * thread inherits the rules of the one that made it, and rules are only ever added: so the loop's
 * thread, which makes threads when cores and devices are added, keeps what they need. What each
 * kind may call is a table, in rules.c; what is not in it ends the process with SIGSYS. SECURITY.md
 * describes the purpose.
 */
#ifndef PAPRIKA_SANDBOX_H
#define PAPRIKA_SANDBOX_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kvm/kvm.h"
#include "sandbox/rules.h"

struct sandbox;

/*
 * First of all, before there are threads or files of our own: close every descriptor but the
 * standard ones and those named (numbers of 3 and more; others are ignored), and set
 * no_new_privs, so that no executed program can gain rights. NULL with *err filled if the host
 * cannot do it.
 */
struct sandbox *sandbox_create(const int *keep, size_t keep_count, struct err *err);
void sandbox_destroy(struct sandbox *sandbox);

/*
 * Everything is open and nothing runs yet: limit this thread, and the process, to what is in
 * the tables. more_files is how many descriptors may be opened from now on; removable are
 * paths of sockets that are to be removed at the end ("" for none); wake_fd is what every thread
 * may write to, to wake the loop; features: enum sandbox_feature, what the guest has or can get.
 */
bool sandbox_enter(struct sandbox *sandbox, uint32_t more_files, const char *const *removable,
    size_t removable_count, int wake_fd, unsigned features, struct err *err);

/* Limit the calling thread, of a vCPU that has been made. The signature is that of
 * spapr_config.confine_vcpu, but for its context. */
bool sandbox_enter_vcpu(const struct sandbox *sandbox, struct err *err);

/* The same for the thread of a device's queue. */
bool sandbox_enter_io(const struct sandbox *sandbox, struct err *err);

/* Fill up to max lines about what this host has for it; returns how many. */
size_t sandbox_check(struct kvm_check *lines, size_t max);

/* If the signal is that of a system call that was refused (SIGSYS), say which, on standard error.
 * Async-signal-safe. */
void sandbox_explain(const siginfo_t *info);

#endif
