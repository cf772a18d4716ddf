/* SPDX-License-Identifier: Apache-2.0 */
/* disk_errors.c - see disk_errors.h. */
#include "vmm/disk_errors.h"

#include <stdio.h>
#include <string.h>

void disk_errors_init(struct disk_errors *errors, void (*wake)(void *context), void *context)
{
	pthread_mutex_init(&errors->lock, NULL);
	errors->wake = wake;
	errors->context = context;
}

struct disk_identity disk_identity_of(const struct stat *status, bool readonly)
{
	if (S_ISBLK(status->st_mode))
		return (struct disk_identity){.file = status->st_rdev, .readonly = readonly};
	return (struct disk_identity){
	    .host = status->st_dev, .file = status->st_ino, .readonly = readonly};
}

const char *disk_errors_owner(struct disk_errors *errors, const struct disk_identity *identity,
    bool (*gone)(void *context, const char *device), void *context)
{
	/* One that cannot be looked at is not known. */
	bool known = identity->host != 0 || identity->file != 0;

	for (size_t i = 0; known && i < OPTION_DISKS_MAX; i++) {
		const struct disk_error *place = &errors->list[i];

		if (place->device[0] != '\0' && place->identity.host == identity->host &&
		    place->identity.file == identity->file &&
		    !(place->identity.readonly && identity->readonly) &&
		    !gone(context, place->device))
			return place->device;
	}
	return NULL;
}

struct disk_error *disk_errors_place(struct disk_errors *errors, const char *device,
    const struct disk_identity *identity, bool (*gone)(void *context, const char *device),
    void *context)
{
	struct disk_error *place = NULL;

	for (size_t i = 0; i < OPTION_DISKS_MAX && place == NULL; i++)
		if (strcmp(errors->list[i].device, device) == 0)
			place = &errors->list[i];
	for (size_t i = 0; i < OPTION_DISKS_MAX && place == NULL; i++)
		if (errors->list[i].device[0] == '\0' || gone(context, errors->list[i].device))
			place = &errors->list[i];
	if (place == NULL)
		return NULL;
	pthread_mutex_lock(&errors->lock);
	*place = (struct disk_error){.all = errors, .identity = *identity};
	snprintf(place->device, sizeof place->device, "%s", device);
	pthread_mutex_unlock(&errors->lock);
	return place;
}

void disk_errors_note(void *context, const struct virtio_blk_error *error)
{
	struct disk_error *place = context;
	struct disk_errors *errors = place->all;
	bool first;

	pthread_mutex_lock(&errors->lock);
	first = place->count++ == 0;
	place->last = *error;
	pthread_mutex_unlock(&errors->lock);
	if (first)
		errors->wake(errors->context);
}

void disk_errors_note_lost(void *context, const char *reason)
{
	struct disk_error *place = context;
	struct disk_errors *errors = place->all;

	pthread_mutex_lock(&errors->lock);
	snprintf(place->lost, sizeof place->lost, "%s", reason);
	place->reported_ms = 0;
	pthread_mutex_unlock(&errors->lock);
	errors->wake(errors->context);
}

bool disk_errors_take(
    struct disk_errors *errors, uint64_t now_ms, struct disk_error *ret_error, int64_t *ret_wait_ms)
{
	bool taken = false;

	*ret_wait_ms = -1;
	pthread_mutex_lock(&errors->lock);
	for (size_t i = 0; i < OPTION_DISKS_MAX && !taken; i++) {
		struct disk_error *place = &errors->list[i];
		uint64_t due_ms = place->reported_ms + DISK_ERROR_PERIOD_MS;
		int64_t wait_ms =
		    place->reported_ms == 0 || due_ms <= now_ms ? 0 : (int64_t)(due_ms - now_ms);

		if (place->count == 0 && place->lost[0] == '\0')
			continue;
		if (wait_ms > 0) {
			if (*ret_wait_ms < 0 || wait_ms < *ret_wait_ms)
				*ret_wait_ms = wait_ms;
			continue;
		}
		*ret_error = *place;
		place->count = 0;
		place->lost[0] = '\0';
		place->reported_ms = now_ms;
		taken = true;
	}
	pthread_mutex_unlock(&errors->lock);
	return taken;
}
