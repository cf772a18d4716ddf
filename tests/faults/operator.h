/* SPDX-License-Identifier: Apache-2.0 */
/* operator.h - what scenarios are made of: operator.c has those of cores and consoles,
 * operator_devices.c those of devices with something behind them. */
#ifndef PAPRIKA_FAULTS_OPERATOR_H
#define PAPRIKA_FAULTS_OPERATOR_H

#include <jansson.h>

#include "walk.h"

#define ATTEMPTS 4
#define GETFD "{\"execute\": \"getfd\", \"arguments\": {\"fdname\": \"socket\"}}\n"
#define PLAIN(name) "{\"execute\": \"" name "\"}\n"

struct person {
	struct run *run;
	int control;
	int pass;  /* a descriptor that goes with each request; -1: none */
	int named; /* one that each new connection passes by GETFD, whose names are its own; -1:
	              none */
	char line[1 << 17];
	size_t have;
	json_t *events; /* received, and not used yet */
};

enum kind { LOOKS, CHANGES };

bool is_over(const struct person *person);
bool has_fired(const struct person *person);
/* How often something is asked for. */
int attempts(const struct person *person);

/* Begin and end a run; `complete`: all was said and answered well. */
bool begin(struct person *person, struct run *run);
void finish(struct person *person, bool complete);

/* Connected, at last; false: it cannot be. */
bool reach(struct person *person);
/* One request, once: the reply, or NULL if the connection is lost. */
json_t *ask_once(struct person *person, const char *request);
/* Until it is answered well. */
bool do_ask(struct person *person, enum kind kind, const char *request);
/* A request that begins an operation, and its end, which must be good. */
bool operate(struct person *person, const char *request);

void operate_net(struct run *run);
void operate_vhost(struct run *run);

#endif
