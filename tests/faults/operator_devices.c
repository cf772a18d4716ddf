/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operator_devices.c - scenarios of devices with something behind them, which come while the guest
 * runs, and go before it has taken them: the descriptors that are passed, and what is asked of
 * them.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "operator.h"
#include "../unit/vhost_backend.h"

#define DEL "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"dev\"}}\n"

/* Each attempt has a device of its own: the guest may be about to take the one before. */
#define DEL_NUMBER "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"dev%d\"}}\n"

static bool pass_on(struct person *person, int fd)
{
	bool good;

	person->pass = fd;
	good = do_ask(person, LOOKS, GETFD);
	person->pass = -1;
	return good;
}

/* Until the guest has read what the device is: until then what it does changes the connector, and
 * it could not be seen whether a request whose reply was lost has changed something. */
static bool wait_configured(struct person *person)
{
	bool is = false;

	fault_pause(true);
	while (!is && !is_over(person) && reach(person)) {
		json_t *reply = ask_once(person, "{\"execute\": \"query-connectors\", "
		                                 "\"arguments\": {\"resource\": \"pci\"}}\n");
		json_t *list = json_object_get(reply, "return");

		/* The last slot that has something in it. */
		json_t *slot = json_array_get(list, json_array_size(list) - 1);
		const char *state = json_string_value(json_object_get(slot, "state"));

		is = state != NULL && strcmp(state, "configured") == 0;
		json_decref(reply);
	}
	fault_pause(false);
	return is;
}

void operate_net(struct run *run)
{
	static struct person person;
	int sockets[2];
	bool good = begin(&person, run);

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
		complain(run, "no sockets");
		return;
	}
	good = good && do_ask(&person, LOOKS,
	                   "{\"execute\": \"set_link\", \"arguments\": {\"name\": \"net0\", "
	                   "\"up\": false}}\n");
	good = good && pass_on(&person, sockets[1]);
	person.named = sockets[1];
	good =
	    good && do_ask(&person, CHANGES,
	                "{\"execute\": \"netdev_add\", \"arguments\": {\"type\": \"stream\", "
	                "\"id\": \"lan\", \"addr\": {\"type\": \"fd\", \"str\": \"socket\"}}}\n");
	person.named = -1;
	good = good && do_ask(&person, CHANGES,
	                   "{\"execute\": \"device_add\", \"arguments\": {\"driver\": "
	                   "\"virtio-net-pci\", \"netdev\": \"lan\", \"id\": \"dev\"}}\n");
	good = good && wait_configured(&person) && operate(&person, DEL);
	good = good && do_ask(&person, CHANGES,
	                   "{\"execute\": \"netdev_del\", \"arguments\": {\"id\": \"lan\"}}\n");
	finish(&person, good);
	close(sockets[0]);
	close(sockets[1]);
}

/* What an attempt has left, if its replies were lost, or it came to nothing. */
static void clear_up(struct person *person, int attempt)
{
	char remove[128], take[128];
	const char *const requests[] = {
	    DEL, remove, "{\"execute\": \"closefd\", \"arguments\": {\"fdname\": \"socket\"}}\n"};

	snprintf(remove, sizeof remove,
	    "{\"execute\": \"chardev-remove\", \"arguments\": {\"id\": \"char%d\"}}\n", attempt);
	snprintf(take, sizeof take, DEL_NUMBER, attempt);
	fault_pause(true);
	for (size_t i = 0; i < sizeof requests / sizeof requests[0] && reach(person); i++)
		json_decref(ask_once(person, requests[i]));
	fault_pause(false);
}

/* A device that cannot be made takes its back end along: each attempt has one of its own. */
enum try { TRY_AGAIN, TRY_DONE, TRY_OVER };
static enum try try_served(struct person *person, int attempt)
{
	char add[256], make[256], take[128];
	struct backend backend = {.fault = BACKEND_GOOD};
	int socket = backend_begin(&backend);
	json_t *reply = NULL;
	enum try result = TRY_OVER;
	bool good;

	snprintf(add, sizeof add,
	    "{\"execute\": \"chardev-add\", \"arguments\": {\"id\": \"char%d\", \"backend\": "
	    "{\"type\": \"socket\", \"data\": {\"addr\": {\"type\": \"fd\", \"data\": "
	    "{\"str\": \"socket\"}}}}}}\n",
	    attempt);
	snprintf(make, sizeof make,
	    "{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"vhost-user-blk-pci\", "
	    "\"chardev\": \"char%d\", \"id\": \"dev%d\"}}\n",
	    attempt, attempt);
	snprintf(take, sizeof take, DEL_NUMBER, attempt);
	good = pass_on(person, socket);
	close(socket);
	if (good && reach(person))
		reply = ask_once(person, add);
	/* A reply that was lost may have been a good one. */
	if (reply != NULL || (good && has_fired(person) && !is_over(person))) {
		json_decref(reply);
		reply = reach(person) ? ask_once(person, make) : NULL;
		if (json_object_get(reply, "return") != NULL)
			result =
			    wait_configured(person) && operate(person, take) ? TRY_DONE : TRY_OVER;
		else if (!has_fired(person) && !is_over(person))
			complain(person->run, "%s: fails, and nothing has failed", make);
		else if (!is_over(person))
			result = TRY_AGAIN;
		json_decref(reply);
	}
	clear_up(person, attempt);
	backend_end(&backend);
	return result;
}

void operate_vhost(struct run *run)
{
	static struct person person;
	enum try result = begin(&person, run) ? TRY_AGAIN : TRY_OVER;

	for (int i = 0; i < attempts(&person) && result == TRY_AGAIN; i++)
		result = try_served(&person, i);
	finish(&person, result == TRY_DONE);
}
