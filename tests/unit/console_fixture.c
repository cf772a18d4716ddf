/* SPDX-License-Identifier: Apache-2.0 */
/* console_fixture.c - see console_fixture.h. */
#include "console_fixture.h"

char directory[32] = "/tmp/paprika-console-XXXXXX";
char path[64];

struct ev_loop *loop;
static struct options options;
struct err err;
int escapes;

/* --- The machine --------------------------------------------------------------------------- */

uint8_t printed[256 * 1024];
size_t printed_length, printed_taken;
uint8_t typed[16384];
size_t typed_length, typed_room;

size_t spapr_console_read(struct spapr *machine, void *to, size_t size)
{
	size_t length = printed_length - printed_taken;

	(void)machine;
	if (length > size)
		length = size;
	memcpy(to, printed + printed_taken, length);
	printed_taken += length;
	return length;
}

size_t spapr_console_write(struct spapr *machine, const void *from, size_t size)
{
	(void)machine;
	if (size > typed_room)
		size = typed_room;
	assert_true(typed_length + size <= sizeof typed);
	memcpy(typed + typed_length, from, size);
	typed_length += size;
	typed_room -= size;
	return size;
}

void print(const char *text)
{
	memcpy(printed + printed_length, text, strlen(text));
	printed_length += strlen(text);
}

static void on_escape(void *context)
{
	assert_ptr_equal(context, &escapes);
	escapes++;
}

struct console *create(enum console_kind kind, const char *console_path)
{
	memset(&options, 0, sizeof options);
	options.console = kind;
	snprintf(options.console_path, sizeof options.console_path, "%s", console_path);
	err = (struct err){0};
	return console_create(loop, &options, NULL, on_escape, &escapes, &err);
}

/* Run the loop until that much has been typed at the guest. */
void run_until_typed(size_t length)
{
	while (typed_length < length)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(typed_length, length);
}

void run_pending(void)
{
	for (int i = 0; i < 16; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

void expect_read(int fd, const char *text)
{
	char buffer[256];
	size_t length = 0;

	while (length < strlen(text)) {
		ssize_t got = read(fd, buffer + length, strlen(text) - length);

		assert_true(got > 0);
		length += (size_t)got;
	}
	assert_memory_equal(buffer, text, length);
}

void send_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* --- Standard files ------------------------------------------------------------------------ */

static int saved_files[3];

void replace_standard(int in, int out, int error)
{
	const int files[] = {in, out, error};

	fflush(stdout);
	for (int fd = 0; fd < 3; fd++) {
		saved_files[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
		if (files[fd] >= 0)
			dup2(files[fd], fd);
	}
}

void restore_standard(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (saved_files[fd] < 0)
			continue;
		dup2(saved_files[fd], fd);
		close(saved_files[fd]);
		saved_files[fd] = -1;
	}
}

/* --- Every test begins with a new loop and an empty machine -------------------------------- */

int set_up(void **state)
{
	(void)state;
	printed_length = printed_taken = typed_length = 0;
	typed_room = sizeof typed;
	escapes = 0;
	saved_files[0] = saved_files[1] = saved_files[2] = -1;
	loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	return loop != NULL ? 0 : -1;
}

int take_down(void **state)
{
	(void)state;
	restore_standard();
	ev_loop_destroy(loop);
	unlink(path);
	return 0;
}

int make_directory(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	/* Not a measure of anything: a test that would wait for ever fails instead. */
	alarm(120);
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/end", directory);
	return 0;
}

int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}
