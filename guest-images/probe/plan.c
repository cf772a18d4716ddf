/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - how the guest answers hot-plug events. On an interrupt the guest fetches the event with
 * check-exception and runs the steps of its plan: a list for each of additions and removals of
 * cores and of memory, and for fences. The steps run in order whatever their results are.
 * lab/probe.py defines plans: a kernel that works, kernels that refuse, and invalid sequences.
 *
 * A fence is the addition of a memory block that the guest has since its start. The plan for it is
 * there from the start, because a machine may send a fence at any time: what Linux does.
 *
 * To add a step: a row in the table, and its function.
 */
#include "probe.h"

enum { STEPS_BYTES = 512, LOG_BYTES = 2048, CORE_INDEX_MASK = 0x0fffffff };
enum { ISOLATION = 9001, ALLOCATION = 9003, ENTITY_SENSE = 9003 };

enum { RESOURCE_CPU = 1, RESOURCE_MEMORY = 2, ADD = 1, REMOVE = 2, ID_INDEX = 2 };
enum { LMB_INDEX = (int32_t)0x80000000, LMB_SHIFT = 28 };

enum plan { PLAN_ADD, PLAN_REMOVE, PLAN_MEMORY_ADD, PLAN_MEMORY_REMOVE, PLAN_FENCE, PLANS };
static const char *const plan_names[PLANS] = {
    "add", "remove", "memory-add", "memory-remove", "fence"};
static char plans[PLANS][STEPS_BYTES] = {[PLAN_FENCE] = "sense"};
static bool ignoring;

static int32_t set_indicator(uint32_t indicator, uint32_t index, uint32_t value)
{
	return rtas_simple("set-indicator", 3, indicator, index, value);
}

static int32_t step_isolate(uint32_t index, uint64_t parameter)
{
	(void)parameter;
	return set_indicator(ISOLATION, index, 0);
}

static int32_t step_unisolate(uint32_t index, uint64_t parameter)
{
	(void)parameter;
	return set_indicator(ISOLATION, index, 1);
}

static int32_t step_unusable(uint32_t index, uint64_t parameter)
{
	(void)parameter;
	return set_indicator(ALLOCATION, index, 0);
}

static int32_t step_usable(uint32_t index, uint64_t parameter)
{
	(void)parameter;
	return set_indicator(ALLOCATION, index, 1);
}

/* The sensor's value, or the status if it is not 0. */
static int32_t step_sense(uint32_t index, uint64_t parameter)
{
	uint32_t value;
	int32_t status = rtas_ask("get-sensor-state", 2, ENTITY_SENSE, index, &value);

	(void)parameter;
	return status == 0 ? (int32_t)value : status;
}

/* ibm,configure-connector to the end, or for `items` items; the last status. */
static int32_t step_configure(uint32_t index, uint64_t items)
{
	uint8_t *area = cpu_self()->work_area;
	int32_t status = 0;

	for (uint32_t i = 0; i < WORK_AREA_BYTES; i++)
		area[i] = 0;
	for (uint32_t i = 0; i < 4; i++)
		area[i] = (uint8_t)(index >> (24 - 8 * i));
	for (uint64_t i = 0; items == 0 || i < items; i++) {
		status = rtas_simple("ibm,configure-connector", 2, (uint32_t)(uintptr_t)area, 0, 0);
		if (status <= 0)
			break;
	}
	return status;
}

static int32_t step_start(uint32_t index, uint64_t parameter)
{
	struct cpu *cpu = cpu_get(index & CORE_INDEX_MASK);

	(void)parameter;
	return cpu != NULL ? cpu_start(cpu) : INT32_MIN;
}

static int32_t step_stop(uint32_t index, uint64_t parameter)
{
	struct cpu *cpu = cpu_get(index & CORE_INDEX_MASK);

	(void)parameter;
	return cpu != NULL ? cpu_stop(cpu) : INT32_MIN;
}

static int32_t step_query(uint32_t index, uint64_t parameter)
{
	uint32_t state;
	int32_t status = rtas_ask("query-cpu-stopped-state", 1, index & CORE_INDEX_MASK, 0, &state);

	(void)parameter;
	return status == 0 ? (int32_t)state : status;
}

/* A step returns an RTAS status, or a value if the call has one. */
static const struct {
	const char *name;
	int32_t (*function)(uint32_t index, uint64_t parameter);
} steps[] = {
    {"isolate", step_isolate},
    {"unisolate", step_unisolate},
    {"unusable", step_unusable},
    {"usable", step_usable},
    {"sense", step_sense},
    {"configure", step_configure},
    {"start", step_start},
    {"stop", step_stop},
    {"query", step_query},
};

/* "NAME", "NAME:PARAMETER", or "@INDEX": the connector of the following steps. */
static bool do_step(char *word, uint32_t *index)
{
	uint64_t parameter = 0;
	char *colon = word;

	put_text(" ");
	put_text(word);
	if (word[0] == '@') {
		if (!text_number(word + 1, &parameter))
			return false;
		*index = (uint32_t)parameter;
		return true;
	}
	while (*colon != '\0' && *colon != ':')
		colon++;
	if (*colon == ':') {
		*colon = '\0';
		if (!text_number(colon + 1, &parameter))
			return false;
	}
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (text_equal(steps[i].name, word)) {
			put_text("=");
			put_decimal(steps[i].function(*index, parameter));
			return true;
		}
	return false;
}

bool plan_do(uint32_t index, char *list)
{
	for (char *word; (word = text_word(&list)) != NULL;)
		if (!do_step(word, &index))
			return false;
	return true;
}

bool plan_set(char *line)
{
	char *word = text_word(&line);
	size_t plan = 0;

	if (word == NULL)
		return false;
	if (text_equal(word, "fetch") || text_equal(word, "ignore")) {
		ignoring = text_equal(word, "ignore");
		return true;
	}
	while (plan < PLANS && !text_equal(word, plan_names[plan]))
		plan++;
	if (plan == PLANS || text_length(line) >= STEPS_BYTES)
		return false;
	for (size_t i = 0; i <= text_length(line); i++)
		plans[plan][i] = line[i];
	return true;
}

struct event {
	uint8_t resource, action, id_type;
	uint32_t index;
};

/* check-exception for hot-plug events; its status. */
static int32_t fetch(struct event *ret_event)
{
	static uint8_t log[LOG_BYTES];
	struct rtas_request request = {
	    .token = tree_cell("/rtas", "check-exception", 0, 0), .nargs = 6, .nret = 1};
	const uint32_t args[6] = {0x500, interrupt_numbers[INTERRUPT_HOTPLUG], 0x10000000, 1,
	    (uint32_t)(uintptr_t)log, sizeof log};
	uint32_t status;

	for (uint32_t i = 0; i < 6; i++)
		request.args[i] = args[i];
	if (rtas_request(&request, &status) != 0)
		return INT32_MIN;
	*ret_event = (struct event){
	    .resource = log[104],
	    .action = log[105],
	    .id_type = log[106],
	    .index = (uint32_t)log[108] << 24 | (uint32_t)log[109] << 16 | (uint32_t)log[110] << 8 |
	             log[111],
	};
	return (int32_t)status;
}

static enum plan plan_for(const struct event *event)
{
	uint64_t boot_bytes =
	    (uint64_t)tree_cell("/memory", "reg", 2, 0) << 32 | tree_cell("/memory", "reg", 3, 0);

	if (event->resource != RESOURCE_MEMORY)
		return event->action == REMOVE ? PLAN_REMOVE : PLAN_ADD;
	if (event->action == REMOVE)
		return PLAN_MEMORY_REMOVE;
	return event->index - (uint32_t)LMB_INDEX < boot_bytes >> LMB_SHIFT ? PLAN_FENCE
	                                                                    : PLAN_MEMORY_ADD;
}

/* "add 10000001" for a core, "add 80000002 memory" for memory, "add 80000000 fence" for a fence;
 * other values as numbers. */
static void put_event(const struct event *event)
{
	put_text(event->action == ADD ? " add " : event->action == REMOVE ? " remove " : " ? ");
	put_hex(event->index);
	if (event->resource == RESOURCE_MEMORY) {
		put_text(plan_for(event) == PLAN_FENCE ? " fence" : " memory");
	} else if (event->resource != RESOURCE_CPU) {
		put_text(" resource=");
		put_decimal(event->resource);
	}
	if (event->id_type != ID_INDEX) {
		put_text(" id-type=");
		put_decimal(event->id_type);
	}
}

void plan_fetch(void)
{
	struct event event;
	int32_t status = fetch(&event);

	put_text(" ");
	put_decimal(status);
	if (status == 0)
		put_event(&event);
}

void plan_follow(void)
{
	while (interrupts_hotplug > 0) {
		char list[STEPS_BYTES];
		struct event event;
		int32_t status;

		interrupts_hotplug--;
		put_text("* hotplug");
		if (ignoring) {
			put_text(" ignored");
			put_line();
			continue;
		}
		status = fetch(&event);
		if (status != 0) {
			put_text(" fetch=");
			put_decimal(status);
			put_line();
			continue;
		}
		put_event(&event);
		for (size_t i = 0; i < STEPS_BYTES; i++)
			list[i] = plans[plan_for(&event)][i];
		if (!plan_do(event.index, list))
			put_text(" ?");
		put_line();
	}
}
