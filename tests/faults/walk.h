/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.h - one run of paprika with something failing in it: walk.c makes the runs, one after the
 * other, and judges them; operator.c is the one who sits before each.
 */
#ifndef PAPRIKA_FAULTS_WALK_H
#define PAPRIKA_FAULTS_WALK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "faults.h"

/* Only turns a hang into a failure. */
#define DEADLINE_MS 10000

/* A run, in memory that the walk shares with the process it is made in. */
struct run {
	const struct scenario *scenario;
	enum fault_mode mode;
	uint32_t number;
	struct fault_report report;
	/* What the operator has to say; the first complaint counts. */
	bool complete; /* came to the end of the script */
	bool gave_up;  /* ended the program with a signal */
	char complaint[1024];
	/* What main() did. */
	_Atomic bool ended;
	int code;
	uint32_t live_allocations, live_threads, open_files;
	void *leaked_by;
	/* For the operator. */
	int listening, over; /* eventfds: a socket is listened on; main() has returned */
	int terminal;        /* the master side of standard input and output, or -1 */
};

struct scenario {
	const char *name;
	const char *arguments[24]; /* of paprika; relative to the run's directory */
	void (*operate)(struct run *run);
	const char *output; /* a file that may remain if all went well */
	bool has_terminal;
	bool is_long;     /* "for-good" only if asked for, for the sake of time */
	bool finds;       /* what is wrong with the host is what it was asked, and what it prints */
	unsigned sockets; /* how many it listens on */
	int stream;       /* the number of a stream socket that it is given; 0: none */
};

extern const struct scenario scenarios[];
extern const size_t scenario_count;

/* Note what is wrong. */
void complain(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* main() of paprika, by the name the build gives it. */
int paprika_main(int argc, char **argv);

#endif
