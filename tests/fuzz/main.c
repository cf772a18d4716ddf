/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - runs a fuzz target over kept inputs: the seeds of its corpus, and all that was ever
 * found. Needs no fuzzer, so any compiler builds it, and it runs with the unit tests.
 *
 * usage: corpus_NAME FILE-OR-DIRECTORY...
 * Each file is named before it is run, so the last name printed is the one that failed. What is
 * not there is passed over, since not every target has been broken yet; but not all of it.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The input lies at the end of its own allocation, so that the sanitizer sees a read beyond it. */
static unsigned run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	long size;
	uint8_t *bytes;

	printf("%s\n", path);
	if (file == NULL && errno == ENOENT)
		return 0;
	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) {
		perror(path);
		exit(2);
	}
	rewind(file);
	bytes = malloc((size_t)size > 0 ? (size_t)size : 1);
	if (bytes == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size) {
		perror(path);
		exit(2);
	}
	fclose(file);
	LLVMFuzzerTestOneInput(bytes, (size_t)size);
	free(bytes);
	return 1;
}

static unsigned run_directory(const char *directory, struct dirent **names, int count)
{
	unsigned files = 0;
	char path[4096];

	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "%s/%s", directory, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			files += run_file(path);
		free(names[i]);
	}
	free(names);
	return files;
}

int main(int argc, char **argv)
{
	unsigned files = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		struct dirent **names;
		int count = scandir(argv[i], &names, NULL, compare_names);

		files += count >= 0 ? run_directory(argv[i], names, count) : run_file(argv[i]);
	}
	printf("%u inputs\n", files);
	return files == 0; /* nothing was tested */
}
