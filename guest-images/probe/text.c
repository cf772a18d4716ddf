/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c - parsing of words, and output of one line. A line is built in a buffer, truncated to it,
 * and printed at once, so that lines do not mix. Also the functions that the compiler expects.
 */
#include "probe.h"

uint64_t console_unit;

static char line[40960];
static size_t used;

void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);

void *memcpy(void *to, const void *from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

void *memset(void *to, int value, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((uint8_t *)to)[i] = (uint8_t)value;
	return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (((const uint8_t *)a)[i] != ((const uint8_t *)b)[i])
			return ((const uint8_t *)a)[i] - ((const uint8_t *)b)[i];
	return 0;
}

size_t text_length(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0')
		length++;
	return length;
}

bool text_begins(const char *text, const char *start)
{
	while (*start != '\0' && *text == *start)
		text++, start++;
	return *start == '\0';
}

bool text_equal(const char *a, const char *b)
{
	return text_begins(a, b) && text_length(a) == text_length(b);
}

char *text_word(char **rest)
{
	char *at = *rest, *word;

	while (*at == ' ')
		at++;
	word = at;
	while (*at != ' ' && *at != '\0')
		at++;
	if (*at != '\0')
		*at++ = '\0';
	*rest = at;
	return *word != '\0' ? word : NULL;
}

bool text_number(const char *word, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (word == NULL)
		return false;
	if (text_begins(word, "0x"))
		word += 2;
	if (*word == '\0' || text_length(word) > 16)
		return false;
	for (; *word != '\0'; word++) {
		char c = *word;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret_value = value;
	return true;
}

bool text_numbers(char **rest, uint64_t *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!text_number(text_word(rest), &values[i]))
			return false;
	return true;
}

void put_text(const char *text)
{
	while (*text != '\0' && used < sizeof line - 1)
		line[used++] = *text++;
}

void put_hex(uint64_t value)
{
	char digits[17];
	size_t at = sizeof digits - 1;

	digits[at] = '\0';
	do {
		digits[--at] = "0123456789abcdef"[value & 0xf];
		value >>= 4;
	} while (value != 0);
	put_text(digits + at);
}

void put_decimal(int64_t value)
{
	char digits[24];
	size_t at = sizeof digits - 1;
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest != 0);
	if (value < 0)
		digits[--at] = '-';
	put_text(digits + at);
}

void put_nothing(void)
{
	used = 0;
}

void put_line(void)
{
	line[used++] = '\n';
	for (size_t at = 0; at < used;) {
		size_t length = used - at < 16 ? used - at : 16;
		uint64_t words[2] = {0, 0};

		memcpy(words, line + at, length);
		/* 1 is H_BUSY: try again. */
		if (hcall(H_PUT_TERM_CHAR, console_unit, length, be64(words[0]), be64(words[1])) !=
		    1)
			at += length;
	}
	used = 0;
}
