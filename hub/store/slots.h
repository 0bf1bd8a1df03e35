/* Key slots: a fixed file of 32-byte AES keys, one for each subject. hub/STORAGE.md, "Key slots".
 *
 * Slots are filled with random keys and synced ahead of use, in steps, so that naming a slot in a row needs no further
 * sync. Erasure overwrites a slot in place with zeros and syncs: what was encrypted under it is gone. */
#ifndef HUB_STORE_SLOTS_H
#define HUB_STORE_SLOTS_H

#include "truc/crypto.h"

struct hub_slots;

/* Opens or (create) makes the file, mode 0600. Errors: TRUC_E_IO, TRUC_E_CORRUPT, TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error hub_slots_open(const char *path, bool create, bool read_only, struct hub_slots **out);
void hub_slots_close(struct hub_slots **slots);
/* Slots that are filled and synced: 0 .. count - 1 may be used. */
uint64_t hub_slots_count(const struct hub_slots *slots);
/* Makes at least `count` usable; blocking: fills and syncs. Any thread but one at a time. Errors: TRUC_E_IO,
 * TRUC_E_FULL (disk; the slots that were there stay), TRUC_E_INVALID (read only). */
TRUC_MUST_USE truc_error hub_slots_ensure(struct hub_slots *slots, uint64_t count);
/* Any thread. Errors: TRUC_E_NOT_FOUND (beyond count, or erased). */
TRUC_MUST_USE truc_error hub_slots_get(const struct hub_slots *slots, uint64_t slot, uint8_t key[TRUC_AEAD_KEY_SIZE]);
/* Overwrites and syncs. Errors: TRUC_E_IO, TRUC_E_NOT_FOUND (beyond count), TRUC_E_INVALID (read only). */
TRUC_MUST_USE truc_error hub_slots_erase(struct hub_slots *slots, uint64_t slot);

#endif
