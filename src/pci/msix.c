/* SPDX-License-Identifier: Apache-2.0 */
/* msix.c - see msix.h. */
#include "pci/msix.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CAPABILITY_BYTES = 12, CONTROL = 2, TABLE = 4, PENDING = 8 }; /* offsets in it */
enum { CONTROL_ENABLE = 1 << 15, CONTROL_MASK_ALL = 1 << 14 };
enum { WORD_DATA = 2, WORD_CONTROL = 3, VECTOR_MASKED = 1 };

bool msix_init(struct msix *msix, struct kvm_vm *vm, uint32_t count, struct pci_config *config,
    uint32_t table_offset, uint32_t pending_offset, struct err *err)
{
	*msix = (struct msix){.vm = vm};
	for (; msix->count < count; msix->count++) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return err_system(err, errno, "raise ulimit -n",
			    "cannot create the interrupts of a device");
		msix->vectors[msix->count].eventfd = fd;
	}
	msix->capability = pci_config_add_capability(config, PCI_CAP_MSIX, CAPABILITY_BYTES);
	pci_config_set(config, msix->capability + CONTROL, 2, count - 1);
	config->writable[msix->capability + CONTROL + 1] = (CONTROL_ENABLE | CONTROL_MASK_ALL) >> 8;
	/* The three lowest bits are the number of the BAR. */
	pci_config_set(config, msix->capability + TABLE, 4, table_offset);
	pci_config_set(config, msix->capability + PENDING, 4, pending_offset);
	msix_reset(msix);
	return true;
}

void msix_finish(struct msix *msix)
{
	msix_unassign(msix);
	for (uint32_t i = 0; i < msix->count; i++)
		close(msix->vectors[i].eventfd);
	msix->count = 0;
}

/* --- Who has the eventfds --------------------------------------------------------------------- */

/* Once KVM does not have it any more, nothing is in its counter but what came after. */
static void msix_part(struct msix *msix, uint32_t number)
{
	struct msix_vector *vector = &msix->vectors[number];

	if (vector->joined)
		kvm_part_irq(msix->vm, msix->first_irq + number, vector->eventfd);
	vector->joined = false;
}

static int msix_join(struct msix *msix, uint32_t number)
{
	struct msix_vector *vector = &msix->vectors[number];
	int result =
	    vector->joined ? 0 : kvm_join_irq(msix->vm, msix->first_irq + number, vector->eventfd);

	vector->joined = result == 0;
	return result;
}

/* The vectors that are neither masked nor without a source are KVM's. */
static void msix_settle(struct msix *msix)
{
	for (uint32_t i = 0; i < msix->assigned; i++) {
		int result = 0;

		if (msix->on && (msix->vectors[i].words[WORD_CONTROL] & VECTOR_MASKED) == 0)
			result = msix_join(msix, i);
		else
			msix_part(msix, i);
		/* It was there when the source was assigned. The next write tries again. */
		if (result < 0)
			log_guest(&msix->limit, LOG_WARN,
			    "KVM refuses interrupt %#x of a device: %s", msix->first_irq + i,
			    strerror(-result));
	}
}

/* Each is joined once: what KVM refuses the guest then hears of, in the answer to its call. */
int msix_assign(struct msix *msix, uint32_t first_irq, uint32_t count)
{
	int result = 0;

	msix->first_irq = first_irq;
	msix->assigned = 0;
	while (result == 0 && msix->assigned < count)
		result = msix_join(msix, msix->assigned++);
	if (result < 0)
		msix_unassign(msix);
	msix_settle(msix);
	return result;
}

void msix_unassign(struct msix *msix)
{
	for (uint32_t i = 0; i < msix->assigned; i++)
		msix_part(msix, i);
	msix->assigned = 0;
}

/* --- Pending interrupts ----------------------------------------------------------------------- */

/* A counter that KVM has is none: KVM does not read it before the next interrupt. */
static bool msix_is_pending(const struct msix_vector *vector)
{
	struct pollfd poll_fd = {.fd = vector->eventfd, .events = POLLIN};

	return !vector->joined && poll(&poll_fd, 1, 0) == 1;
}

void msix_reset(struct msix *msix)
{
	msix->on = false;
	for (uint32_t i = 0; i < msix->count; i++) {
		struct msix_vector *vector = &msix->vectors[i];
		eventfd_t lost;

		for (unsigned word = 0; word < MSIX_ENTRY_BYTES / 4; word++)
			vector->words[word] = 0;
		vector->words[WORD_CONTROL] = VECTOR_MASKED;
		/* Linux reads the message that the platform has put there, and takes zeros for
		 * none. */
		vector->words[WORD_DATA] = i + 1;
		msix_part(msix, i);
		eventfd_read(vector->eventfd, &lost);
	}
}

uint64_t msix_read_pending(const struct msix *msix)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < msix->count; i++)
		bits |= (uint64_t)msix_is_pending(&msix->vectors[i]) << i;
	return bits;
}

void msix_signal(struct msix *msix, uint32_t number)
{
	/* The driver cannot have fewer of them than were sent: an eventfd adds up. */
	if (number < msix->count)
		eventfd_write(msix->vectors[number].eventfd, 1);
}

int msix_eventfd(const struct msix *msix, uint32_t number)
{
	return number < msix->count ? msix->vectors[number].eventfd : -1;
}

/* --- The guest's accesses --------------------------------------------------------------------- */

void msix_update(struct msix *msix, const struct pci_config *config)
{
	uint32_t control = pci_config_get(config, msix->capability + CONTROL, 2);

	msix->on = (control & (CONTROL_ENABLE | CONTROL_MASK_ALL)) == CONTROL_ENABLE;
	msix_settle(msix);
}

/* Each access is of whole words. */
uint64_t msix_read_table(const struct msix *msix, uint32_t offset, uint32_t size)
{
	uint32_t number = offset / MSIX_ENTRY_BYTES, word = offset % MSIX_ENTRY_BYTES / 4;
	uint64_t value;

	if (number >= msix->count)
		return 0;
	value = msix->vectors[number].words[word];
	if (size == 8)
		value |= (uint64_t)msix->vectors[number].words[word + 1] << 32;
	return value;
}

void msix_write_table(struct msix *msix, uint32_t offset, uint32_t size, uint64_t value)
{
	uint32_t number = offset / MSIX_ENTRY_BYTES, word = offset % MSIX_ENTRY_BYTES / 4;

	if (number >= msix->count)
		return;
	for (uint32_t i = 0; i < size / 4; i++)
		msix->vectors[number].words[word + i] = (uint32_t)(value >> (32 * i));
	msix->vectors[number].words[WORD_CONTROL] &= VECTOR_MASKED;
	msix_settle(msix);
}
