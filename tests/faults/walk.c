/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c - fails the first call of a scenario, then the second, and so on until a run comes to
 * its end before its turn; each in a process of its own, so that a run can crash, hang or leak
 * without hurting another. See faults.h for what counts as a call.
 *
 * A run is right if
 *   - it ends by itself, with an exit code that is documented, and not by a signal;
 *   - it went on as if nothing had happened, or failed a request and went on (operator.c), or
 *     ended with one line that says why;
 *   - the terminal, the directory, threads, descriptors and memory are as before.
 *
 * usage: walk SCENARIO [once|for-good|interrupt|short [NUMBER [FUNCTION]]]
 * With a number: that run alone, and what it said; with a function, only its calls count.
 */
#include <errno.h>
#include <dirent.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "walk.h"
#include "world.h"

enum { JOBS = 2, SAID_MAX = 16384, TALLY_MAX = 64 };

static const char *const mode_names[] = {"none", "once", "for-good", "interrupt", "short"};

/* Where runs are made, one after the other. */
struct job {
	struct run *run;
	pid_t process; /* 0: none */
	int said;      /* standard error */
	int printed;   /* standard output, if that is no terminal */
	int master, slave;
	struct termios settings;
	int flags;
	char directory[64];
};

/* How often each function was failed, and what came of it. */
static struct tally {
	const char *name;
	unsigned survived, ended;
} tallies[TALLY_MAX];

static struct run *the_run; /* of this process */
static const char *only_function[2];

void complain(struct run *run, const char *format, ...)
{
	va_list args;

	if (run->complaint[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(run->complaint, sizeof run->complaint, format, args);
	va_end(args);
}

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "walk: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* --- In the process of a run ------------------------------------------------------------- */

static void tell(int event)
{
	uint64_t one = 1;

	if (write(event, &one, sizeof one) != sizeof one)
		abort();
}

static void on_listen(void)
{
	tell(the_run->listening);
}

static void *operate(void *argument)
{
	struct run *run = argument;

	fault_exempt_thread();
	run->scenario->operate(run);
	return NULL;
}

void *__real_realloc(void *before, size_t size);

/* libev ends the process if it gets no memory for its arrays, which grow with the number of
 * descriptors only. So its own calls do not fail. */
static void *allocate_for_libev(void *before, long size)
{
	if (size > 0)
		return __real_realloc(before, (size_t)size);
	free(before);
	return NULL;
}

/* How many entries /proc has of this process, "fd" or "task". */
static uint32_t count_own(const char *what)
{
	char path[32];
	uint32_t count = 0;
	DIR *directory;

	snprintf(path, sizeof path, "/proc/self/%s", what);
	directory = opendir(path);
	while (directory != NULL && readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

/* A thread that has been joined is still in /proc for a moment. */
static uint32_t count_threads_beyond(uint32_t before)
{
	uint32_t count = count_own("task");

	for (int i = 0; count > before && i < DEADLINE_MS; i++) {
		poll(NULL, 0, 1);
		count = count_own("task");
	}
	return count - before;
}

static void run_here(struct job *job)
{
	struct run *run = job->run;
	char *argv[sizeof run->scenario->arguments / sizeof run->scenario->arguments[0] + 1] = {
	    "paprika"};
	int out = job->slave >= 0 && run->scenario->has_terminal ? job->slave : job->printed;
	uint32_t files, threads;
	pthread_t person;
	int argc = 1, stream = run->scenario->stream, pair[2] = {-1, -1};

	for (; run->scenario->arguments[argc - 1] != NULL; argc++)
		argv[argc] = (char *)(uintptr_t)run->scenario->arguments[argc - 1];
	if (chdir(job->directory) < 0 || dup2(out, 0) < 0 || dup2(out, 1) < 0 ||
	    dup2(job->said, 2) < 0)
		abort();
	the_run = run;
	world_begin();
	if (only_function[0] != NULL)
		fault_only(only_function);
	fault_on_listen(on_listen);
	ev_set_allocator(allocate_for_libev);
	files = count_own("fd");
	threads = count_own("task");
	if (stream > 0 && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	                      dup2(pair[1], stream) != stream))
		abort();
	if (pthread_create(&person, NULL, operate, run) != 0)
		abort();
	fault_arm(run->mode, run->number, &run->report);
	run->code = paprika_main(argc, argv);
	fault_disarm();
	run->live_allocations = (uint32_t)fault_live_allocations(&run->leaked_by);
	atomic_store(&run->ended, true);
	tell(run->over);
	pthread_join(person, NULL);
	/* The program has closed what it was given, unless it ended before that. */
	for (int i = 0; stream > 0 && i < 3; i++)
		close(i < 2 ? pair[i] : stream);
	run->live_threads = count_threads_beyond(threads);
	run->open_files = count_own("fd") - files;
	_exit(0);
}

/* --- Judging ------------------------------------------------------------------------------ */

static bool failed_is(const struct run *run, const char *const *names)
{
	for (; run->report.fired != NULL && *names != NULL; names++)
		if (strcmp(run->report.fired, *names) == 0)
			return true;
	return false;
}

/* Failures after which the program cannot keep a promise. */
static const char *const unsaid[] = {"write", "fflush", NULL};
static const char *const unrestored[] = {"tcsetattr", "tcgetpgrp", NULL};
static const char *const unwatched[] = {"epoll_ctl", NULL};
static const char *const unremoved[] = {"unlink", "lstat64", NULL};

/* Lines on standard error that tell why it ended; said is what else there is. */
static unsigned count_reasons(const char *said)
{
	static const char *const others[] = {"paprika: warn ", "paprika: error ",
	    "paprika: Ctrl-A x", "paprika: the console is at "};
	unsigned count = 0;

	for (const char *line = said; *line != '\0';) {
		size_t length = strcspn(line, "\n");
		bool other = false;

		for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
			other = other || strncmp(line, others[i], strlen(others[i])) == 0;
		count += !other;
		line += length + (line[length] == '\n');
	}
	return count;
}

static void judge_words(struct run *run, int code, const char *said, const char *printed)
{
	unsigned reasons = count_reasons(said);

	if (run->scenario->finds && code == 5 && strstr(printed, "\"fail\"") != NULL)
		return;

	if (code != 0 && code != 1 && code != 2 && code != 5)
		complain(run, "it ends with exit code %d", code);
	if (run->gave_up && run->mode != FAULT_FOR_GOOD)
		complain(run, "it cannot be spoken to");
	if (code == 0 && !run->complete && !run->gave_up)
		complain(run, "it ends in the middle, with exit code 0");
	if (code != 0 && run->report.fired == NULL)
		complain(run, "it ends with exit code %d, and nothing has failed", code);
	if (code != 0 && !failed_is(run, unsaid) &&
	    (reasons != 1 || strstr(said, "paprika: ") == NULL))
		complain(run, "it says %u lines about why it ends", reasons);
	if (code == 0 && reasons != 0)
		complain(run, "it says a line about why it ends, and exit code 0");
}

/* Remove what is left in the run's directory; complain about what should not be there. */
static void judge_directory(struct job *job, int code)
{
	struct run *run = job->run;
	DIR *directory = opendir(job->directory);
	struct dirent *entry;
	char path[sizeof job->directory + sizeof entry->d_name + 1];

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		const char *name = entry->d_name, *output = run->scenario->output;
		bool good = output != NULL && strcmp(name, output) == 0 &&
		            (code == 0 || strcmp(name, "log") == 0 || failed_is(run, unsaid));

		if (name[0] == '.')
			continue;
		if (!good && !failed_is(run, unremoved))
			complain(run, "it leaves the file \"%s\"", name);
		snprintf(path, sizeof path, "%s/%s", job->directory, name);
		unlink(path);
	}
	closedir(directory);
}

static void judge_terminal(struct job *job)
{
	struct termios now;

	if (tcgetattr(job->slave, &now) < 0)
		die("tcgetattr");
	if ((now.c_iflag != job->settings.c_iflag || now.c_lflag != job->settings.c_lflag ||
	        now.c_oflag != job->settings.c_oflag || fcntl(job->slave, F_GETFL) != job->flags) &&
	    !failed_is(job->run, unrestored))
		complain(job->run, "the terminal is not what it was");
	tcsetattr(job->slave, TCSANOW, &job->settings);
	tcflush(job->slave, TCIOFLUSH);
}

static void judge(struct job *job, int status, const char *said, const char *printed)
{
	struct run *run = job->run;
	int code = run->ended ? run->code : WEXITSTATUS(status);

	if (WIFSIGNALED(status) && !(run->gave_up && WTERMSIG(status) == SIGTERM))
		complain(run, "it is ended by signal %d", WTERMSIG(status));
	/* In memory shared with it: a process that ended early has not filled it in. */
	if (run->ended) {
		if (run->live_allocations != 0)
			complain(run, "%u allocations are not freed, the oldest at %p",
			    run->live_allocations, run->leaked_by);
		if (run->live_threads != 0)
			complain(run, "%u threads are left", run->live_threads);
		/* libev forgets its timerfd, if that cannot be watched. */
		if (run->open_files != 0 && !failed_is(run, unwatched))
			complain(run, "%d descriptors are left", (int)run->open_files);
	}
	judge_words(run, code, said, printed);
	judge_directory(job, code);
	judge_terminal(job);
	if (strstr(said, "ERROR: ") != NULL || strstr(said, "runtime error") != NULL)
		complain(run, "the sanitizer reports something");
}

/* --- Runs --------------------------------------------------------------------------------- */

static void start(
    struct job *job, const struct scenario *scenario, enum fault_mode mode, uint32_t number)
{
	int listening = job->run->listening, over = job->run->over;
	uint64_t ignored;

	*job->run = (struct run){.scenario = scenario,
	    .mode = mode,
	    .number = number,
	    .listening = listening,
	    .over = over,
	    .terminal = job->master};
	while (read(listening, &ignored, sizeof ignored) > 0)
		continue;
	while (read(over, &ignored, sizeof ignored) > 0)
		continue;
	if (ftruncate(job->said, 0) < 0 || lseek(job->said, 0, SEEK_SET) < 0 ||
	    ftruncate(job->printed, 0) < 0 || lseek(job->printed, 0, SEEK_SET) < 0)
		die("ftruncate");
	job->process = fork();
	if (job->process < 0)
		die("fork");
	if (job->process == 0)
		run_here(job);
}

/* How the process has ended; one that does not is killed. */
static int wait_end(struct job *job)
{
	int pidfd = (int)syscall(SYS_pidfd_open, job->process, 0), status = 0;
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	if (poll(&end, 1, 2 * DEADLINE_MS) == 0) {
		complain(job->run, "it hangs");
		kill(job->process, SIGKILL);
	}
	waitpid(job->process, &status, 0);
	close(pidfd);
	job->process = 0;
	return status;
}

static void count(const struct run *run)
{
	struct tally *tally = tallies;

	while (tally->name != NULL && strcmp(tally->name, run->report.fired) != 0)
		tally++;
	tally->name = run->report.fired;
	if (run->complete)
		tally->survived++;
	else
		tally->ended++;
}

static void read_back(int fd, char text[SAID_MAX])
{
	ssize_t got = pread(fd, text, SAID_MAX - 1, 0);

	text[got > 0 ? got : 0] = '\0';
}

/* False if something was wrong. */
static bool finish(struct job *job, bool talk)
{
	struct run *run = job->run;
	static char said[SAID_MAX], printed[SAID_MAX];
	int status = wait_end(job);

	read_back(job->said, said);
	read_back(job->printed, printed);
	judge(job, status, said, printed);
	if (run->report.fired != NULL)
		count(run);
	if (run->complaint[0] == '\0' && !talk)
		return true;
	printf("%s %s %u: %s fails (called at %p): %s\n", run->scenario->name,
	    mode_names[run->mode], run->number,
	    run->report.fired != NULL ? run->report.fired : "nothing", run->report.caller,
	    run->complaint[0] != '\0' ? run->complaint : "well");
	world_explain(run->report.caller);
	if (run->leaked_by != NULL)
		world_explain(run->leaked_by);
	printf("%u calls; exit code %d; it said:\n%s\n", run->report.count,
	    run->ended ? run->code : WEXITSTATUS(status), said);
	return run->complaint[0] == '\0';
}

static void set_up(struct job *job, const char *directory, int number)
{
	job->run =
	    mmap(NULL, sizeof *job->run, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	job->said = memfd_create("said", 0);
	job->printed = memfd_create("printed", 0);
	job->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (job->run == MAP_FAILED || job->said < 0 || job->printed < 0 || job->master < 0 ||
	    grantpt(job->master) < 0 || unlockpt(job->master) < 0)
		die("cannot set up");
	job->slave = open(ptsname(job->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	job->run->listening = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE | EFD_CLOEXEC);
	job->run->over = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	snprintf(job->directory, sizeof job->directory, "%s/%d", directory, number);
	if (job->slave < 0 || tcgetattr(job->slave, &job->settings) < 0 ||
	    mkdir(job->directory, 0700) < 0)
		die("cannot set up");
	job->flags = fcntl(job->slave, F_GETFL);
}

/* Returns how many runs went wrong. */
static unsigned walk(struct job *jobs, const struct scenario *scenario, enum fault_mode mode)
{
	bool counted = mode == FAULT_ONCE || mode == FAULT_FOR_GOOD, over = false;
	uint32_t next = 1, done = 0;
	unsigned wrong = 0;

	while (!over || done + 1 < next) {
		struct job *job = &jobs[done % JOBS];

		for (int i = 0; !over && i < JOBS; i++)
			if (jobs[(next - 1) % JOBS].process == 0)
				start(&jobs[(next - 1) % JOBS], scenario, mode, next), next++;
		wrong += !finish(job, false);
		done++;
		over = over || !counted || job->run->report.fired == NULL || wrong >= 10;
	}
	printf("%s, %s: %u runs, %u wrong\n", scenario->name, mode_names[mode], done, wrong);
	fflush(stdout);
	return wrong;
}

static void print_tallies(void)
{
	for (struct tally *tally = tallies; tally->name != NULL; tally++)
		printf("    %-20s %4u survived, %4u ended it\n", tally->name, tally->survived,
		    tally->ended);
}

static bool remove_all(const char *directory)
{
	char path[128];

	for (int i = 0; i < JOBS; i++) {
		snprintf(path, sizeof path, "%s/%d", directory, i);
		rmdir(path);
	}
	world_remove(directory);
	return rmdir(directory) == 0;
}

int main(int argc, char **argv)
{
	char directory[] = "/tmp/paprika-walk-XXXXXX";
	const struct scenario *scenario = NULL;
	enum fault_mode only = FAULT_NONE;
	struct job jobs[JOBS] = {0};
	unsigned wrong = 0;

	for (size_t i = 0; argc > 1 && i < scenario_count; i++)
		if (strcmp(scenarios[i].name, argv[1]) == 0)
			scenario = &scenarios[i];
	for (enum fault_mode i = FAULT_ONCE; argc > 2 && i <= FAULT_SHORT; i++)
		if (strcmp(mode_names[i], argv[2]) == 0)
			only = i;
	if (scenario == NULL || argc > 5 || (argc > 2 && only == FAULT_NONE)) {
		fprintf(stderr,
		    "usage: walk SCENARIO [once|for-good|interrupt|short [NUMBER [FUNCTION]]]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(directory) == NULL)
		die(directory);
	for (int i = 0; i < JOBS; i++)
		set_up(&jobs[i], directory, i);
	world_prepare(directory);
	if (argc > 3) {
		only_function[0] = argc > 4 ? argv[4] : NULL;
		start(&jobs[0], scenario, only, (uint32_t)atoi(argv[3]));
		wrong = !finish(&jobs[0], true);
	} else {
		for (enum fault_mode i = FAULT_NONE; i <= FAULT_SHORT; i++)
			if (i == only ||
			    (only == FAULT_NONE && !(scenario->is_long && i == FAULT_FOR_GOOD)))
				wrong += walk(jobs, scenario, i);
		print_tallies();
	}
	return !remove_all(directory) || wrong != 0;
}
