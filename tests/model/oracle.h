/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.h - what the files of the oracle share: oracle_state.c looks, oracle_predict.c foretells,
 * oracle.c compares. */
#ifndef PAPRIKA_MODEL_ORACLE_H
#define PAPRIKA_MODEL_ORACLE_H

#include "world.h"

/* What has to be afterwards. */
struct prediction {
	int32_t status;     /* of a guest's call */
	int32_t status_too; /* may be instead */
	bool accepted;      /* of an operator's request */
	struct {
		enum drc_state state;
		bool attached, adding, removing;
		enum op_outcome add, remove; /* how what was pending ends */
	} cores[WORLD_CORES];
	enum op_kind begins; /* ... this operation, if begun: */
	bool begun, begun_unasked;
	uint64_t merged;           /* the operation that happens one time more */
	bool rewinds[WORLD_CORES]; /* ibm,configure-connector begins anew */
	bool notifies;
	bool requeues[WORLD_EVENTS]; /* a kernel begins: these events are queued anew */
	bool due[WORLD_CORES];       /* a fence is due at once */
	bool sends_fence;
	bool proves; /* the fence is answered */
	enum op_source source;
	enum spapr_vcpu_state vcpus[WORLD_VCPUS];
};

/* What the move has to lead to. */
void oracle_predict(
    struct prediction *to, const struct view *from, struct move move, const struct answer *answer);

/* oracle_group.c: of memory blocks. */
void oracle_check_device(const struct device *device);
void oracle_check_group(const struct prediction *want, const struct view *before,
    const struct view *after, struct move move, const struct answer *answer);

/* The operation of this id, or NULL. */
const struct operation *oracle_find(const struct view *view, uint64_t id);
/* The guest made it, unasked. */
bool oracle_by_guest(const struct operation *op);
bool oracle_all_reported(const struct operation *op);

#endif
