/* Acts of governance as a sentence: who did what to whom. */
#ifndef HUB_ADMIN_ACT_WORDS_H
#define HUB_ADMIN_ACT_WORDS_H

#include "hub/core/input.h"

/* As the field of the oneof in truc.proto: "enrol_agency". */
const char *admin_act_name(enum hub_act act);
/* "ADMIN-1 enrolled H14.09 "One-stop desk"", or what was tried where it was not `done`; appended. The act's texts are
 * foreign: clean them for a terminal. Aborts when memory is out. */
void admin_act_words(const char *who, const struct hub_governance *act, bool done, struct truc_buffer *out);
/* The agency or the name of the grant that the act is about; empty where it concerns the whole log. Borrowed. */
struct truc_bytes admin_act_concerns(const struct hub_governance *act);

#endif
