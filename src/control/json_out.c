/* SPDX-License-Identifier: Apache-2.0 */
/* json_out.c - see json_out.h. docs/protocol.md describes each of these objects. */
#include "control/json_out.h"

#include <string.h>

#include "base/log.h"
#include "drc/drc.h"

/* Of what docs/protocol.md describes. */
#define PROTOCOL_LEVEL 3

/* The length of the UTF-8 character at text, or 0 if there is none. jansson takes exactly the
 * valid ones, so it is asked. */
static size_t utf8_length(const char *text)
{
	for (size_t length = 1; length <= 4 && text[length - 1] != '\0'; length++) {
		json_t *character = json_stringn(text, length);

		if (character != NULL) {
			json_decref(character);
			return length;
		}
	}
	return 0;
}

json_t *json_out_text(const char *text)
{
	char clean[1024];
	size_t used = 0;
	json_t *string = json_string(text);

	if (string != NULL)
		return string;
	while (*text != '\0' && used + 4 < sizeof clean) {
		size_t length = utf8_length(text);

		if (length > 0)
			memcpy(clean + used, text, length);
		else
			clean[used] = '?';
		length = length > 0 ? length : 1;
		used += length;
		text += length;
	}
	return json_stringn(clean, used);
}

json_t *json_out_integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

json_t *json_out_append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) == 0)
		return array;
	json_decref(array);
	return NULL;
}

json_t *json_out_error(const char *class, const char *desc, const char *hint)
{
	bool hinted = hint != NULL && hint[0] != '\0';

	return json_pack("{s:{s:s, s:o, s:o*}}", "error", "class", class, "desc",
	    json_out_text(desc), "hint", hinted ? json_out_text(hint) : NULL);
}

json_t *json_out_version(bool subscribed)
{
	/* "qemu" is the dialect of the protocol: the QMP that first had the event
	 * DEVICE_UNPLUG_GUEST_ERROR. Clients print it, and some decide by it what they may ask. */
	json_t *version = json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", 6, "minor", 2,
	    "micro", 0, "package", "paprika " PAPRIKA_VERSION);

	if (!subscribed || json_object_set_new(version, "paprika",
	                       json_pack("{s:s, s:i}", "version", PAPRIKA_VERSION, "protocol",
	                           PROTOCOL_LEVEL)) == 0)
		return version;
	json_decref(version);
	return NULL;
}

/* The steps passed, in the order they were passed in. */
static json_t *operation_steps(const struct operation *op)
{
	json_t *list = json_array();
	uint64_t last = 0;

	while (list != NULL) {
		size_t next = OP_STEP_COUNT;

		for (size_t i = 0; i < OP_STEP_COUNT; i++)
			if (op->steps[i].order > last &&
			    (next == OP_STEP_COUNT || op->steps[i].order < op->steps[next].order))
				next = i;
		if (next == OP_STEP_COUNT)
			break;
		last = op->steps[next].order;
		list = json_out_append(list,
		    json_pack("{s:s, s:o}", "step", op_step_name((enum op_step)next), "at-ms",
		        json_out_integer(op->steps[next].at_ms - op->steps[OP_REQUESTED].at_ms)));
	}
	return list;
}

json_t *json_out_evidence(const struct operation *op)
{
	const struct op_evidence *evidence = &op->evidence;
	bool by_call = evidence->call != NULL;
	bool by_indicator = by_call && evidence->indicator != 0;
	const struct op_parts *parts = op_parts(op);

	return json_pack("{s:s, s:s*, s:o*, s:s*, s:o*, s:o*, s:s, s:o, s:I, s:I, s:s*}", "source",
	    op_source_name(evidence->source), "call", evidence->call, "indicator",
	    by_indicator ? json_out_integer(evidence->indicator) : NULL, "indicator-name",
	    by_indicator ? drc_indicator_name(evidence->indicator) : NULL, "value",
	    by_indicator ? json_out_integer(evidence->value) : NULL, "vcpu",
	    by_call ? json_out_integer(evidence->vcpu) : NULL, "phase",
	    op_step_name(evidence->phase), "elapsed-ms", json_out_integer(evidence->elapsed_ms),
	    parts->used, (json_int_t)evidence->parts_used, parts->all, (json_int_t)evidence->parts,
	    "inferred", evidence->inferred);
}

json_t *json_out_operation(const struct operation *op)
{
	bool pending = op->outcome == OP_PENDING;
	char stuck[OP_STUCK_MAX];
	uint64_t elapsed_ms =
	    pending ? clock_ms() - op->steps[OP_REQUESTED].at_ms : op->evidence.elapsed_ms;

	return json_pack(
	    "{s:o, s:s, s:s, s:s, s:I, s:o*, s:I, s:s, s:s, s:b, s:I, s:o*, s:o*, s:o*, s:s*, s:o, "
	    "s:o, s:o*}",
	    "id", json_out_integer(op->id), "kind", op_kind_name(op->kind), "device", op->device,
	    "resource", op->noun, "unit", (json_int_t)op->unit, "core-id",
	    strcmp(op->noun, "core") == 0 ? json_integer(op->unit) : NULL, "drc-index",
	    (json_int_t)op->drc_index, "outcome", op_outcome_name(op->outcome), "phase",
	    op_step_name(op->phase), "unresolved", op->unresolved, "notifications",
	    (json_int_t)op->notifications, "times",
	    op_is_guest_made(op->kind) ? json_out_integer(op->times) : NULL, "forced",
	    op->forced ? json_true() : NULL, "requests-refused",
	    op->forced ? json_out_integer(op->evidence.refused) : NULL, "stuck",
	    pending ? op_stuck_text(op, stuck) : NULL, "elapsed-ms", json_out_integer(elapsed_ms),
	    "steps", operation_steps(op), "evidence", pending ? NULL : json_out_evidence(op));
}
