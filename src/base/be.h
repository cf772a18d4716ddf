/* SPDX-License-Identifier: Apache-2.0 */
/*
 * be.h - big-endian numbers as types of their own.
 *
 * Everything PAPR puts into memory is big-endian whatever the endianness of guest or host.
 * The values are wrapped in structs so that forgetting a conversion does not compile.
 */
#ifndef PAPRIKA_BE_H
#define PAPRIKA_BE_H

#include <endian.h>
#include <stdint.h>

struct be16 {
	uint16_t raw;
};
struct be32 {
	uint32_t raw;
};
struct be64 {
	uint64_t raw;
};

static inline struct be16 be16(uint16_t value)
{
	return (struct be16){htobe16(value)};
}
static inline struct be32 be32(uint32_t value)
{
	return (struct be32){htobe32(value)};
}
static inline struct be64 be64(uint64_t value)
{
	return (struct be64){htobe64(value)};
}
static inline uint32_t from_be32(struct be32 value)
{
	return be32toh(value.raw);
}
static inline uint64_t from_be64(struct be64 value)
{
	return be64toh(value.raw);
}

#endif
