/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd.c - the command crowd: several vCPUs make the same calls at the same time, and count the
 * statuses.
 */
#include "probe.h"

enum { CALLS_MAX = 8, TALLY_MAX = 64 };

/* All vCPUs make the same calls; each begins at a different one. */
static struct {
	struct crowd_call {
		bool hypervisor; /* hcall_raw(number, registers), else RTAS */
		uint64_t number, registers[9];
		struct rtas_request request;
		uint64_t areas;
	} calls[CALLS_MAX];
	uint32_t count; /* of calls */
	uint64_t rounds;
	volatile uint32_t waiting, go;
	struct tally {
		uint32_t call, used;
		int32_t status;
		uint64_t times;
	} tallies[CPUS_MAX][TALLY_MAX];
} crowd;

static void tally_add(struct tally *tallies, uint32_t call, int32_t status)
{
	for (uint32_t i = 0; i < TALLY_MAX; i++) {
		struct tally *t = &tallies[i];

		if (!t->used)
			*t = (struct tally){.call = call, .used = 1, .status = status};
		if (t->call == call && t->status == status) {
			t->times++;
			return;
		}
	}
}

static int32_t crowd_make_call(const struct crowd_call *call)
{
	struct rtas_request request = call->request;
	uint32_t results[RTAS_WORDS_MAX];
	uint64_t registers[9];

	if (call->hypervisor) {
		for (uint32_t i = 0; i < 9; i++)
			registers[i] = call->registers[i];
		return (int32_t)hcall_raw(call->number, registers);
	}
	rtas_fill_areas(&request, call->areas);
	return rtas_request(&request, results) == 0 ? (int32_t)results[0] : INT32_MIN;
}

static void crowd_work(void *argument)
{
	struct cpu *cpu = cpu_self();

	(void)argument;
	__atomic_fetch_sub(&crowd.waiting, 1, __ATOMIC_SEQ_CST);
	while (crowd.waiting != 0 && crowd.go != 0)
		;
	for (uint64_t i = 0; i < crowd.rounds; i++) {
		uint32_t which = (uint32_t)((i + cpu->id) % crowd.count);

		tally_add(crowd.tallies[cpu->id], which, crowd_make_call(&crowd.calls[which]));
	}
}

static void tallies_put(void)
{
	static struct tally all[TALLY_MAX];

	for (uint32_t i = 0; i < TALLY_MAX; i++)
		all[i].used = 0;
	for (uint32_t id = 0; id < CPUS_MAX; id++)
		for (uint32_t i = 0; i < TALLY_MAX && crowd.tallies[id][i].used; i++)
			for (uint64_t n = crowd.tallies[id][i].times; n > 0; n--)
				tally_add(
				    all, crowd.tallies[id][i].call, crowd.tallies[id][i].status);
	for (uint32_t i = 0; i < TALLY_MAX && all[i].used; i++) {
		put_text(" ");
		put_decimal(all[i].call);
		put_text(":");
		put_decimal(all[i].status);
		put_text("=");
		put_decimal((int64_t)all[i].times);
	}
}

/* One CALL: as for the command rtas, or "hcall NUMBER [r4 ...]". */
static bool crowd_parse(char **line, struct crowd_call *call)
{
	char *start = *line, *word;
	uint32_t count = 0;

	while (*start == ' ')
		start++;
	*call = (struct crowd_call){.hypervisor = text_begins(start, "hcall ")};
	if (!call->hypervisor)
		return rtas_parse(line, &call->request, &call->areas);
	text_word(line);
	if (!text_number(text_word(line), &call->number))
		return false;
	while ((word = text_word(line)) != NULL && !text_equal(word, "|"))
		if (count == 9 || !text_number(word, &call->registers[count++]))
			return false;
	return true;
}

bool crowd_run(char *line)
{
	uint64_t v[2];
	bool ended = true;

	if (!text_numbers(&line, v, 2))
		return false;
	for (crowd.count = 0; *line != '\0'; crowd.count++)
		if (crowd.count == CALLS_MAX || !crowd_parse(&line, &crowd.calls[crowd.count]))
			return false;
	if (crowd.count == 0)
		return false;
	crowd.rounds = v[0];
	crowd.waiting = 0;
	crowd.go = 1;
	for (uint32_t id = 0; id < CPUS_MAX; id++) {
		for (uint32_t i = 0; i < TALLY_MAX; i++)
			crowd.tallies[id][i].used = 0;
		if ((v[1] >> id & 1) != 0 && !cpu_get(id)->alive)
			return false;
		crowd.waiting += v[1] >> id & 1;
	}
	for (uint32_t id = CPUS_MAX; id-- > 0;)
		if ((v[1] >> id & 1) != 0 && !cpu_give(cpu_get(id), crowd_work, NULL))
			crowd.go = 0;
	for (uint32_t id = 0; id < CPUS_MAX; id++)
		if ((v[1] >> id & 1) != 0)
			ended = cpu_wait(cpu_get(id)) && ended;
	tallies_put();
	return ended;
}
