/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.h - what the files of paprikactl share. It knows the protocol of the control socket
 * (docs/protocol.md) and nothing else of the VMM.
 */
#ifndef PAPRIKA_CTL_H
#define PAPRIKA_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* An operation can end in several ways, and so can paprikactl. */
enum exit_code {
	CTL_OK = 0,
	CTL_ERROR = 1,
	CTL_USAGE = 2,
	CTL_REJECTED = 3,
	CTL_UNRESOLVED = 4,
	CTL_SUPERSEDED = 5,
	CTL_CANCELLED = 6,
};

struct ctl {
	const char *socket_path;
	bool json, wait, follow, registers, readonly, force;
	int64_t timeout_ms; /* value of --timeout; negative: none */
	int64_t deadline;   /* clock_now_ms() at which it has passed; negative: never */
	const char *device_id;
	const char *subject; /* what error replies are about; NULL: they say it */
	/* The command's arguments, set by its check. */
	json_int_t number;
	json_t *request;
	int file_fd; /* 0: none */
	bool net_is_tap;
	bool file_is_socket;
	int pass_fd; /* to go with the next request; 0: none */
	int fd;
	bool lost; /* the connection: nothing can be asked any more */
	/* Received bytes; those before `start` have been parsed. Lines are of any length. */
	char *bytes;
	size_t start, used, size;
	json_t *events; /* events that arrived before a reply */
};

/* Flush standard output and write a line to standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- connection.c ------------------------------------------------------------------------- */

/* Milliseconds of the monotonic clock, the unit of deadlines. */
int64_t clock_now_ms(void);

/* Disconnect and free what has been received. */
void connection_close(struct ctl *ctl);

/* Connect, negotiate capabilities and subscribe to events. False after a complaint. */
bool connection_open(struct ctl *ctl);

/*
 * Send a request (the reference is stolen) and return the reply: a new reference to the object with
 * "return" or "error". NULL after a complaint. Events that arrive before the reply are kept.
 */
json_t *connection_exchange(struct ctl *ctl, json_t *request);

/* Print the error of a reply, with its hint if there is one. */
void reply_complain(const struct ctl *ctl, const json_t *reply);

/* Execute a command; arguments (may be NULL) is stolen. The value it returns, or NULL after a
 * complaint. */
json_t *connection_ask(struct ctl *ctl, const char *command, json_t *arguments);

enum received { RECEIVED, TIMED_OUT, HUNG_UP, NONSENSE };

/* The next event: one that was kept, or the next to arrive before the deadline (negative: none). */
enum received connection_next_event(struct ctl *ctl, int64_t deadline, json_t **ret_event);

/* Complain about a result other than RECEIVED. */
void connection_complain(const struct ctl *ctl, enum received received);

/* --- print.c ------------------------------------------------------------------------------ */

/* A member of an object; "", 0 or false if it is missing or of another type. */
const char *member_text(const json_t *object, const char *key);
int64_t member_number(const json_t *object, const char *key);
bool member_true(const json_t *object, const char *key);

/* Any value as JSON on one line, or indented. */
void value_print(const json_t *value);
void value_print_indented(const json_t *value);

/* What an operation or a connector is of: "core 2", "memory 12". An older paprika knows cores only
 * and does not name the resource. */
#define WHAT_MAX 48
const char *what_text(const json_t *object, char ret_text[WHAT_MAX]);

/* An operation or an event: JSON with --json, else a sentence. */
void operation_print(const struct ctl *ctl, const json_t *operation);
void event_print(const struct ctl *ctl, const json_t *event);

/* --- lists.c ------------------------------------------------------------------------------ */

/* `all` has the replies of query-status, query-name and others as members; see verb_status(). */
void status_print(const struct ctl *ctl, const json_t *all);

/* Print a reply as a table. False after a complaint. */
bool cores_print(const json_t *connectors);
bool registers_print(const json_t *vcpus);
bool connectors_print(const json_t *connectors);
bool disks_print(const json_t *connectors);
bool operations_print(const json_t *operations);

bool memory_print(const json_t *devices, const json_t *connectors, const json_t *summary);

/* --- wait.c ------------------------------------------------------------------------------- */

/* The exit code for the outcome of an operation. */
enum exit_code outcome_exit_code(const json_t *operation);

/*
 * Wait until the operations with these ids have ended, or --timeout has passed. Each is appended to
 * results, those that are still pending last; it is removed from ids. An operation of which nothing
 * is known stays in ids. False after a complaint if the VMM has gone.
 */
bool operations_wait(struct ctl *ctl, json_t *ids, json_t *results);

/* device_add or device_del; without --wait, print the operation's id. False after a complaint. */
bool operation_ask(struct ctl *ctl, const char *command, json_t *arguments, json_int_t *ret_id);

/* Wait for one operation and print how it ended, or where it is stuck. */
enum exit_code operation_wait(struct ctl *ctl, json_int_t id);

/* Ask and, with --wait, wait. */
enum exit_code operation_begin(struct ctl *ctl, const char *command, json_t *arguments);

/* --- resize.c: commands of the table in verbs.c ------------------------------------------- */

bool verb_check_size(struct ctl *ctl, char **arguments);
enum exit_code verb_cpu_set(struct ctl *ctl, char **arguments);
enum exit_code verb_memory_set(struct ctl *ctl, char **arguments);
enum exit_code verb_memory_list(struct ctl *ctl, char **arguments);
enum exit_code verb_memory_add(struct ctl *ctl, char **arguments);
enum exit_code verb_memory_remove(struct ctl *ctl, char **arguments);

/* --- disk.c: commands of the table in verbs.c --------------------------------------------- */

bool verb_check_file(struct ctl *ctl, char **arguments);
enum exit_code verb_disk_add(struct ctl *ctl, char **arguments);
enum exit_code verb_disk_remove(struct ctl *ctl, char **arguments);

/* Execute a command whose reply says nothing; arguments is stolen. */
bool connection_tell(struct ctl *ctl, const char *command, json_t *arguments);

/* Ask for a PCI device back: device_del, with --force and --wait. */
enum exit_code pci_remove(struct ctl *ctl, const char *device);

/* The member of this text in a list of objects. */
bool list_has(const json_t *list, const char *key, const char *text);

/* --- net.c: commands of the table in verbs.c ---------------------------------------------- */

bool verb_check_net(struct ctl *ctl, char **arguments);
enum exit_code verb_net_add(struct ctl *ctl, char **arguments);
enum exit_code verb_net_remove(struct ctl *ctl, char **arguments);
/* --- share.c: commands of the table in verbs.c -------------------------------------------- */

/* Connect to it: ctl->file_fd. */
bool verb_check_socket(struct ctl *ctl, char **arguments);
bool verb_check_second_socket(struct ctl *ctl, char **arguments);
enum exit_code verb_reconnect(struct ctl *ctl, char **arguments);
enum exit_code verb_share_add(struct ctl *ctl, char **arguments);

/* Forget the connection of a device that has gone; nothing if there is none. */
void share_forget(struct ctl *ctl, const char *id);

/* Add a device of this driver above that connection; named PREFIX and a number without --id. */
enum exit_code share_begin(
    struct ctl *ctl, const char *driver, const char *prefix, const char *tag);

/* --- verbs.c ------------------------------------------------------------------------------ */

/* The commands, one per line. */
void verbs_print_help(void);

/* Run the command that words begin with: check its arguments, connect, run it, disconnect. */
enum exit_code verb_run(struct ctl *ctl, int count, char **words);

#endif
