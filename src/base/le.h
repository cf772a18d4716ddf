/* SPDX-License-Identifier: Apache-2.0 */
/*
 * le.h - little-endian numbers as types of their own.
 *
 * What virtio puts into memory is little-endian whatever the endianness of guest or host. The
 * values are wrapped in structs so that forgetting a conversion does not compile (as in be.h).
 */
#ifndef PAPRIKA_LE_H
#define PAPRIKA_LE_H

#include <endian.h>
#include <stdint.h>

struct le16 {
	uint16_t raw;
};
struct le32 {
	uint32_t raw;
};
struct le64 {
	uint64_t raw;
};

static inline struct le16 le16(uint16_t value)
{
	return (struct le16){htole16(value)};
}
static inline struct le32 le32(uint32_t value)
{
	return (struct le32){htole32(value)};
}
static inline struct le64 le64(uint64_t value)
{
	return (struct le64){htole64(value)};
}
static inline uint16_t from_le16(struct le16 value)
{
	return le16toh(value.raw);
}
static inline uint32_t from_le32(struct le32 value)
{
	return le32toh(value.raw);
}
static inline uint64_t from_le64(struct le64 value)
{
	return le64toh(value.raw);
}

/* A number of 1 to 8 bytes, as they stand in memory. */
static inline uint64_t le_load(const uint8_t *from, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes; i++)
		value |= (uint64_t)from[i] << (8 * i);
	return value;
}
static inline void le_store(uint8_t *to, uint32_t bytes, uint64_t value)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

#endif
