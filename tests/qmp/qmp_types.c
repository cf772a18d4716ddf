/* SPDX-License-Identifier: Apache-2.0 */
/* qmp_types.c - see qmp_types.h. QMP_TYPES is the path of types.json. */
#include "qmp_types.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What there is for a client: objects of types, and of commands' and events' types by name. */
struct world {
	json_t *all; /* the file, which the others are parts of */
	json_t *types, *commands, *events;
};

struct judge {
	const struct world *world;
	char *reason;
	size_t size;
};

static bool wrong(struct judge *judge, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool wrong(struct judge *judge, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(judge->reason, judge->size, format, args);
	va_end(args);
	return false;
}

/* Members of `more` into those of the same name in `types`. */
static void add_members(json_t *types, json_t *more)
{
	const char *name;
	json_t *members;

	json_object_foreach (more, name, members) {
		json_object_update(json_object_get(types, name), members);
	}
}

static void load(struct world *world, bool subscribed)
{
	json_error_t error;
	json_t *all = json_load_file(QMP_TYPES, 0, &error);
	json_t *own = json_object_get(all, "own"), *more = json_object_get(all, "subscribed");

	if (all == NULL) {
		fprintf(stderr, "%s: %s\n", QMP_TYPES, error.text);
		abort();
	}
	*world = (struct world){all, json_object_get(all, "types"),
	    json_object_get(all, "commands"), json_object_get(all, "events")};
	json_object_update(world->types, json_object_get(own, "types"));
	json_object_update(world->commands, json_object_get(own, "commands"));
	if (subscribed) {
		add_members(world->types, json_object_get(more, "types"));
		json_object_update(world->events, json_object_get(more, "events"));
	}
}

static const struct world *world_of(bool subscribed)
{
	static struct world worlds[2];

	if (worlds[subscribed].all == NULL)
		load(&worlds[subscribed], subscribed);
	return &worlds[subscribed];
}

static bool is_of(struct judge *judge, const char *type, const json_t *value, const char *what);

static bool is_array_of(
    struct judge *judge, const char *type, const json_t *value, const char *what)
{
	char item_type[64];
	const json_t *item;
	size_t i;

	snprintf(item_type, sizeof item_type, "%.*s", (int)strlen(type) - 2, type + 1);
	if (!json_is_array(value))
		return wrong(judge, "%s is no array", what);
	json_array_foreach (value, i, item) {
		if (!is_of(judge, item_type, item, what))
			return false;
	}
	return true;
}

static bool is_one_of(
    struct judge *judge, const json_t *texts, const json_t *value, const char *what)
{
	const json_t *text;
	size_t i;

	json_array_foreach (texts, i, text) {
		if (json_equal(text, value))
			return true;
	}
	return wrong(judge, "%s is \"%s\"", what, json_string_value(value));
}

static bool has_members(struct judge *judge, json_t *members, const json_t *value, const char *what)
{
	const char *name;
	json_t *type, *member;
	size_t known = 0;

	if (!json_is_object(value))
		return wrong(judge, "%s is no object", what);
	json_object_foreach (members, name, type) {
		bool optional = name[0] == '*';

		member = json_object_get(value, name + optional);
		if (member == NULL && !optional)
			return wrong(judge, "%s lacks \"%s\"", what, name);
		if (member != NULL &&
		    !is_of(judge, json_string_value(type), member, name + optional))
			return false;
		known += member != NULL;
	}
	if (known == json_object_size(value))
		return true;
	return wrong(
	    judge, "%s has %zu members that are not known", what, json_object_size(value) - known);
}

static bool is_of(struct judge *judge, const char *type, const json_t *value, const char *what)
{
	json_t *known;

	if (type[0] == '[')
		return is_array_of(judge, type, value, what);
	if (strcmp(type, "any") == 0)
		return value != NULL;
	if (strcmp(type, "str") == 0)
		return json_is_string(value) || wrong(judge, "%s is no text", what);
	if (strcmp(type, "int") == 0)
		return json_is_integer(value) || wrong(judge, "%s is no integer", what);
	if (strcmp(type, "bool") == 0)
		return json_is_boolean(value) || wrong(judge, "%s is no boolean", what);
	known = json_object_get(judge->world->types, type);
	if (known == NULL)
		return wrong(judge, "types.json has no \"%s\"", type);
	return json_is_array(known) ? is_one_of(judge, known, value, what)
	                            : has_members(judge, known, value, what);
}

/* Besides these members an object may have an "id", or no others. */
static bool has_only(struct judge *judge, const json_t *message, size_t members, bool id)
{
	if (id && json_object_get(message, "id") != NULL)
		members++;
	return json_object_size(message) == members ||
	       wrong(judge, "the message has a member too many");
}

static bool is_event(struct judge *judge, const json_t *message)
{
	const char *name = json_string_value(json_object_get(message, "event"));
	json_t *data = json_object_get(message, "data");
	json_t *type = name != NULL ? json_object_get(judge->world->events, name) : NULL;

	if (type == NULL)
		return wrong(judge, "no event is called \"%s\"", name != NULL ? name : "");
	/* QMP leaves out data that is empty. */
	if (data != NULL && json_object_size(data) == 0)
		return wrong(judge, "%s has data without members", name);
	if (data == NULL)
		return has_only(judge, message, 2, false) &&
		       (strcmp(json_string_value(type), "Empty") == 0 ||
		           wrong(judge, "%s has no data", name)) &&
		       is_of(
		           judge, "Timestamp", json_object_get(message, "timestamp"), "timestamp");
	return has_only(judge, message, 3, false) &&
	       is_of(judge, "Timestamp", json_object_get(message, "timestamp"), "timestamp") &&
	       is_of(judge, json_string_value(type), data, name);
}

static bool is_return(struct judge *judge, const json_t *message, const char *command)
{
	json_t *value = json_object_get(message, "return"), *type;
	const char *name;

	if (!has_only(judge, message, 1, true))
		return false;
	if (command != NULL) {
		type = json_object_get(judge->world->commands, command);
		return type != NULL ? is_of(judge, json_string_value(type), value, command)
		                    : wrong(judge, "types.json has no command %s", command);
	}
	json_object_foreach (judge->world->commands, name, type) {
		if (strcmp(json_string_value(type), "any") != 0 &&
		    is_of(judge, json_string_value(type), value, name))
			return true;
	}
	/* The one whose members are counters. */
	json_object_foreach (value, name, type) {
		if (!json_is_integer(type))
			return wrong(judge, "no command returns this");
	}
	return json_is_object(value) || wrong(judge, "no command returns this");
}

bool qmp_types_accept(const json_t *message, bool subscribed, const char *command, char *ret_reason,
    size_t reason_size)
{
	struct judge judge = {world_of(subscribed), ret_reason, reason_size};

	if (json_object_get(message, "event") != NULL)
		return is_event(&judge, message);
	if (json_object_get(message, "return") != NULL)
		return is_return(&judge, message, command);
	if (json_object_get(message, "error") != NULL)
		return has_only(&judge, message, 1, true) &&
		       is_of(&judge, "Error", json_object_get(message, "error"), "error");
	/* The first that comes is the same for all. */
	judge.world = world_of(false);
	return has_only(&judge, message, 1, false) &&
	       is_of(&judge, "Greeting", json_object_get(message, "QMP"), "QMP");
}
