/* SPDX-License-Identifier: Apache-2.0 */
/* machine_fixture.c - see machine_fixture.h. */
#include "machine_fixture.h"

#include <libfdt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/log.h"

/* --- Set-up ----------------------------------------------------------------------------- */

static bool load(void *context, const struct gmem *gmem, const struct spapr_layout *layout,
    struct spapr_image *ret_image, struct err *err)
{
	struct fixture *fixture = context;

	assert_ptr_equal(gmem, fake_memory());
	assert_true(layout->fdt < layout->rtas);
	fixture->loads++;
	*ret_image = fixture->image;
	return !fixture->load_fails || err_set(err, ERR_USAGE, NULL, "no kernel");
}

static void wake(void *context)
{
	struct fixture *fixture = context;
	void (*on_wake)(struct fixture *) = atomic_exchange(&fixture->on_wake, NULL);

	fixture->wakes++;
	if (on_wake != NULL)
		on_wake(fixture);
}

int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);

	assert_non_null(fixture);
	log_level = LOG_ERROR;
	fake_reset();
	fixture->image = (struct spapr_image){.entry = ENTRY, .end = 64 << 10};
	fixture->config = (struct spapr_config){.memory_bytes = 256 * MIB,
	    .threads = 1,
	    .boot_cpus = 1,
	    .max_cpus = 4,
	    .bootargs = "console=hvc0",
	    .unplug_deadline_ms = 3600 * 1000,
	    .load = load,
	    .wake = wake,
	    .context = fixture};
	*state = fixture;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	spapr_destroy(fixture->machine);
	assert_int_equal(fake_live_vcpus(), 0);
	assert_int_equal(fake_live_vms(), 0);
	free(fixture);
	return 0;
}

/* --- The operator ----------------------------------------------------------------------- */

static void succeeded(bool good, const struct err *err)
{
	if (!good)
		fail_msg("%s", err->message);
}

void power_on(struct fixture *fixture)
{
	struct err err = {0};

	fixture->machine = spapr_create(&fixture->config, &err);
	succeeded(fixture->machine != NULL, &err);
	reset(fixture);
}

void power_on_cpus(struct fixture *fixture, uint32_t boot, uint32_t max, uint32_t threads)
{
	fixture->config.boot_cpus = boot;
	fixture->config.max_cpus = max;
	fixture->config.threads = threads;
	power_on(fixture);
}

void reset(struct fixture *fixture)
{
	struct err err = {0};

	succeeded(spapr_boot(fixture->machine, &err), &err);
	fake_wait_running(0);
}

static const char *device_name(uint32_t core_id, char name[OP_DEVICE_MAX])
{
	snprintf(name, OP_DEVICE_MAX, "core%u", core_id);
	return name;
}

uint64_t add(struct fixture *fixture, uint32_t core_id)
{
	char device[OP_DEVICE_MAX];
	struct err err = {0};
	uint64_t id = 0;

	succeeded(
	    spapr_core_add(fixture->machine, core_id, device_name(core_id, device), &id, &err),
	    &err);
	assert_int_not_equal(id, 0);
	return id;
}

uint64_t take_away(struct fixture *fixture, uint32_t core_id)
{
	char device[OP_DEVICE_MAX];
	struct err err = {0};
	uint64_t id = 0;

	succeeded(
	    spapr_device_remove(fixture->machine, device_name(core_id, device), &id, &err), &err);
	assert_int_not_equal(id, 0);
	return id;
}

static void expect_failure(bool accepted, const struct err *err, const char *text)
{
	assert_false(accepted);
	assert_int_not_equal(err->class, ERR_NONE);
	if (strncmp(err->message, text, strlen(text)) != 0)
		fail_msg("got '%s', expected '%s'", err->message, text);
}

void add_fails(struct fixture *fixture, uint32_t core_id, const char *device, const char *text)
{
	struct err err = {0};
	uint64_t id = 0;

	expect_failure(spapr_core_add(fixture->machine, core_id, device, &id, &err), &err, text);
	assert_int_equal(id, 0);
}

void remove_fails(struct fixture *fixture, const char *device, const char *text)
{
	struct err err = {0};
	uint64_t id = 0;

	expect_failure(spapr_device_remove(fixture->machine, device, &id, &err), &err, text);
	assert_int_equal(id, 0);
}

void cancel_fails(struct fixture *fixture, uint64_t id, const char *text)
{
	struct err err = {0};

	expect_failure(spapr_operation_cancel(fixture->machine, id, &err), &err, text);
}

void cancel(struct fixture *fixture, uint64_t id)
{
	struct err err = {0};

	succeeded(spapr_operation_cancel(fixture->machine, id, &err), &err);
}

struct spapr_core_info core_info(struct fixture *fixture, uint32_t core_id)
{
	struct spapr_core_info info;

	spapr_core_info(fixture->machine, core_id / fixture->config.threads, &info);
	assert_int_equal(info.core_id, core_id);
	assert_true(drc_valid(&info.connector.drc));
	return info;
}

struct operation operation_of(struct fixture *fixture, uint64_t id)
{
	static struct operation operations[SPAPR_OPERATIONS];
	size_t count = spapr_operations(fixture->machine, operations, SPAPR_OPERATIONS);

	for (size_t i = 0; i < count; i++)
		if (operations[i].id == id)
			return operations[i];
	fail_msg("operation %llu is not remembered", (unsigned long long)id);
	return operations[0];
}

uint64_t counter(struct fixture *fixture, const char *name)
{
	struct spapr_counter counters[64];
	size_t count = spapr_counters(fixture->machine, counters, 64);

	for (size_t i = 0; i < count; i++)
		if (strcmp(counters[i].name, name) == 0)
			return counters[i].value;
	fail_msg("there is no counter %s", name);
	return 0;
}

void expect_steps(struct fixture *fixture, uint64_t id, const char *steps)
{
	struct operation operation;
	enum op_step step;
	char got[256] = "";

	while (spapr_next_report(fixture->machine, true, &operation, &step)) {
		size_t length = strlen(got);

		if (operation.id == id)
			snprintf(got + length, sizeof got - length, "%s%s", length > 0 ? " " : "",
			    op_step_name(step));
	}
	assert_string_equal(got, steps);
}

void drop_reports(struct fixture *fixture)
{
	expect_steps(fixture, 0, "");
}

void expect_end(struct fixture *fixture, uint64_t id, enum op_outcome outcome,
    enum op_source source, enum op_step phase)
{
	struct operation operation = operation_of(fixture, id);

	assert_string_equal(op_outcome_name(operation.outcome), op_outcome_name(outcome));
	assert_string_equal(op_source_name(operation.evidence.source), op_source_name(source));
	assert_string_equal(op_step_name(operation.evidence.phase), op_step_name(phase));
}

void expect_evidence(struct fixture *fixture, uint64_t id, const struct op_evidence *expected)
{
	struct op_evidence got = operation_of(fixture, id).evidence;

	assert_string_equal(op_source_name(got.source), op_source_name(expected->source));
	assert_string_equal(
	    got.call != NULL ? got.call : "-", expected->call != NULL ? expected->call : "-");
	assert_int_equal(got.indicator, expected->indicator);
	assert_int_equal(got.value, expected->value);
	assert_int_equal(got.vcpu, expected->vcpu);
	assert_string_equal(op_step_name(got.phase), op_step_name(expected->phase));
	assert_int_equal(got.parts, fixture->config.threads);
	assert_int_equal(got.parts_used, expected->parts_used);
	if (expected->inferred == NULL)
		assert_null(got.inferred);
	else
		assert_non_null(strstr(got.inferred, expected->inferred));
}

void expect_same(const struct spapr_core_info *a, const struct spapr_core_info *b)
{
	assert_string_equal(a->connector.device, b->connector.device);
	assert_int_equal(a->connector.drc.state, b->connector.drc.state);
	assert_int_equal(a->connector.drc.attached, b->connector.drc.attached);
	assert_int_equal(a->connector.drc.adding, b->connector.drc.adding);
	assert_int_equal(a->connector.drc.removing, b->connector.drc.removing);
	assert_int_equal(a->connector.drc.isolated_from, b->connector.drc.isolated_from);
	assert_int_equal(a->connector.add_operation, b->connector.add_operation);
	assert_int_equal(a->connector.remove_operation, b->connector.remove_operation);
	for (size_t i = 0; i < SPAPR_MAX_THREADS; i++) {
		assert_int_equal(a->vcpus[i].id, b->vcpus[i].id);
		assert_int_equal(a->vcpus[i].state, b->vcpus[i].state);
		assert_int_equal(a->vcpus[i].host_thread, b->vcpus[i].host_thread);
	}
}

void expect_core(
    struct fixture *fixture, uint32_t core_id, enum drc_state state, enum spapr_vcpu_state vcpus)
{
	struct spapr_core_info info = core_info(fixture, core_id);

	assert_string_equal(drc_state_name(&drc_type_cpu, info.connector.drc.state),
	    drc_state_name(&drc_type_cpu, state));
	for (uint32_t i = 0; i < fixture->config.threads; i++) {
		assert_int_equal(info.vcpus[i].id, core_id + i);
		assert_int_equal(info.vcpus[i].state, vcpus);
	}
}

struct awaited {
	struct fixture *fixture;
	uint32_t id;
	enum spapr_vcpu_state state;
};

static bool vcpu_is(void *context)
{
	const struct awaited *awaited = context;
	uint32_t thread = awaited->id % awaited->fixture->config.threads;
	struct spapr_core_info info = core_info(awaited->fixture, awaited->id - thread);

	return info.vcpus[thread].state == awaited->state;
}

void wait_vcpu(struct fixture *fixture, uint32_t id, enum spapr_vcpu_state state)
{
	struct awaited awaited = {fixture, id, state};

	fake_wait_until(vcpu_is, &awaited, "a vCPU comes to a state");
}

static void wait_at_the_gate(struct fixture *fixture)
{
	struct gate *gate = fixture->context;

	sem_post(&gate->reached);
	sem_wait(&gate->open);
}

void keep_in_handler(struct fixture *fixture, struct gate *gate, uint32_t id)
{
	sem_init(&gate->reached, 0, 0);
	sem_init(&gate->open, 0, 0);
	fixture->context = gate;
	spapr_take_news(fixture->machine);
	fixture->on_wake = wait_at_the_gate;
	fake_hcall_noreturn(id, 0x58, (uint64_t[9]){0, 1, 'x'});
	sem_wait(&gate->reached);
}

void open_gate(struct gate *gate)
{
	sem_post(&gate->open);
}

/* --- The guest -------------------------------------------------------------------------- */

void poke(uint64_t address, const void *from, size_t length)
{
	assert_true(gmem_write(fake_memory(), address, from, length));
}

void peek(uint64_t address, void *to, size_t length)
{
	assert_true(gmem_read(fake_memory(), address, to, length));
}

void put_block(
    uint64_t address, uint32_t token, uint32_t nargs, uint32_t nret, const uint32_t *args)
{
	struct be32 words[3 + RTAS_WORDS] = {be32(token), be32(nargs), be32(nret)};
	uint32_t count = nargs < RTAS_WORDS ? nargs : RTAS_WORDS;

	for (uint32_t i = 0; args != NULL && i < count; i++)
		words[3 + i] = be32(args[i]);
	poke(address, words, (3 + (args != NULL ? count : 0)) * sizeof words[0]);
}

int64_t call_block(uint32_t vcpu, uint64_t address)
{
	return fake_hcall(vcpu, HCALL_RTAS, (uint64_t[9]){address}, NULL);
}

int32_t rtas(uint32_t vcpu, const char *service, uint32_t nargs, const uint32_t *args,
    uint32_t nret, uint32_t *ret)
{
	struct be32 results[RTAS_WORDS];

	put_block(BLOCK(vcpu), rtas_token_of(service), nargs, nret, args);
	assert_int_equal(call_block(vcpu, BLOCK(vcpu)), H_SUCCESS);
	peek(BLOCK(vcpu) + (3 + nargs) * 4, results, nret * sizeof results[0]);
	for (uint32_t i = 1; ret != NULL && i < nret; i++)
		ret[i - 1] = from_be32(results[i]);
	return (int32_t)from_be32(results[0]);
}

void rtas_noreturn(uint32_t vcpu, const char *service, uint32_t nargs, const uint32_t *args)
{
	put_block(BLOCK(vcpu), rtas_token_of(service), nargs, 1, args);
	fake_hcall_noreturn(vcpu, HCALL_RTAS, (uint64_t[9]){BLOCK(vcpu)});
}

int32_t isolate(uint32_t vcpu, uint32_t core_id)
{
	return RTAS(vcpu, "set-indicator", 9001, DRC(core_id), 0);
}

int32_t unisolate(uint32_t vcpu, uint32_t core_id)
{
	return RTAS(vcpu, "set-indicator", 9001, DRC(core_id), 1);
}

int32_t set_usable(uint32_t vcpu, uint32_t core_id)
{
	return RTAS(vcpu, "set-indicator", 9003, DRC(core_id), 1);
}

int32_t set_unusable(uint32_t vcpu, uint32_t core_id)
{
	return RTAS(vcpu, "set-indicator", 9003, DRC(core_id), 0);
}

uint32_t sense(uint32_t vcpu, uint32_t core_id)
{
	uint32_t state = UINT32_MAX;

	assert_int_equal(
	    rtas(vcpu, "get-sensor-state", 2, (uint32_t[]){9003, DRC(core_id)}, 2, &state), 0);
	return state;
}

int32_t start_cpu(uint32_t vcpu, uint32_t id)
{
	int32_t status = RTAS(vcpu, "start-cpu", id, SECONDARY, id);

	if (status == 0)
		fake_wait_running(id);
	return status;
}

void stop_self(uint32_t id)
{
	rtas_noreturn(id, "stop-self", 0, NULL);
}

uint32_t cpu_stopped_state(uint32_t vcpu, uint32_t id)
{
	uint32_t state = UINT32_MAX;

	assert_int_equal(rtas(vcpu, "query-cpu-stopped-state", 1, &id, 2, &state), 0);
	return state;
}

bool fetch_event(uint32_t vcpu, uint32_t mask, uint8_t ret_log[EVENT_BYTES])
{
	int32_t status = RTAS(
	    vcpu, "check-exception", 0x500, IRQ_HOTPLUG, mask, 0, (uint32_t)BUFFER(vcpu), 2048);

	assert_true(status == RTAS_SUCCESS || status == RTAS_NO_ERRORS_FOUND);
	if (status == RTAS_SUCCESS)
		peek(BUFFER(vcpu), ret_log, EVENT_BYTES);
	return status == RTAS_SUCCESS;
}

void expect_event(uint32_t vcpu, uint32_t core_id, uint8_t action)
{
	uint8_t log[EVENT_BYTES];
	struct be32 index;

	assert_true(fetch_event(vcpu, MASK_HOTPLUG, log));
	memcpy(&index, log + 108, sizeof index);
	assert_int_equal(from_be32(index), DRC(core_id));
	assert_int_equal(log[105], action);
}

void expect_no_event(uint32_t vcpu)
{
	uint8_t log[EVENT_BYTES];

	assert_false(fetch_event(vcpu, UINT32_MAX, log));
}

int32_t configure_once(uint32_t vcpu, uint32_t core_id, bool first)
{
	struct be32 head[2] = {be32(DRC(core_id)), be32(0)};

	poke(WORK(vcpu), head, first ? sizeof head : sizeof head[0]);
	return RTAS(vcpu, "ibm,configure-connector", (uint32_t)WORK(vcpu), 0);
}

void configure(uint32_t vcpu, uint32_t core_id)
{
	int32_t status = configure_once(vcpu, core_id, true);

	assert_int_equal(status, 2);
	while (status > 0)
		status = configure_once(vcpu, core_id, false);
	assert_int_equal(status, 0);
}

/* --- Linux ------------------------------------------------------------------------------ */

void linux_take(uint32_t vcpu, uint32_t core_id)
{
	expect_event(vcpu, core_id, 1);
	assert_int_equal(sense(vcpu, core_id), DRC_SENSE_UNUSABLE);
	assert_int_equal(set_usable(vcpu, core_id), 0);
	assert_int_equal(unisolate(vcpu, core_id), 0);
	configure(vcpu, core_id);
}

void linux_online(struct fixture *fixture, uint32_t vcpu, uint32_t core_id)
{
	for (uint32_t id = core_id; id < core_id + fixture->config.threads; id++) {
		assert_int_equal(cpu_stopped_state(vcpu, id), 0);
		assert_int_equal(start_cpu(vcpu, id), 0);
		assert_int_equal(fake_vcpu_pc(id), SECONDARY);
		assert_int_equal(fake_vcpu_r3(id), id);
		assert_int_equal(cpu_stopped_state(vcpu, id), 2);
	}
}

void linux_add(struct fixture *fixture, uint32_t vcpu, uint32_t core_id)
{
	linux_take(vcpu, core_id);
	linux_online(fixture, vcpu, core_id);
}

void linux_offline(struct fixture *fixture, uint32_t vcpu, uint32_t core_id)
{
	for (uint32_t id = core_id; id < core_id + fixture->config.threads; id++) {
		stop_self(id);
		while (cpu_stopped_state(vcpu, id) != 0)
			sched_yield();
	}
}

void linux_release(uint32_t vcpu, uint32_t core_id)
{
	assert_int_equal(sense(vcpu, core_id), DRC_SENSE_PRESENT);
	assert_int_equal(isolate(vcpu, core_id), 0);
	assert_int_equal(set_unusable(vcpu, core_id), 0);
}

void linux_remove(struct fixture *fixture, uint32_t vcpu, uint32_t core_id)
{
	expect_event(vcpu, core_id, 2);
	linux_offline(fixture, vcpu, core_id);
	linux_release(vcpu, core_id);
}

void add_in_use(struct fixture *fixture, uint32_t core_id)
{
	add(fixture, core_id);
	linux_add(fixture, 0, core_id);
	drop_reports(fixture);
}

void *device_tree(struct fixture *fixture, size_t *ret_length)
{
	struct err err = {0};
	void *blob = NULL;

	if (!spapr_device_tree(fixture->machine, &blob, ret_length, &err))
		fail_msg("%s", err.message);
	assert_int_equal(fdt_check_full(blob, *ret_length), 0);
	return blob;
}
