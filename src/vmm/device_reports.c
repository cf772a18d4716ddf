/* SPDX-License-Identifier: Apache-2.0 */
/* device_reports.c - see device_reports.h. */
#include "vmm/device_reports.h"

#include <stdio.h>
#include <string.h>

void device_reports_init(struct device_reports *reports, void (*wake)(void *context), void *context)
{
	pthread_mutex_init(&reports->lock, NULL);
	reports->wake = wake;
	reports->context = context;
}

struct disk_identity disk_identity_of(const struct stat *status, bool readonly)
{
	if (S_ISBLK(status->st_mode))
		return (struct disk_identity){.file = status->st_rdev, .readonly = readonly};
	return (struct disk_identity){
	    .host = status->st_dev, .file = status->st_ino, .readonly = readonly};
}

const char *device_reports_owner(struct device_reports *reports,
    const struct disk_identity *identity, bool (*gone)(void *context, const char *device),
    void *context)
{
	/* One that cannot be looked at is not known. */
	bool known = identity->host != 0 || identity->file != 0;

	for (size_t i = 0; known && i < OPTION_DISKS_MAX; i++) {
		const struct device_report *place = &reports->list[i];

		if (place->device[0] != '\0' && place->identity.host == identity->host &&
		    place->identity.file == identity->file &&
		    !(place->identity.readonly && identity->readonly) &&
		    !gone(context, place->device))
			return place->device;
	}
	return NULL;
}

struct device_report *device_reports_place(struct device_reports *reports, const char *device,
    bool (*gone)(void *context, const char *device), void *context)
{
	struct device_report *place = NULL;

	for (size_t i = 0; i < OPTION_DISKS_MAX && place == NULL; i++)
		if (strcmp(reports->list[i].device, device) == 0)
			place = &reports->list[i];
	for (size_t i = 0; i < OPTION_DISKS_MAX && place == NULL; i++)
		if (reports->list[i].device[0] == '\0' || gone(context, reports->list[i].device))
			place = &reports->list[i];
	if (place == NULL)
		return NULL;
	pthread_mutex_lock(&reports->lock);
	*place = (struct device_report){.all = reports};
	snprintf(place->device, sizeof place->device, "%s", device);
	pthread_mutex_unlock(&reports->lock);
	return place;
}

void device_reports_error(void *context, const struct virtio_blk_error *error)
{
	struct device_report *place = context;
	struct device_reports *reports = place->all;
	bool first;

	pthread_mutex_lock(&reports->lock);
	first = place->errors++ == 0;
	place->last = *error;
	pthread_mutex_unlock(&reports->lock);
	if (first)
		reports->wake(reports->context);
}

void device_reports_lost(void *context, const char *reason)
{
	struct device_report *place = context;
	struct device_reports *reports = place->all;

	pthread_mutex_lock(&reports->lock);
	snprintf(place->lost, sizeof place->lost, "%s", reason);
	place->reported_ms = 0;
	pthread_mutex_unlock(&reports->lock);
	reports->wake(reports->context);
}

void device_reports_link_lost(void *context, const char *reason)
{
	struct device_report *place = context;
	struct device_reports *reports = place->all;

	pthread_mutex_lock(&reports->lock);
	place->link_lost = reason;
	place->reported_ms = 0;
	pthread_mutex_unlock(&reports->lock);
	reports->wake(reports->context);
}

bool device_reports_take(struct device_reports *reports, uint64_t now_ms,
    struct device_report *ret_report, int64_t *ret_wait_ms)
{
	bool taken = false;

	*ret_wait_ms = -1;
	pthread_mutex_lock(&reports->lock);
	for (size_t i = 0; i < OPTION_DISKS_MAX && !taken; i++) {
		struct device_report *place = &reports->list[i];
		uint64_t due_ms = place->reported_ms + DISK_ERROR_PERIOD_MS;
		int64_t wait_ms =
		    place->reported_ms == 0 || due_ms <= now_ms ? 0 : (int64_t)(due_ms - now_ms);

		if (place->errors == 0 && place->lost[0] == '\0' && place->link_lost == NULL)
			continue;
		if (wait_ms > 0) {
			if (*ret_wait_ms < 0 || wait_ms < *ret_wait_ms)
				*ret_wait_ms = wait_ms;
			continue;
		}
		*ret_report = *place;
		place->errors = 0;
		place->lost[0] = '\0';
		place->link_lost = NULL;
		place->reported_ms = now_ms;
		taken = true;
	}
	pthread_mutex_unlock(&reports->lock);
	return taken;
}
