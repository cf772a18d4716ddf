/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.c - hypervisor and RTAS calls. RTAS is called by H_RTAS; its code in guest memory, which
 * makes the same hcall, is used by the command blob only.
 */
#include "probe.h"

uint32_t be32(uint32_t value)
{
#ifdef __LITTLE_ENDIAN__
	return __builtin_bswap32(value);
#else
	return value;
#endif
}

uint64_t be64(uint64_t value)
{
#ifdef __LITTLE_ENDIAN__
	return __builtin_bswap64(value);
#else
	return value;
#endif
}

int64_t hcall(uint64_t number, uint64_t r4, uint64_t r5, uint64_t r6, uint64_t r7)
{
	uint64_t registers[9] = {r4, r5, r6, r7};

	return hcall_raw(number, registers);
}

int64_t rtas_request(const struct rtas_request *request, uint32_t *results)
{
	struct rtas_block *block = &cpu_self()->block;
	int64_t status;

	block->token = be32(request->token);
	block->nargs = be32(request->nargs);
	block->nret = be32(request->nret);
	for (uint32_t i = 0; i < request->nargs; i++)
		block->words[i] = be32(request->args[i]);
	for (uint32_t i = 0; i < request->nret; i++)
		block->words[request->nargs + i] = be32(0xdeadbeef);
	status = hcall(H_RTAS, (uintptr_t)block, 0, 0, 0);
	for (uint32_t i = 0; i < request->nret; i++)
		results[i] = be32(block->words[request->nargs + i]);
	return status;
}

static int32_t named(
    const char *name, uint32_t nargs, const uint32_t *args, uint32_t nret, uint32_t *results)
{
	struct rtas_request request = {
	    .token = tree_cell("/rtas", name, 0, 0), .nargs = nargs, .nret = nret};

	for (uint32_t i = 0; i < nargs; i++)
		request.args[i] = args[i];
	if (request.token == 0 || rtas_request(&request, results) != 0)
		return INT32_MIN;
	return (int32_t)results[0];
}

int32_t rtas_simple(const char *name, uint32_t nargs, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t args[3] = {a, b, c}, result[1];

	return named(name, nargs, args, 1, result);
}

int32_t rtas_ask(const char *name, uint32_t nargs, uint32_t a, uint32_t b, uint32_t *ret_value)
{
	uint32_t args[2] = {a, b}, results[2];
	int32_t status = named(name, nargs, args, 2, results);

	*ret_value = results[1];
	return status;
}

bool rtas_parse(char **line, struct rtas_request *request, uint64_t *ret_areas)
{
	char *name = text_word(line), *word;
	uint64_t value;

	*request = (struct rtas_request){0};
	*ret_areas = 0;
	if (name == NULL || !text_number(text_word(line), &value) || value > 16)
		return false;
	request->nret = (uint32_t)value;
	request->token = tree_cell("/rtas", name, 0, 0);
	if (request->token == 0 && text_number(name, &value))
		request->token = (uint32_t)value;
	else if (request->token == 0)
		return false;
	while ((word = text_word(line)) != NULL && !text_equal(word, "|")) {
		if (request->nargs == 32)
			return false;
		if (text_equal(word, "@"))
			*ret_areas |= UINT64_C(1) << request->nargs;
		else if (!text_number(word, &value))
			return false;
		request->args[request->nargs++] = (uint32_t)value;
	}
	return true;
}

void rtas_fill_areas(struct rtas_request *request, uint64_t areas)
{
	for (uint32_t i = 0; i < request->nargs; i++)
		if ((areas >> i & 1) != 0)
			request->args[i] = (uint32_t)(uintptr_t)cpu_self()->work_area;
}
