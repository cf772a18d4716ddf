/* SPDX-License-Identifier: Apache-2.0 */
/* msix.c - see msix.h. */
#include "pci/msix.h"

#include <errno.h>
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
	msix_part(msix);
	for (uint32_t i = 0; i < msix->count; i++)
		close(msix->vectors[i].eventfd);
	msix->count = 0;
}

void msix_reset(struct msix *msix)
{
	for (uint32_t i = 0; i < msix->count; i++) {
		struct msix_vector *vector = &msix->vectors[i];

		atomic_store(&vector->open, false);
		atomic_store(&vector->pending, false);
		for (unsigned word = 0; word < MSIX_ENTRY_BYTES / 4; word++)
			vector->words[word] = 0;
		vector->words[WORD_CONTROL] = VECTOR_MASKED;
		/* Linux reads the message that the platform has put there, and takes zeros for
		 * none. */
		vector->words[WORD_DATA] = i + 1;
	}
}

/* The driver cannot have fewer of them than were sent: an eventfd adds up. */
static void msix_send(const struct msix_vector *vector)
{
	eventfd_write(vector->eventfd, 1);
}

void msix_signal(struct msix *msix, uint32_t number)
{
	struct msix_vector *vector;

	if (number >= msix->count)
		return;
	vector = &msix->vectors[number];
	if (atomic_load(&vector->open)) {
		msix_send(vector);
		return;
	}
	/* It may be opened meanwhile. Both sides set their own mark first, then look at the
	 * other's: at least one of them sends it. */
	atomic_store(&vector->pending, true);
	if (atomic_load(&vector->open) && atomic_exchange(&vector->pending, false))
		msix_send(vector);
}

void msix_update(struct msix *msix, const struct pci_config *config)
{
	uint32_t control = pci_config_get(config, msix->capability + CONTROL, 2);
	bool on = (control & (CONTROL_ENABLE | CONTROL_MASK_ALL)) == CONTROL_ENABLE;

	for (uint32_t i = 0; i < msix->count; i++) {
		struct msix_vector *vector = &msix->vectors[i];

		atomic_store(
		    &vector->open, on && (vector->words[WORD_CONTROL] & VECTOR_MASKED) == 0);
		if (atomic_load(&vector->open) && atomic_exchange(&vector->pending, false))
			msix_send(vector);
	}
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

void msix_write_table(struct msix *msix, const struct pci_config *config, uint32_t offset,
    uint32_t size, uint64_t value)
{
	uint32_t number = offset / MSIX_ENTRY_BYTES, word = offset % MSIX_ENTRY_BYTES / 4;

	if (number >= msix->count)
		return;
	for (uint32_t i = 0; i < size / 4; i++)
		msix->vectors[number].words[word + i] = (uint32_t)(value >> (32 * i));
	msix->vectors[number].words[WORD_CONTROL] &= VECTOR_MASKED;
	msix_update(msix, config);
}

uint64_t msix_read_pending(const struct msix *msix)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < msix->count; i++)
		bits |= (uint64_t)atomic_load(&msix->vectors[i].pending) << i;
	return bits;
}

int msix_join(struct msix *msix, uint32_t first_irq, uint32_t count)
{
	msix->first_irq = first_irq;
	for (; msix->joined < count; msix->joined++) {
		int result = kvm_join_irq(
		    msix->vm, first_irq + msix->joined, msix->vectors[msix->joined].eventfd);

		if (result < 0) {
			msix_part(msix);
			return result;
		}
	}
	return 0;
}

void msix_part(struct msix *msix)
{
	while (msix->joined > 0) {
		msix->joined--;
		kvm_part_irq(
		    msix->vm, msix->first_irq + msix->joined, msix->vectors[msix->joined].eventfd);
	}
}
